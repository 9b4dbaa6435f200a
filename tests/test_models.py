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
    samples = run(digits, model="semantic", config=with_(anchor_weight=1, locality=1))
    inner = samples.trace.pool_size[:, 1:-1, 1:-1]
    drawn = inner > 0
    assert (inner[drawn] == 20 * 9).all()
    assert (samples.trace.distance == 0).all()
    assert all(len(np.unique(ids)) > 15 for ids in samples.trace.image_id)
    np.testing.assert_array_equal(samples.replay(digits), samples.images)


def test_a_threshold_s_shortlist_is_what_lies_within_it(digits):
    # With nothing compared, every position of every listed image is in the pool: its size tells the list's length.
    epsilon = 0.01
    samples = run(digits, 8, "semantic", with_(semantic="threshold", shortlist=1, epsilon=epsilon, anchor_weight=1))
    encoder = npgen.load_encoder("pixels", digits)
    keys = encoder.encode(digits.images).astype(np.float64)
    everything = np.ones(digits.images.shape[1:3], bool)
    queries = encoder.encode(digits.images[samples.anchor], everything).astype(np.float64)
    distances = np.sqrt(2 - 2 * queries @ keys.T)  # (n, N)
    distances[np.arange(8), samples.anchor] = np.inf
    expected = (distances <= (1 + epsilon) * distances.min(1, keepdims=True)).sum(1)
    assert len(set(expected)) > 2
    np.testing.assert_array_equal(samples.trace.pool_size[:, 8, 3], expected * 25)
    fewest = run(digits, 8, "semantic", with_(semantic="threshold", epsilon=epsilon, anchor_weight=1))
    np.testing.assert_array_equal(fewest.trace.pool_size[:, 8, 3], np.maximum(expected, 20) * 25)


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
    with pytest.raises(ValueError, match=r"size must be at least 1 along each side, got \(0, 4\)"):
        npgen.Config(size=(0, 4))
    with pytest.raises(TypeError, match=r"size must be two whole numbers \(height, width\) or None, got 4"):
        npgen.Config(size=4)


def test_bad_sweeps_and_semantics_are_refused():
    with pytest.raises(ValueError, match="sweeps must be in 0…1000, got -1"):
        npgen.Config(sweeps=-1)
    with pytest.raises(ValueError, match="sweeps must be in 0…1000, got 1001"):
        npgen.Config(sweeps=1001)
    with pytest.raises(ValueError, match="semantic must be 'topk' or 'threshold', got 'near'"):
        npgen.Config(semantic="near")
