"""The borders between sources cut anew once more, from the sources before: they must come out as the run has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npgen.config import Config
from npgen.corpus import Corpus
from npgen.inspection.violations import Place, Violation, inside_corpus
from npgen.runs import Samples
from npgen.sampling import Library, cut_seams


class CutSeams:
    """Cuts made again.

    Parameters
    ----------
    samples
        n samples whose borders were cut anew. Nothing is assumed of them but the shapes of their arrays.
    corpus
        Their corpus.
    rect
        The seed patch, (y, x, height, width).
    config
        Settings of the run.

    Attributes
    ----------
    grown
        The samples with the sources before the cuts; their images are not those of that time.
    inside
        (n, H, W) bool: True for pixels whose sources before the cuts exist in the corpus.
    """

    def __init__(self, samples: Samples, corpus: Corpus, rect: tuple[int, int, int, int], config: Config) -> None:
        assert samples.grown is not None
        self.samples, self.corpus, self.rect, self.config = samples, corpus, rect, config
        image_id, y, x = (np.ascontiguousarray(samples.grown[..., part]) for part in range(3))
        self.grown = replace(samples, trace=replace(samples.trace, image_id=image_id, y=y, x=x))
        self.inside = inside_corpus(self.grown, corpus)

    def violations(self) -> Iterator[Violation]:
        """List the pixels without a source before the cuts, and those that the cuts give another source."""
        yield Violation(~self.inside, lambda at: "before the cuts: there is no such pixel in the corpus")
        # Of a sample that has such a pixel nothing can be cut.
        whole = self.inside.all(axis=(1, 2)) & (self.samples.anchor >= 0) & (self.samples.anchor < len(self.corpus))
        again = self.grown.mapped(lambda array: array[whole])
        barred = again.anchor if self.config.exclude_seed_image else np.full_like(again.anchor, -1)
        cut_seams(again, Library(self.corpus), rect=self.rect, barred=barred, threads=None)
        names = ("image_id", "y", "x")
        after = {name: getattr(self.samples.trace, name).copy() for name in names}
        where = np.zeros(self.inside.shape, np.bool_)
        for name, array in after.items():
            array[whole] = getattr(again.trace, name)
            where |= array != getattr(self.samples.trace, name)
        yield Violation(where, lambda at: "cut anew it has image {}, y {}, x {}".format(*(after[n][at] for n in names)))
        assert self.samples.seam_energy is not None and again.seam_energy is not None
        energies = np.array(self.samples.seam_energy)
        energies[whole] = again.seam_energy
        where = np.zeros(self.inside.shape, np.bool_)
        where[:, 0, 0] = (energies != self.samples.seam_energy).any(axis=1)

        def reason(at: Place) -> str:
            before, cut = energies[at[0]]
            return f"the energies of the sample's seams are {before:g} and {cut:g}"

        yield Violation(where, reason)
