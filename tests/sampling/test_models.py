"""What models and settings switch on and off: labels, no low level, thresholds, sweeps, another size."""

import numpy as np
import pytest

import npgen

FAST = npgen.Config(window=5, shortlist=20, seed_size=4)


def run(corpus, n=6, model="full", config=FAST, **options):
    options = {"encoder": "pixels", "seed": 3, "progress": False} | options
    return npgen.generate(corpus, n, model, config, **options)


def with_(**changes):
    return npgen.Config(**({"window": 5, "shortlist": 20, "seed_size": 4} | changes))


def equal(a, b):
    arrays = zip((a.images, *a.trace.arrays()), (b.images, *b.trace.arrays()), strict=True)
    return all(np.array_equal(one, other) for one, other in arrays)


def test_class_takes_sources_of_the_seed_s_label_alone(digits):
    samples = run(digits, model="class")
    labels = digits.labels[samples.trace.image_id]
    assert (labels == digits.labels[samples.anchor][:, None, None]).all()
    assert npgen.entropy(samples, digits).mean_class == 0
    drawn = samples.trace.pool_size > 0
    assert (samples.trace.image_id != samples.anchor[:, None, None])[drawn].all()


def test_class_needs_labels_and_company(digits):
    bare = npgen.Corpus.from_arrays(digits.images)
    with pytest.raises(ValueError, match="corpus must be one with labels, for the model 'class', got 'arrays'"):
        run(bare, model="class")
    lonely = npgen.Corpus.from_arrays(digits.images, np.arange(len(digits)))
    with pytest.raises(ValueError, match="corpus must be at least 2 images of each label"):
        run(lonely, model="class")


def test_semantic_draws_from_the_whole_shortlist(digits):
    samples = run(digits, model="semantic", config=with_(max_share=None))
    inner = samples.trace.pool_size[:, 1:-1, 1:-1]
    drawn = inner > 0
    assert (inner[drawn] == 20 * 9).all()
    assert (samples.trace.distance == 0).all()
    assert all(len(np.unique(ids)) > 15 for ids in samples.trace.image_id)
    np.testing.assert_array_equal(samples.replay(digits), samples.images)


def test_a_threshold_s_shortlist_is_what_lies_within_it(digits):
    # With nothing compared, every position of every listed image is in the pool: its size tells the list's length.
    epsilon = 0.01
    threshold = {"semantic": "threshold", "epsilon": epsilon, "query_expansion": 0, "max_share": None, "locality": 2}
    samples = run(digits, 8, "semantic", with_(shortlist=1, **threshold))
    encoder = npgen.load_encoder("pixels", digits)
    keys = encoder.encode(digits.images).astype(np.float64)
    everything = np.ones(digits.images.shape[1:3], bool)
    queries = encoder.encode(digits.images[samples.anchor], everything).astype(np.float64)
    distances = np.sqrt(2 - 2 * queries @ keys.T)  # (n, N)
    distances[np.arange(8), samples.anchor] = np.inf
    expected = (distances <= (1 + epsilon) * distances.min(1, keepdims=True)).sum(1)
    assert len(set(expected)) > 2
    np.testing.assert_array_equal(samples.trace.pool_size[:, 8, 3], expected * 25)
    fewest = run(digits, 8, "semantic", with_(**threshold))
    np.testing.assert_array_equal(fewest.trace.pool_size[:, 8, 3], np.maximum(expected, 20) * 25)


def windows(config, shape):
    """The windows of all pixels, as masks of the frame without their centres."""
    half = config.window // 2
    rows, columns = np.indices(shape)
    for y, x in np.ndindex(shape):
        near = (abs(rows - y) <= half) & (abs(columns - x) <= half)
        near[y, x] = False
        yield (y, x), near


@pytest.mark.parametrize("model", ["full", "local", "texture", "class"])
@pytest.mark.parametrize("quota", [2, 5])
def test_no_image_serves_more_of_a_window_than_its_quota(colours, model, quota):
    config = with_(quota=quota)
    samples = run(colours, model=model, config=config)
    order = npgen.fill_order(12, 12, config.seed_rect(12, 12), config.window).pixels
    masks = dict(windows(config, (12, 12)))
    for ids in samples.trace.image_id:
        known = samples.trace.pool_size[0] == 0
        for y, x in order:
            assert (ids == ids[y, x])[masks[y, x] & known].sum() < quota
            known[y, x] = True
    free = run(colours, model=model)
    assert npgen.entropy(samples, colours).mean_image_id > npgen.entropy(free, colours).mean_image_id + 0.1
    np.testing.assert_array_equal(samples.replay(colours), samples.images)
    for options in [{"threads": 1}, {"batch_size": 1}, {"batch_size": 4, "threads": 2}]:
        assert equal(run(colours, model=model, config=config, **options), samples)


def test_a_quota_s_pool_is_that_of_the_images_left(colours):
    config = with_(quota=3, sweeps=2, candidates="all", epsilon=0.5)
    samples = run(colours, model="local", config=config)
    y, x = npgen._core.sweep_order(
        npgen.fill_order(12, 12, config.seed_rect(12, 12), config.window).pixels, 3, config.sweeps
    )[-1]
    window = dict(windows(config, (12, 12)))[y, x]
    for image, ids, sizes, anchor in zip(
        samples.images, samples.trace.image_id, samples.trace.pool_size, samples.anchor, strict=True
    ):
        served, counts = np.unique(ids[window], return_counts=True)
        left = np.setdiff1d(np.arange(len(colours)), [*served[counts >= 3], anchor])
        pool = npgen.candidate_pool(colours, image, np.ones((12, 12), bool), (y, x), config, left)
        assert len(pool) == sizes[y, x]
        assert ids[y, x] in pool.image_id


@pytest.mark.parametrize(("model", "shortlist"), [("full", 12), ("local", None)])
def test_a_literal_tolerance_is_relative_to_the_nearest_window_anywhere(colours, model, shortlist):
    """Pools and fallbacks against plain pools over all windows of all images, cut by hand."""
    base = {"window": 5, "shortlist": 12, "seed_size": 4, "epsilon": 0.8, "k_min": 2, "max_share": None}
    config = npgen.Config(tolerance="corpus", **base)
    samples = run(colours, 3, model, config)
    plain = npgen.Config(**base)
    anywhere = npgen.Config(window=5, seed_size=4, epsilon=0, locality=12)
    explainer = npgen.Explainer(samples, colours)
    order = npgen.fill_order(12, 12, config.seed_rect(12, 12), 5).pixels.tolist()
    for k in range(3):
        others = np.setdiff1d(np.arange(len(colours)), samples.anchor[k])
        fallbacks = 0
        for y, x in order:
            found = explainer.explain(k, (y, x))
            nearest = npgen.candidate_pool(colours, found.canvas, found.known, (y, x), anywhere, others).distance[0]
            own = others if found.shortlist is None else found.shortlist
            distances = npgen.candidate_pool(colours, found.canvas, found.known, (y, x), plain, own).distance
            within = (distances <= 1.8 * nearest).sum()
            fallbacks += within == 0
            np.testing.assert_array_equal(found.pool.distance, distances[: max(2, within)])
            assert samples.trace.pool_size[k, y, x] == len(found.pool)
        assert samples.fallbacks[k] == fallbacks
    assert 0 < samples.fallbacks.sum() < 3 * len(order)
    assert run(colours, 3, model).fallbacks.sum() == 0
    for options in [{"threads": 1}, {"batch_size": 1}]:
        assert equal(run(colours, 3, model, config, **options), samples)


def test_bad_tolerances_are_refused(colours):
    with pytest.raises(ValueError, match="tolerance must be 'candidates' or 'corpus', got 'paper'"):
        with_(tolerance="paper")
    with pytest.raises(ValueError, match="tolerance must be 'candidates' for a model that looks at no window, got 'co"):
        run(colours, model="semantic", config=with_(tolerance="corpus"))


def test_bad_quotas_are_refused(colours):
    with pytest.raises(ValueError, match="quota must be at least 1 or None, got 0"):
        with_(quota=0)
    with pytest.raises(TypeError, match="quota must be a whole number, got 1.5"):
        with_(quota=1.5)


@pytest.mark.parametrize("quota", [1, 30])
def test_a_quota_sets_no_limit_where_all_could_be_used_up(colours, quota):
    """Windows of 81 pixels: 80 images could be used up, or 2."""
    few = npgen.Corpus.from_arrays(colours.images[: 81 if quota == 1 else 3])
    free, limited = (
        run(few, 2, model, npgen.Config(window=9, seed_size=4, quota=given))
        for model in ("local",)
        for given in (None, quota)
    )
    assert equal(free, limited)
    enough = npgen.Corpus.from_arrays(colours.images[:4])
    held = run(enough, 2, "local", npgen.Config(window=9, seed_size=4, quota=30))
    assert not equal(run(enough, 2, "local", npgen.Config(window=9, seed_size=4, quota=None)), held)
    one = npgen.Corpus.from_arrays(colours.images[:1])
    alone = npgen.Config(window=9, seed_size=4, exclude_seed_image=False)
    assert run(one, 1, "texture", alone).trace.image_id.max() == 0


@pytest.mark.parametrize("model", ["full", "local", "texture", "class"])
def test_sweeps_draw_every_pixel_but_the_seed_s_anew(colours, model):
    filled, swept = run(colours, model=model), run(colours, model=model, config=with_(sweeps=1))
    seed = filled.trace.pool_size == 0
    np.testing.assert_array_equal(swept.trace.pool_size == 0, seed)
    np.testing.assert_array_equal(swept.images[seed], filled.images[seed])
    changed = (swept.images != filled.images).any(3)
    assert 0.02 < changed.mean() < 0.98
    np.testing.assert_array_equal(swept.replay(colours), swept.images)
    for options in [{"threads": 1}, {"batch_size": 1}, {"batch_size": 4, "threads": 2}]:
        assert equal(run(colours, model=model, config=with_(sweeps=1), **options), swept)
    assert equal(run(colours, 1, model, with_(sweeps=1), first=4), swept[4:5])


def test_a_pixel_of_the_last_sweep_is_drawn_from_its_pool(colours):
    # The last pixel visited saw the finished canvas.
    config = with_(sweeps=2, locality=1)
    samples = run(colours, 3, "local", config)
    order = npgen.fill_order(12, 12, config.seed_rect(12, 12), 5).pixels
    last = npgen._core.sweep_order(order, 3, 2)[-1]
    everything = np.ones((12, 12), bool)
    others = np.arange(len(colours))
    for k in range(3):
        pool = npgen.candidate_pool(
            colours, samples.images[k], everything, tuple(last), config, others[others != samples.anchor[k]]
        )
        at = (k, *last)
        assert samples.trace.pool_size[at] == len(pool)
        drawn = np.stack([samples.trace.image_id[at], samples.trace.y[at], samples.trace.x[at]])
        assert (np.stack([pool.image_id, pool.y, pool.x]) == drawn[:, None]).all(0).any()


@pytest.mark.parametrize("size", [(24, 20), (10, 30), (8, 9)])
def test_texture_takes_a_size_of_its_own(colours, size):
    config = with_(size=size)
    samples = run(colours, 4, "texture", config)
    assert samples.images.shape == (4, *size, 3)
    np.testing.assert_array_equal(samples.replay(colours), samples.images)
    assert len(np.unique(samples.trace.y[samples.trace.pool_size == 0])) > 4  # seeds come from anywhere
    assert equal(run(colours, 1, "texture", config, first=2, threads=1), samples[2:3])


def test_texture_of_one_source_of_any_size(colours):
    source = npgen.Corpus.from_arrays(np.concatenate([*colours.images[:3]], 1)[None])  # (1, 12, 36, 3)
    config = with_(size=(12, 12), exclude_seed_image=False, k_min=3)
    samples = run(source, 2, "texture", config)
    assert samples.images.shape == (2, 12, 12, 3)
    assert (samples.trace.image_id == 0).all()
    np.testing.assert_array_equal(samples.replay(source), samples.images)


def test_bad_sizes_are_refused(colours):
    with pytest.raises(ValueError, match=r"size must be \(12, 12\) or None, .* with locality, got \(20, 20\)"):
        run(colours, config=with_(size=(20, 20)))
    with pytest.raises(ValueError, match=r"seed_size must be in 1..=12 \(the corpus's images\), got 18"):
        run(colours, model="texture", config=with_(size=(30, 30), seed_size=18))
    with pytest.raises(ValueError, match=r"each of size must be at least 1, got 0"):
        npgen.Config(size=(0, 4))
    with pytest.raises(TypeError, match=r"size must be whole numbers \(height, width\), got 4"):
        npgen.Config(size=4)


def test_bad_sweeps_and_semantics_are_refused():
    with pytest.raises(ValueError, match="sweeps must be in 0…1000, got -1"):
        npgen.Config(sweeps=-1)
    with pytest.raises(ValueError, match="sweeps must be in 0…1000, got 1001"):
        npgen.Config(sweeps=1001)
    with pytest.raises(ValueError, match="semantic must be 'topk' or 'threshold', got 'near'"):
        npgen.Config(semantic="near")
