"""The white box, opened: pools against brute force, and against what generation drew from."""

import numpy as np
import pytest
import reference

import npgen


def random_case(seed):
    """Images, canvas, mask, pixel, settings and shortlist of one random case."""
    random = np.random.default_rng(seed)
    height, width = random.integers(5, 14, 2)
    n, channels = random.integers(1, 90), random.choice([1, 3])
    # Few grey levels make ties; all of them make real distances; smooth ramps make near misses.
    levels = random.choice([2, 5, 256])
    values = np.sort(random.integers(0, 256, levels)).astype(np.uint8)
    images = values[random.integers(0, levels, (n, height, width, channels))]
    if random.random() < 0.3:
        images = np.sort(images, axis=2)
    canvas = values[random.integers(0, levels, (height, width, channels))]
    known = random.random((height, width)) < random.choice([0.0, 0.2, 0.6, 1.0])
    pixel = (int(random.integers(height)), int(random.integers(width)))
    config = npgen.Config(
        window=int(random.choice(range(3, min(height, width) + 1, 2))),
        sigma=random.choice([None, 0.7, 3.0]),
        locality=int(random.integers(0, 4)),
        epsilon=float(random.choice([0.0, 0.1, 0.5])),
        k_min=int(random.choice([1, 3, 40])),
        candidates=str(random.choice(["best", "all"])),
        seed_size=3,
    )
    ids = None if random.random() < 0.5 else random.permutation(n)[: random.integers(1, n + 1)]
    return images, canvas, known, pixel, config, ids


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_pools_equal_brute_force(start):
    for seed in range(start, start + 20):
        images, canvas, known, pixel, config, ids = random_case(seed)
        known[pixel] = False
        expected = reference.pool(images, canvas, known, pixel, config, ids)
        corpus = npgen.Corpus.from_arrays(images)
        pool = npgen.candidate_pool(corpus, canvas, known, pixel, config, ids)
        members = list(zip(pool.image_id.tolist(), pool.y.tolist(), pool.x.tolist(), strict=True))
        assert members == [row[1:] for row in expected], seed
        np.testing.assert_allclose(pool.distance, [row[0] for row in expected], rtol=1e-9)


@pytest.mark.parametrize("model", ["full", "local"])
def test_every_pixel_was_drawn_from_its_pool(digits, model):
    config = npgen.Config(window=5, shortlist=20, k_min=3, max_share=None, query_expansion=0)
    samples = npgen.generate(digits, 2, model, config, encoder="pixels", progress=False)
    order = npgen.fill_order(*samples.images.shape[1:3], config.seed_rect(*samples.images.shape[1:3]), 5)
    for k in range(2):
        shortlist = np.delete(np.arange(len(digits)), samples.anchor[k])
        if model == "full":
            encoder = npgen.load_encoder("pixels", digits)
            anchor = digits.images[samples.anchor[k]]
            query = encoder.encode(anchor[None], np.ones(anchor.shape[:2], bool))
            products = npgen.embed(digits, encoder) @ query[0]
            products[samples.anchor[k]] = -np.inf
            shortlist = np.argsort(-products, kind="stable")[:20]
        known = np.zeros(samples.images.shape[1:3], bool)
        y, x, height, width = config.seed_rect(*known.shape)
        known[y : y + height, x : x + width] = True
        for pixel in map(tuple, order.pixels.tolist()):
            pool = npgen.candidate_pool(digits, samples.images[k], known, pixel, config, shortlist)
            trace = samples.trace[k : k + 1]
            at = (0, *pixel)
            assert len(pool) == trace.pool_size[at]
            drawn = (pool.image_id == trace.image_id[at]) & (pool.y == trace.y[at]) & (pool.x == trace.x[at])
            assert np.float32(pool.distance[drawn].item()) == trace.distance[at]
            known[pixel] = True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel": (16, 0)}, r"pixel must be inside the 16×16 frame, got \(16, 0\)"),
        ({"pixel": (0, -1)}, r"pixel must be inside the 16×16 frame, got \(0, -1\)"),
        ({"shortlist": [0, 60]}, r"shortlist must be image ids in 0\.\.60, got 60"),
        ({"shortlist": [-1]}, r"shortlist must be image ids in 0\.\.60, got -1"),
        ({"shortlist": [2, 2]}, r"shortlist must be ids that differ, got 2"),
        ({"shortlist": np.zeros(0, int)}, r"shortlist must be at least one id long, got 0"),
        ({"known": np.ones((16, 15), bool)}, r"known must be of shape \[16, 16\], got \[16, 15\]"),
        (
            {"canvas": np.zeros((16, 16, 3), np.uint8)},
            r"canvas must be of shape \[16, 16, 1\], got \[16, 16, 3\]",
        ),
        (
            {"config": npgen.Config(window=17)},
            r"window must be odd, in 3\.\.=16 \(the image is 16×16\), got 17",
        ),
    ],
)
def test_bad_values_are_named(digits, change, message):
    arguments = {"canvas": np.zeros((16, 16, 1), np.uint8), "known": np.ones((16, 16), bool), "pixel": (3, 3)}
    with pytest.raises(ValueError, match=message):
        npgen.candidate_pool(digits, **(arguments | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"canvas": np.zeros((16, 16, 1))}, "canvas must be a 3-dimensional array of uint8, got float64"),
        ({"known": np.ones((16, 16))}, "known must be a 2-dimensional array of bool, got float64"),
        ({"shortlist": [0.5]}, "shortlist must be a list of image ids, got float64"),
    ],
)
def test_bad_types_are_named(digits, change, message):
    arguments = {"canvas": np.zeros((16, 16, 1), np.uint8), "known": np.ones((16, 16), bool), "pixel": (3, 3)}
    with pytest.raises(TypeError, match=message):
        npgen.candidate_pool(digits, **(arguments | change))
