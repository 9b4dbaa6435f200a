"""Next-token distributions of the token sampler, compared with those of networks of the same context (open question 1).

On contexts of held-out images: the likelihood of the true token under each, the divergence of their distributions, and
how often their most likely tokens agree. Imports torch.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.config import Config
from npgen.corpus import Corpus, check_corpus
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, number
from npgen.sampling import token_distributions
from npgen.studies.results import StudyResult
from npgen.tokens import Tokens, TwinKind, TwinRecipe, load_tokens, twins

# Bit-flip probabilities that are tried to fit the sampler.
FLIPS = (0.002, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
# Number of resamples of a bootstrap.
RESAMPLES = 2000
# Measurements of a pair of distributions, one value per context.
MEASURES = ("sampler_loss", "twin_loss", "kl_sampler_twin", "kl_twin_sampler", "same_top", "correlation")


@dataclass(frozen=True)
class TwinComparison(StudyResult):
    """The result of `compare_twins`.

    Attributes
    ----------
    rows
        One row per range, bit-flip probability and kind of twin: JSON-able values by name.
    notes
        Sentences below the table that explain it.
    facts
        All facts that decide the rows: corpus, tokens, recipes.
    """

    FORMAT: ClassVar[str] = "npgen-twin-comparison"
    VERSION: ClassVar[int] = 1
    CSV: ClassVar[str] = "table.csv"

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def columns(self) -> list[Column]:
        """Return the columns of the Markdown table."""
        return [
            Column("γ", lambda row: str(row["gamma"] or "global")),
            Column("twin", lambda row: row["twin"]),
            Column("sampler's flip", lambda row: f"{row['flip']:g}" + (" (fitted)" if row["fitted"] else "")),
            number("nats, sampler", "sampler_loss", ".2f"),
            number("nats, twin", "twin_loss", ".2f"),
            number("KL(sampler‖twin)", "kl_sampler_twin", ".2f"),
            number("KL(twin‖sampler)", "kl_twin_sampler", ".2f"),
            number("same top token", "same_top", ".1%"),
            number("correlation", "correlation", ".3f"),
        ]

    def labels(self) -> int:
        """Return the number of leftmost columns that hold text: range, twin and bit-flip probability."""
        return 3


@dataclass(frozen=True)
class Contexts:
    """M contexts of held-out images, one cell of one image each.

    Attributes
    ----------
    codes
        (M, h, w, Y) uint8, the images' grids of tokens; those before the cell are the context.
    cells
        (M, 2) int64, the cell (row, column) to predict.
    truth
        (M,) int64, the true token of the cell as a number.
    """

    codes: NDArray[np.uint8]
    cells: NDArray[np.int64]
    truth: NDArray[np.int64]

    @classmethod
    def drawn(cls, store: Tokens, images: Corpus, count: int, seed: int, threads: int | None) -> Contexts:
        """Draw contexts of at most `count` of the images, all of different images."""
        assert store.autoencoder is not None
        random = np.random.default_rng([seed, 5])
        ids = random.permutation(len(images))[:count]
        codes = store.autoencoder.encode(np.asarray(images.images[np.sort(ids)]), threads=threads)
        codes = codes[random.permutation(len(codes))]
        cells = np.stack([random.integers(0, extent, len(codes)) for extent in store.grid], 1)
        truth = twins.numbers_of(codes[np.arange(len(codes)), cells[:, 0], cells[:, 1]])
        return cls(codes, cells, truth)

    def __getitem__(self, part: slice) -> Contexts:
        return Contexts(self.codes[part], self.cells[part], self.truth[part])

    def sampler_distributions(self, store: Tokens, gamma: int | None, flip: float) -> NDArray[np.float64]:
        """Return the sampler's distributions (M, 2^b) of the tokens of the cells."""
        config = Config(gamma=gamma, order="raster", draw="histogram", flip=flip)
        distributions = np.empty((len(self.codes), 1 << store.bits))
        places, of_place = np.unique(self.cells, axis=0, return_inverse=True)
        for place, (row, column) in enumerate(places.tolist()):
            members = np.flatnonzero(of_place.reshape(-1) == place)
            distributions[members] = token_distributions(store, self.codes[members], (row, column), config)
        return distributions


def compare_twins(
    corpus: Corpus,
    out: str | os.PathLike[str],
    gammas: Sequence[int | None] = (1, 2, 5),
    contexts: int = 1000,
    *,
    kinds: Sequence[TwinKind] = get_args(TwinKind),
    tokens: str | os.PathLike[str] | Tokens = "auto",
    recipe: TwinRecipe | None = None,
    heldout: Corpus | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
) -> TwinComparison:
    """Compare the next-token distributions of the sampler and of its parametric twins on held-out contexts.

    The sampler's are those of local autoregression, p(x | context) ∝ Σ_n P̄^d_n · P̄^ham(x, z_n) · P^(b − ham), with the
    authors' bit-flip probability P̄ and with the one of `FLIPS` that fits other held-out contexts best. Each context is
    that of a random cell of a different image, so that contexts are independent. `table.md`, `table.csv` and
    `results.json` are written after each range.

    Parameters
    ----------
    corpus
        N source images.
    out
        Folder to make, or that of an earlier call, whose tables are replaced.
    gammas
        Ranges γ in cells; None means all earlier cells.
    contexts
        Number of contexts; as many others, or all that are left, are used to fit the bit-flip probability.
    kinds
        Kinds of twin: "convolution", "transformer".
    tokens
        The corpus's tokens, as for `load_tokens`.
    recipe
        Recipe of the twins; their kind and γ are set by the arguments. None takes the defaults.
    heldout
        Images of the contexts; None takes the corpus's own.
    seed
        Seed of the draws of images and cells.
    device, threads, quiet
        As for `train_twin` and `npgen.generate`.

    Returns
    -------
    TwinComparison
        The table.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or there are too few held-out images: before anything is trained.
    FileExistsError
        If `out` holds other files.
    """
    # 1. Check all arguments before anything is trained.
    check_corpus(corpus, one_size="tokens")
    check_type("recipe", recipe, TwinRecipe, type(None))
    check_whole("contexts", contexts, 2)
    check_whole("seed", seed, 0)
    if isinstance(kinds, str) or not kinds or not set(kinds) <= set(get_args(TwinKind)):
        raise invalid("kinds", f"some of {', '.join(get_args(TwinKind))}", kinds)
    if isinstance(gammas, str) or not gammas:
        raise invalid("gammas", "one or more ranges", gammas)
    for gamma in gammas:
        Config(gamma=gamma)
    heldout = corpus.heldout if heldout is None else heldout
    if heldout is None or len(heldout) < contexts + 2:
        raise invalid("heldout", f"of at least {contexts + 2} images", None if heldout is None else len(heldout))
    check_corpus(heldout, one_size="tokens", parameter="heldout")
    store = load_tokens(tokens, corpus, device=device, threads=threads, progress=not quiet)
    if store.autoencoder is None or store.bits > twins.MOST_CLASS_BITS:
        raise invalid("tokens", f"of at most {twins.MOST_CLASS_BITS} bits, with an autoencoder", store)
    folder = Path(out)
    TwinComparison.claim(folder)

    # 2. Draw contexts, some to compare on and some to fit the bit-flip probability.
    drawn = Contexts.drawn(store, heldout, 2 * contexts, seed, threads)
    test, fit = drawn[:contexts], drawn[contexts:]

    rows: list[Row] = []
    trained: list[dict[str, Any]] = []
    facts = {
        "corpus": corpus.hash,
        "heldout": heldout.hash,
        "tokens": store.id,
        "contexts": contexts,
        "seed": seed,
        "twins": trained,
    }
    with tqdm(gammas, unit="range", disable=quiet) as bar:
        for gamma in bar:
            # 3. Fit the sampler's bit-flip probability, and train the twins.
            losses = [_losses(fit.sampler_distributions(store, gamma, flip), fit.truth).mean() for flip in FLIPS]
            best = FLIPS[int(np.argmin(losses))]
            base = recipe or TwinRecipe()
            recipes = [dataclasses.replace(base, kind=kind, gamma=gamma) for kind in kinds]
            networks = [twins.train_twin(store, changed, device, quiet=True) for changed in recipes]
            trained += [twin.facts for twin in networks]
            # 4. Compare the distributions.
            of_twins = [twin.probabilities(test.codes, test.cells) for twin in networks]
            for flip in dict.fromkeys((Config().flip, best)):
                of_sampler = test.sampler_distributions(store, gamma, flip)
                for kind, of_twin in zip(kinds, of_twins, strict=True):
                    row = {"gamma": gamma, "twin": kind, "flip": flip, "fitted": flip == best}
                    rows.append(row | _agreement(of_sampler, of_twin, test.truth, seed))
            result = TwinComparison(tuple(rows), tuple(_notes(corpus, store, contexts, trained)), facts)
            result.save(folder)
    return result


def _losses(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return −ln p (M,) of the true tokens."""
    losses: NDArray[np.float64] = -np.log(probabilities[np.arange(len(truth)), truth].clip(1e-300))
    return losses


def _agreement(sampler: NDArray[np.float64], twin: NDArray[np.float64], truth: NDArray[np.int64], seed: int) -> Row:
    """Compare two distributions (M, 2^b) per context; means over contexts, with bootstrap intervals."""
    logs = [np.log(probabilities.clip(1e-300)) for probabilities in (sampler, twin)]
    centred = [probabilities - probabilities.mean(1, keepdims=True) for probabilities in (sampler, twin)]
    norms = [np.sqrt((one**2).sum(1)).clip(1e-300) for one in centred]
    values = {
        "sampler_loss": _losses(sampler, truth),
        "twin_loss": _losses(twin, truth),
        "kl_sampler_twin": (sampler * (logs[0] - logs[1])).sum(1),
        "kl_twin_sampler": (twin * (logs[1] - logs[0])).sum(1),
        "same_top": (sampler.argmax(1) == twin.argmax(1)).astype(np.float64),
        "correlation": (centred[0] * centred[1]).sum(1) / (norms[0] * norms[1]),
    }
    drawn = np.random.default_rng([seed, 6]).integers(0, len(truth), (RESAMPLES, len(truth)))
    row: Row = {}
    for name in MEASURES:
        low, high = np.percentile(values[name][drawn].mean(1), (2.5, 97.5))
        row |= {name: float(values[name].mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def _notes(corpus: Corpus, tokens: Tokens, contexts: int, trained: list[dict[str, Any]]) -> list[str]:
    shared = trained[0]["recipe"]
    sizes = "; ".join(
        f"{facts['recipe']['kind']} γ {facts['recipe']['gamma'] or 'global'}: {facts['parameters']:,} parameters, "
        f"{facts['seconds']:.0f} s"
        for facts in trained
    )
    return [
        f"Corpus {corpus.name}: {len(tokens)} images as sources and to train on; {contexts} held-out contexts, each "
        f"of one cell of another image; tokens of {tokens.bits} bits, {1 << tokens.bits} classes "
        f"({np.log(1 << tokens.bits):.2f} nats if all are equally likely).",
        f"Twins: {shared['steps']} steps of {shared['batch_size']} images. {sizes}.",
        "nats: mean −ln p(true token). Correlation: of the probabilities of all tokens, mean over contexts. A fitted "
        "flip probability fits other held-out contexts best. Brackets are 95 % bootstrap intervals over contexts.",
    ]
