"""Part–whole generalisation: whether a sample's parts are of one class each, and of several images.

Section 3.3 of the paper asks two things of each coherent region of a generated image: class purity, "dominated by a
single source class", and multi-image support, "patches originate from several distinct training images (no single image
contributes the majority)". The paper leaves open what a coherent region is. A connected region of the class map itself
is pure by definition, and single stray pixels tear it. Here a pixel belongs to the class that most pixels of the window
around it come from, 7×7 as in the paper's entropies; regions are the 4-connected areas of that map, and purity is the
share of a region's pixels that do come from its class. Window 1 gives the regions of the class map itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import check_whole, invalid
from npgen.evaluation.entropy import WINDOW
from npgen.evaluation.regions import connected_regions
from npgen.output import Column, Row, markdown_table
from npgen.runs import TracedSamples, check_traced

# Pixels of a block of samples, and with it the memory that the analysis takes.
BLOCK_PIXELS = 1 << 18
# What the tables call the numbers, and how they are written.
NUMBERS = {
    "regions": ("regions of a sample", ".1f"),
    "class_purity": ("class purity", ".1%"),
    "sources_per_region": ("source images of a region", ".1f"),
    "largest_source": ("share of a region's main source", ".1%"),
    "multi_image": ("area fed by several images", ".1%"),
    "part_whole": ("area that is part–whole: pure, and no majority source", ".1%"),
}
# Quantiles over samples that the run's table has.
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False)
class PartWhole:
    """The coherent regions of n samples: r regions, in order of sample and first pixel.

    Attributes
    ----------
    region
        (n, H, W) int64: the region of each pixel, 0 to r − 1.
    sample
        (r,) int64: the sample that each region is of, ascending.
    label
        (r,) int64: the label that dominates it.
    pixels
        (r,) int64: its area.
    purity
        (r,) float64: share of its pixels whose source is of that label; criterion (i) asks for more than half.
    sources
        (r,) int64: number of source images that feed it.
    largest_source
        (r,) float64: share of its pixels that come from its main source image; criterion (ii) asks for two source
        images or more, and for at most half.
    """

    region: NDArray[np.int64]
    sample: NDArray[np.int64]
    label: NDArray[np.int64]
    pixels: NDArray[np.int64]
    purity: NDArray[np.float64]
    sources: NDArray[np.int64]
    largest_source: NDArray[np.float64]

    @property
    def pure(self) -> NDArray[np.bool_]:
        """(r,) whether criterion (i) holds: more than half of the region is of one class."""
        return self.purity > 0.5

    @property
    def supported(self) -> NDArray[np.bool_]:
        """(r,) whether criterion (ii) holds: several source images, none of which contributes the majority."""
        return (self.sources > 1) & (self.largest_source <= 0.5)

    @property
    def regions_per_sample(self) -> NDArray[np.int64]:
        """(n,) number of regions of each sample."""
        return np.bincount(self.sample, minlength=len(self.region))

    @property
    def class_purity(self) -> NDArray[np.float64]:
        """(n,) share of each sample's pixels that are of the class of their region."""
        return self._over_area(self.purity)

    @property
    def main_source(self) -> NDArray[np.float64]:
        """(n,) share of each sample's pixels that come from the main source image of their region."""
        return self._over_area(self.largest_source)

    @property
    def median_sources(self) -> NDArray[np.float64]:
        """(n,) median over each sample's pixels of the number of source images of their region."""
        medians: NDArray[np.float64] = np.median(self._sources_of_pixels(), axis=1)
        return medians

    @property
    def multi_image(self) -> NDArray[np.float64]:
        """(n,) share of each sample's area in regions fed by two source images or more."""
        return self._over_area(self.sources > 1)

    @property
    def part_whole(self) -> NDArray[np.float64]:
        """(n,) share of each sample's area in regions that meet both criteria."""
        return self._over_area(self.pure & self.supported)

    def summary(self) -> dict[str, float]:
        """Return the run's numbers.

        Returns
        -------
        dict
            Means over samples of `class_purity`, `multi_image`, `part_whole`, `regions` (a sample) and
            `largest_source` (as `main_source`); `sources_per_region`, the median over all pixels.
        """
        return {
            "regions": float(self.regions_per_sample.mean()),
            "class_purity": float(self.class_purity.mean()),
            "sources_per_region": float(np.median(self._sources_of_pixels())),
            "largest_source": float(self.main_source.mean()),
            "multi_image": float(self.multi_image.mean()),
            "part_whole": float(self.part_whole.mean()),
        }

    def rows(self) -> list[Row]:
        """Return the table of samples.

        Returns
        -------
        list of dict
            A row a sample: `sample`, its place in the run, then the numbers of `summary` for it alone.
        """
        columns = {"sample": np.arange(len(self.region)), **self._of_samples()}
        values = {key: column.tolist() for key, column in columns.items()}
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]

    def markdown(self) -> str:
        """Lay the run's numbers out as a Markdown table, each with its spread over samples."""
        summary, rows = self.summary(), []
        for key, values in self._of_samples().items():
            low, median, high = np.quantile(values, QUANTILES).tolist()
            rows.append({"key": key, "run": summary[key], "low": low, "median": median, "high": high})

        def cell(column: str) -> Column:
            heads = {"run": "run", "low": "5 % of samples below", "median": "median", "high": "5 % above"}
            return Column(heads[column], lambda row: format(row[column], NUMBERS[row["key"]][1]))

        name = Column("", lambda row: NUMBERS[row["key"]][0])
        return markdown_table([name, *map(cell, ("run", "low", "median", "high"))], rows)

    def _of_samples(self) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
        """Return the numbers of each sample, (n,) each, under the names of `summary`."""
        return {
            "regions": self.regions_per_sample,
            "class_purity": self.class_purity,
            "sources_per_region": self.median_sources,
            "largest_source": self.main_source,
            "multi_image": self.multi_image,
            "part_whole": self.part_whole,
        }

    def _over_area(self, values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean over each sample's pixels of a number for each region."""
        shares = (values * self.pixels).astype(np.float64) / self.region[0].size
        return np.bincount(self.sample, shares, minlength=len(self.region)).astype(np.float64)

    def _sources_of_pixels(self) -> NDArray[np.int64]:
        sources: NDArray[np.int64] = self.sources[self.region.reshape(len(self.region), -1)]
        return sources


def part_whole(samples: TracedSamples, corpus: Corpus, window: int = WINDOW) -> PartWhole:
    """Find the coherent regions of samples, and what feeds them.

    Parameters
    ----------
    samples
        At least one sample.
    corpus
        The labelled corpus they were made from.
    window
        Odd side of the window, in pixels, whose most frequent label a pixel is counted to; it ends at the frame. Among
        equally frequent ones the pixel's own label counts, else the lowest.

    Returns
    -------
    PartWhole
        All regions, with their numbers for each sample and for the run.

    Raises
    ------
    ValueError
        If it is another corpus, or one without labels, there is no sample, or the window is even or below 1.
    """
    check_traced(samples, corpus)
    check_whole("window", window, most=2**31 - 1)
    if window < 1 or window % 2 == 0:
        raise invalid("window", "odd, at least 1", window)
    if len(samples) == 0:
        raise invalid("samples", "at least 1", 0)
    if corpus.labels is None:
        raise ValueError(f"corpus must be one with labels, got {corpus!r}: regions are of source classes")
    ids = samples.trace.image_id  # (n, H, W)
    step = max(1, BLOCK_PIXELS // ids[0].size)
    blocks, count = [], 0
    for start in range(0, len(ids), step):
        block = _regions(ids[start : start + step], corpus.labels, window // 2, start, count)
        blocks.append(block)
        count += len(block.sample)
    return PartWhole(
        *(np.concatenate(parts) for parts in zip(*(vars(block).values() for block in blocks), strict=True))
    )


def _regions(
    ids: NDArray[np.int32], labels: NDArray[np.int64], radius: int, first_sample: int, first_region: int
) -> PartWhole:
    classes = labels[ids]  # (n, H, W)
    dominant = _dominant(classes, radius)
    firsts, region = np.unique(connected_regions(dominant), return_inverse=True)
    region = region.reshape(-1)
    count, area = len(firsts), ids[0].size
    pixels = np.bincount(region, minlength=count)
    matching = np.bincount(region, (classes == dominant).reshape(-1), minlength=count)
    # One number for each pair of region and source image.
    width = int(ids.max()) + 1
    pairs, shares = np.unique(region * width + ids.reshape(-1), return_counts=True)
    fed = pairs // width
    largest = np.zeros(count, np.int64)
    np.maximum.at(largest, fed, shares)
    return PartWhole(
        region=region.reshape(ids.shape) + first_region,
        sample=firsts // area + first_sample,
        label=dominant.reshape(-1)[firsts],
        pixels=pixels,
        purity=matching / pixels,
        sources=np.bincount(fed, minlength=count),
        largest_source=largest / pixels,
    )


def _dominant(classes: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """Replace each label (n, H, W) by the most frequent one within `radius` pixels along both axes."""
    best = np.zeros(classes.shape, np.int64)
    winner = classes.copy()
    for label in np.unique(classes):
        own = classes == label
        votes = 2 * _box_sums(own, radius) + own  # a tie goes to the pixel's own label, else to the lowest
        better = votes > best
        best[better], winner[better] = votes[better], label
    return winner


def _box_sums(mask: NDArray[np.bool_], radius: int) -> NDArray[np.int64]:
    """Count the true pixels within `radius` along both axes, inside the frame."""
    sums = mask.astype(np.int64)
    for axis in (1, 2):
        extent = sums.shape[axis]
        cumulated = np.insert(sums.cumsum(axis), 0, 0, axis=axis)
        high, low = (np.arange(extent) + radius + 1).clip(max=extent), (np.arange(extent) - radius).clip(min=0)
        sums = cumulated.take(high, axis) - cumulated.take(low, axis)
    return sums
