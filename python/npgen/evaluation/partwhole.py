"""Part–whole generalisation: whether each region of a sample comes from one class, and from several images.

Section 3.3 of the paper has two criteria for each coherent region of a generated image: class purity, "dominated by a
single source class", and multi-image support, "patches originate from several distinct training images (no single image
contributes the majority)". The paper does not define coherent regions. A connected region of the class map is pure by
definition, and single pixels of other classes split it. Here, therefore, each pixel gets the most frequent class of the
window around it (7×7, as for the paper's entropies); regions are the 4-connected areas of that map, and purity is the
share of a region's pixels whose source is of the region's class. Window 1 gives the regions of the class map itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import check_odd, check_whole, invalid
from npgen.evaluation.entropy import WINDOW
from npgen.evaluation.regions import connected_regions
from npgen.output import Column, Row, markdown_table
from npgen.runs import TracedSamples, check_traced

# Pixels of a block of samples: bounds the memory of the analysis.
BLOCK_PIXELS = 1 << 18
# Name and number format of each measurement in tables.
NUMBERS = {
    "regions": ("regions of a sample", ".1f"),
    "class_purity": ("class purity", ".1%"),
    "sources_per_region": ("source images of a region", ".1f"),
    "largest_source": ("share of a region's main source", ".1%"),
    "multi_image": ("area fed by several images", ".1%"),
    "part_whole": ("area that is part–whole: pure, and no majority source", ".1%"),
}
# Quantiles over samples in a run's table.
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False)
class PartWhole:
    """The coherent regions of n samples: r regions, in order of sample and first pixel.

    Attributes
    ----------
    region
        (n, H, W) int64, region of each pixel, 0 to r − 1.
    sample
        (r,) int64, sample of each region, ascending.
    label
        (r,) int64, label of each region: the most frequent one around each of its pixels.
    pixels
        (r,) int64, area.
    purity
        (r,) float64, share of the region's pixels whose source has the region's label. Criterion (i): more than half.
    sources
        (r,) int64, number of source images of the region's pixels.
    largest_source
        (r,) float64, share of the region's pixels that come from its main source image. Criterion (ii): at most half,
        and at least two source images.
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
        """(r,) bool, criterion (i): more than half of the region comes from one class."""
        return self.purity > 0.5

    @property
    def supported(self) -> NDArray[np.bool_]:
        """(r,) bool, criterion (ii): several source images, none of which contributes the majority."""
        return (self.sources > 1) & (self.largest_source <= 0.5)

    @property
    def regions_per_sample(self) -> NDArray[np.int64]:
        """(n,) number of regions of each sample."""
        return np.bincount(self.sample, minlength=len(self.region))

    @property
    def class_purity(self) -> NDArray[np.float64]:
        """(n,) share of each sample's pixels whose source is of the class of their region."""
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
        """(n,) share of each sample's area in regions of two source images or more."""
        return self._over_area(self.sources > 1)

    @property
    def part_whole(self) -> NDArray[np.float64]:
        """(n,) share of each sample's area in regions that meet both criteria."""
        return self._over_area(self.pure & self.supported)

    def summary(self) -> dict[str, float]:
        """Return the measurements of all samples together.

        Returns
        -------
        dict
            Means over samples of `class_purity`, `multi_image`, `part_whole`, `regions` (number per sample) and
            `largest_source` (see `main_source`); `sources_per_region`, the median over all pixels.
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
        """Return the measurements of each sample.

        Returns
        -------
        list of dict
            One row per sample: `sample`, its index in the run, then the measurements of `summary` for this sample.
        """
        columns = {"sample": np.arange(len(self.region)), **self._of_samples()}
        values = {key: column.tolist() for key, column in columns.items()}
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]

    def markdown(self) -> str:
        """Return the measurements as a Markdown table, each with its quantiles over samples."""
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
        """Return the measurements (n,) of each sample under the names of `summary`."""
        return {
            "regions": self.regions_per_sample,
            "class_purity": self.class_purity,
            "sources_per_region": self.median_sources,
            "largest_source": self.main_source,
            "multi_image": self.multi_image,
            "part_whole": self.part_whole,
        }

    def _over_area(self, values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the mean (n,) over each sample's pixels of a number (r,) per region."""
        shares = (values * self.pixels).astype(np.float64) / self.region[0].size
        return np.bincount(self.sample, shares, minlength=len(self.region)).astype(np.float64)

    def _sources_of_pixels(self) -> NDArray[np.int64]:
        sources: NDArray[np.int64] = self.sources[self.region.reshape(len(self.region), -1)]
        return sources


def part_whole(samples: TracedSamples, corpus: Corpus, window: int = WINDOW) -> PartWhole:
    """Find the coherent regions of samples, and the classes and images that each region comes from.

    Parameters
    ----------
    samples
        At least one sample.
    corpus
        The labelled corpus that they were made from.
    window
        Odd side, in pixels, of the window around a pixel whose most frequent label the pixel gets; windows are cut at
        the border of the image. Of equally frequent labels the pixel's own is taken, else the lowest.

    Returns
    -------
    PartWhole
        All regions, with their measurements for each sample and for the run.

    Raises
    ------
    ValueError
        If the samples were made from another corpus, the corpus has no labels, there is no sample, or the window is
        even or below 1.

    Examples
    --------
    Every source of a `class` sample is of the seed's class, so each sample is one pure region:

    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 2, "class", npgen.Config(window=5), progress=False)
    >>> found = npgen.part_whole(samples, corpus)
    >>> found.regions_per_sample.tolist(), found.class_purity.tolist()
    ([1, 1], [1.0, 1.0])
    """
    check_traced(samples, corpus)
    check_odd("window", check_whole("window", window, most=2**31 - 1))
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
    # Count the pixels of each pair of region and source image: a pair is one number.
    width = int(ids.max()) + 1
    pairs, counts = np.unique(region * width + ids.reshape(-1), return_counts=True)
    of_pair = pairs // width  # region
    largest = np.zeros(count, np.int64)
    np.maximum.at(largest, of_pair, counts)
    return PartWhole(
        region=region.reshape(ids.shape) + first_region,
        sample=firsts // area + first_sample,
        label=dominant.reshape(-1)[firsts],
        pixels=pixels,
        purity=matching / pixels,
        sources=np.bincount(of_pair, minlength=count),
        largest_source=largest / pixels,
    )


def _dominant(classes: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """Replace each label (n, H, W) by the most frequent one within `radius` pixels along both axes."""
    best = np.zeros(classes.shape, np.int64)
    winner = classes.copy()
    for label in np.unique(classes):
        own = classes == label
        votes = 2 * _box_sums(own, radius) + own  # in a tie, the pixel's own label wins, else the lowest
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
