"""The largest share of the frame that may come from one image."""

import numpy as np
import pytest

import npgen

BASE = {"window": 5, "shortlist": 20, "seed_size": 4, "quota": None}


def run(corpus, n=6, model="full", **changes):
    options = {"encoder": "pixels", "progress": False}
    return npgen.generate(corpus, n, model, npgen.Config(**(BASE | changes)), 3, **options)


def largest(samples):
    """Pixels (n,) of each sample's most used image that is not its anchor's."""
    rows = samples.trace.image_id.reshape(len(samples), -1)
    return [
        np.unique(row[row != anchor], return_counts=True)[1].max()
        for row, anchor in zip(rows, samples.anchor, strict=True)
    ]


@pytest.mark.parametrize("model", ["full", "local", "texture", "semantic", "class", "conditional"])
@pytest.mark.parametrize("changes", [{}, {"sweeps": 2}, {"quota": 5}, {"tolerance": "corpus"}], ids=str)
def test_no_image_gives_more_than_its_share(digits, model, changes):
    if model == "semantic" and "tolerance" in changes:
        pytest.skip("it compares no windows")
    free, held = run(digits, model=model, **changes), run(digits, model=model, max_share=0.15, **changes)
    most = int(0.15 * 16 * 16)
    assert max(largest(held)) <= most
    if model != "semantic" and "quota" not in changes:
        assert max(largest(free)) > most
    np.testing.assert_array_equal(held.replay(digits), held.images)


def test_the_seed_patch_counts_for_its_image(colours):
    # A patch of 16 of the 144 pixels, and an image that may serve: at most 20 pixels from it in all.
    samples = run(colours, model="local", exclude_seed_image=False, max_share=20 / 144)
    for ids in samples.trace.image_id:
        assert np.unique(ids, return_counts=True)[1].max() <= 20
    assert (samples.trace.image_id == samples.anchor[:, None, None]).sum((1, 2)).max() == 20


def test_pixels_are_drawn_from_the_images_left(colours):
    samples = run(colours, 2, "local", max_share=0.1)
    explainer = npgen.Explainer(samples, colours)
    most, seen = samples.config.frame_quota((12, 12)), 0
    for k, ids in enumerate(samples.trace.image_id):
        for y, x in npgen.fill_order(12, 12, samples.config.seed_rect(12, 12), 5).pixels[60:].tolist():
            found = explainer.explain(k, (y, x))
            served, counts = np.unique(ids[found.known], return_counts=True)
            np.testing.assert_array_equal(found.barred, np.union1d(served[counts >= most], samples.anchor[k]))
            seen += (counts >= most).any()
    assert seen


@pytest.mark.parametrize(("share", "size", "most"), [(0.29, (10, 10), 29), (0.2, (32, 32), 204), (0.001, (8, 8), 1)])
def test_a_share_is_of_whole_pixels(share, size, most):
    assert npgen.Config(max_share=share).frame_quota(size) == most


def test_it_sets_no_limit_where_all_could_be_used_up(colours):
    """A third of the frame: three images could be used up."""
    few, enough = (npgen.Corpus.from_arrays(colours.images[:count]) for count in (3, 4))
    # In the smaller corpus two images may serve, besides the seed's own.
    for corpus, limited in ((few, False), (enough, True)):
        free, held = (run(corpus, 3, "local", max_share=share) for share in (None, 1 / 3))
        assert np.array_equal(free.trace.image_id, held.trace.image_id) != limited


def test_bad_shares_are_refused():
    for bad in (0, 1.5, -0.1):
        with pytest.raises(ValueError, match=f"max_share must be a number above 0, at most 1, or None, got {bad}"):
            npgen.Config(max_share=bad)
    with pytest.raises(TypeError, match="max_share must be a number, got 'half'"):
        npgen.Config(max_share="half")


def test_runs_of_earlier_versions_have_no_limit(colours, tmp_path):
    facts = run(colours, 2, "local").facts.to_json()
    del facts["config"]["max_share"]
    assert npgen.runs.RunFacts.from_json("run", {**facts, "shards": []}).config.max_share is None
