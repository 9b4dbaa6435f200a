"""Coherent regions of samples: by hand, by brute force, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import npgen
from npgen.config import Config
from npgen.corpus.store import Corpus
from npgen.evaluation import partwhole
from npgen.evaluation.partwhole import part_whole
from npgen.evaluation.regions import connected_regions
from npgen.runs import RunFacts, Samples

LABELS = np.array([5, 5, 5, 9, 9, 2])


@pytest.fixture
def corpus():
    return Corpus.from_arrays(np.zeros((6, 4, 5, 1), np.uint8), LABELS)


def samples_of(ids, corpus):
    ids = np.asarray(ids, np.int32)
    facts = RunFacts("full", Config(seed_size=1), 0, 0, len(ids), corpus.name, corpus.hash)
    made = Samples.empty(facts, (*ids.shape[1:], 1))
    made.trace.image_id[:] = ids
    return made


# The left half is fed by 0, 1, 2 (label 5), the right by 3 (label 9), with one stray 5 (label 2).
IDS = [[0, 1, 3, 3, 3], [0, 1, 3, 3, 3], [2, 2, 3, 5, 3], [1, 2, 3, 3, 3]]


def test_regions_of_the_class_map_itself(corpus):
    found = part_whole(samples_of([IDS], corpus), corpus, window=1)
    assert found.region[0].tolist() == [[0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 2, 1], [0, 0, 1, 1, 1]]
    assert found.label.tolist() == [5, 9, 2]
    assert found.pixels.tolist() == [8, 11, 1]
    assert found.purity.tolist() == [1, 1, 1]  # by definition
    assert found.sources.tolist() == [3, 1, 1]
    assert found.largest_source.tolist() == [3 / 8, 1, 1]
    assert found.pure.all() and found.supported.tolist() == [True, False, False]
    assert found.part_whole.tolist() == found.multi_image.tolist() == [8 / 20]


def test_a_stray_pixel_belongs_to_the_region_around_it(corpus):
    found = part_whole(samples_of([IDS], corpus), corpus, window=3)
    assert found.label.tolist() == [5, 9]
    assert found.pixels.tolist() == [8, 12]
    assert found.purity.tolist() == pytest.approx([1, 11 / 12])
    assert found.sources.tolist() == [3, 2]
    assert found.largest_source.tolist() == pytest.approx([3 / 8, 11 / 12])
    assert found.summary() == pytest.approx(
        {
            "regions": 2,
            "class_purity": 19 / 20,
            "sources_per_region": 2,
            "largest_source": (3 + 11) / 20,
            "multi_image": 1,
            "part_whole": 8 / 20,
        }
    )
    assert found.median_sources.tolist() == [2]


def test_a_tie_goes_to_the_pixels_own_label_else_to_the_lowest(corpus):
    ids = np.array([[0, 3, 5, 3, 0]])  # labels 5 9 2 9 5
    assert partwhole._dominant(LABELS[ids][None], 1).tolist() == [[[5, 9, 9, 9, 5]]]
    even = LABELS[np.array([[0, 1, 5, 3, 4]])]  # labels 5 5 2 9 9: a tie at the middle, 2 has one vote
    assert partwhole._dominant(even[None], 2).tolist() == [[[5, 5, 5, 9, 9]]]


def brute_dominant(labels, radius):
    result = np.empty_like(labels)
    for (y, x), own in np.ndenumerate(labels):
        around = labels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        values, counts = np.unique(around, return_counts=True)
        most = values[counts == counts.max()]
        result[y, x] = own if own in most else most[0]
    return result


def test_many_samples_equal_brute_force(monkeypatch):
    random = np.random.default_rng(0)
    corpus = Corpus.from_arrays(random.integers(0, 256, (40, 9, 11, 1), np.uint8), random.integers(0, 4, 40))
    made = samples_of(random.integers(0, 40, (7, 9, 11)), corpus)
    monkeypatch.setattr(partwhole, "BLOCK_PIXELS", 200)  # two samples a block
    found = part_whole(made, corpus, window=5)
    assert (np.diff(found.sample) >= 0).all()
    np.testing.assert_array_equal(np.unique(found.region), np.arange(len(found.sample)))
    for region, sample in enumerate(found.sample):
        inside = found.region[sample] == region
        ids = made.trace.image_id[sample][inside]
        classes = corpus.labels[made.trace.image_id[sample]]
        dominant = brute_dominant(classes, 2)
        assert (dominant[inside] == found.label[region]).all()
        assert inside.sum() == found.pixels[region]
        assert found.purity[region] == pytest.approx((classes[inside] == found.label[region]).mean())
        counts = np.unique(ids, return_counts=True)[1]
        assert found.sources[region] == len(counts)
        assert found.largest_source[region] == pytest.approx(counts.max() / len(ids))
    for sample in range(7):
        mine = found.sample == sample
        assert found.regions_per_sample[sample] == mine.sum()
        weights = found.pixels[mine] / 99
        assert found.class_purity[sample] == pytest.approx((found.purity[mine] * weights).sum())
        assert found.main_source[sample] == pytest.approx((found.largest_source[mine] * weights).sum())
        both = (found.purity[mine] > 0.5) & (found.largest_source[mine] <= 0.5) & (found.sources[mine] > 1)
        assert found.part_whole[sample] == pytest.approx((both * weights).sum())
    alone = part_whole(made[3:4], corpus, window=5)
    np.testing.assert_array_equal(alone.region + np.flatnonzero(found.sample == 3)[0], found.region[3:4])


def test_regions_touch_along_edges_not_corners():
    values = np.array([[[1, 2], [2, 1]], [[1, 1], [2, 1]]])
    assert connected_regions(values).tolist() == [[[0, 1], [2, 3]], [[4, 4], [6, 4]]]
    outside = np.ones(values.shape, bool)
    outside[1, 0, 1] = False
    assert connected_regions(values, outside).tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_refusals(corpus):
    made = samples_of([IDS], corpus)
    for window in (0, 4, -1):
        with pytest.raises(ValueError, match=f"window must be odd, at least 1, got {window}"):
            part_whole(made, corpus, window)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        part_whole(made[:0], corpus)
    bare = Corpus.from_arrays(corpus.images)
    with pytest.raises(ValueError, match="corpus must be the one the samples were made from"):
        part_whole(made, bare)
    with pytest.raises(ValueError, match=r"corpus must be one with labels, got .*regions are of source classes"):
        part_whole(dataclasses.replace(made, facts=dataclasses.replace(made.facts, corpus_hash=bare.hash)), bare)


def test_it_is_public_and_needs_no_torch():
    assert npgen.part_whole is part_whole
