"""Images of several sizes: stored in one array, but scanned as if each were stored in its own size."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import reference
from corpora import SIZES, pictures, textures
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import npgen
from npgen.corpus import sizes
from npgen.corpus.build import BuildOptions, build_corpus
from npgen.corpus.verify import verify_corpus
from npgen.storage.files import sha256_file

TEXTURE = npgen.Config(window=5, seed_size=4, size=(13, 18))


@pytest.fixture(scope="module")
def corpus():
    return textures()


def run(corpus, n=4, config=TEXTURE, **options):
    return npgen.generate(corpus, n, "texture", config, **({"seed": 5, "progress": False} | options))


def with_(**changes):
    return npgen.Config(**({"window": 5, "seed_size": 4, "size": (13, 18)} | changes))


def equal(a, b):
    arrays = zip((a.images, *a.trace.arrays()), (b.images, *b.trace.arrays()), strict=True)
    return all(np.array_equal(one, other) for one, other in arrays)


# The store


def test_images_keep_their_sizes(corpus):
    assert corpus.images.shape == (6, 20, 30, 3)
    assert corpus.sizes.tolist() == [list(size) for size in SIZES]
    for k, picture in enumerate(pictures()):
        np.testing.assert_array_equal(corpus.image(k), picture)
        rows = np.minimum(np.arange(20), len(picture) - 1)
        columns = np.minimum(np.arange(30), picture.shape[1] - 1)
        np.testing.assert_array_equal(corpus.images[k], picture[rows[:, None], columns])
    assert repr(corpus) == "Corpus('textures', 6 images 3x2 to 20x30, 3 channels, in memory)"
    with pytest.raises(ValueError, match="read-only"):
        corpus.sizes[0] = 1


def test_a_stored_corpus_is_the_same(corpus, tmp_path):
    saved = corpus.save(tmp_path / "c")
    assert saved.hash == corpus.hash
    np.testing.assert_array_equal(saved.sizes, corpus.sizes)
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert manifest["version"] == 2
    assert manifest["sha256"]["sizes"] == sha256_file(tmp_path / "c" / "sizes.npy")
    assert verify_corpus(tmp_path / "c").bytes == sum(f.stat().st_size for f in (tmp_path / "c").glob("*.npy"))
    for one in (saved, corpus):
        again = pickle.loads(pickle.dumps(one))
        assert again.hash == corpus.hash
        np.testing.assert_array_equal(again.sizes, corpus.sizes)
    # Sizes have a part in what a corpus is, even where the array of images is the same.
    flat = [np.zeros(size, np.uint8) for size in ((4, 4), (2, 3))]
    others = [np.zeros(size, np.uint8) for size in ((4, 4), (3, 3))]
    one, other = (npgen.Corpus.from_arrays(images, keep_sizes=True) for images in (flat, others))
    np.testing.assert_array_equal(one.images, other.images)
    assert one.hash != other.hash


def test_one_size_is_stored_as_ever(tmp_path):
    images = np.stack(pictures([(5, 6)] * 3))
    plain, kept = (npgen.Corpus.from_arrays(images, keep_sizes=keep) for keep in (False, True))
    assert kept.sizes is None
    assert kept.hash == plain.hash
    for name, one in (("plain", plain), ("kept", kept)):
        one.save(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "plain").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["images.npy", "manifest.json"]
    for name in files:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "kept" / name).read_bytes()
    assert json.loads((tmp_path / "kept" / "manifest.json").read_text())["version"] == 1


def test_bad_pictures_are_refused():
    def made(images):
        return npgen.Corpus.from_arrays(images, keep_sizes=True)

    with pytest.raises(ValueError, match="images must be at least one image of at least one pixel, got"):
        made([])
    with pytest.raises(TypeError, match="images must be of type list or tuple or ndarray, got int"):
        made(5)
    with pytest.raises(ValueError, match="images must be all grey or all RGB, got some of 1 and some of 3 channels"):
        made([np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8)])
    with pytest.raises(ValueError, match=r"image 1: images must be from 0 to 255, got values from 0.0 to 300.0"):
        made([np.zeros((2, 2)), np.array([[0.0, 300.0]])])
    with pytest.raises(TypeError, match="image 0: images must be uint8, or .*, got complex128"):
        made([np.zeros((2, 2), complex)])
    with pytest.raises(ValueError, match="images must be all of one size, got .*; keep_sizes=True lets them differ"):
        npgen.Corpus.from_arrays(pictures())


def test_one_huge_picture_among_small_ones_is_refused_with_the_numbers(monkeypatch):
    images = [np.zeros((2, 3), np.uint8), np.zeros((40, 20), np.uint8), *[np.zeros((3, 2), np.uint8)] * 50]
    npgen.Corpus.from_arrays(images, keep_sizes=True)  # so few bytes may be wasted
    monkeypatch.setattr(sizes, "FREE_BYTES", 1000)
    message = (
        "images must be so alike in size that all of them at 40x20, as they are stored, take at most 4 times their own "
        "1,106 bytes, got 41,600: image 1 is 40x20"
    )
    with pytest.raises(ValueError, match=message):
        npgen.Corpus.from_arrays(images, keep_sizes=True)


def rewritten(folder, name, array):
    """Put another array into a corpus folder, with its hash in the manifest."""
    np.save(folder / f"{name}.npy", array)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = sha256_file(folder / f"{name}.npy")
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        ("sizes", (0, 0), 0, "sizes.npy must hold the sizes of its images: sizes must be from 1x1 on, the largest hei"),
        ("sizes", (4, 0), 19, "the largest height and width 20x30, got 3x2 to 19x30"),
        ("sizes", (1, 1), 31, "got 3x2 to 20x31"),
        ("sizes", (0, 0), 11, "images.npy must repeat the edges of images beyond their sizes, got others at image 0"),
        (
            "images",
            (3, 5, 1, 0),
            200,
            "images.npy must repeat the edges of images beyond their sizes, got .* at image 3",
        ),
    ],
)
def test_a_forged_folder_is_refused(corpus, tmp_path, name, at, value, message):
    corpus.save(tmp_path / "c")
    array = np.load(tmp_path / "c" / f"{name}.npy")
    array[at] = value
    np.save(tmp_path / "c" / f"{name}.npy", array)
    with pytest.raises(ValueError, match=f"{name}.npy must (have sha256|hold the sizes)"):
        npgen.load_corpus(tmp_path / "c")
    rewritten(tmp_path / "c", name, array)
    with pytest.raises(ValueError, match=message):
        npgen.load_corpus(tmp_path / "c")


def test_sizes_of_another_form_are_refused(corpus, tmp_path):
    corpus.save(tmp_path / "c")
    for array, message in [
        (corpus.sizes.astype(np.int64), "must be an array of int32, got int64"),
        (corpus.sizes[:5], r"must be an array of shape \(6, 2\), got \(5, 2\)"),
    ]:
        shutil.copytree(tmp_path / "c", tmp_path / "d")
        rewritten(tmp_path / "d", "sizes", array)
        with pytest.raises(ValueError, match=message):
            npgen.load_corpus(tmp_path / "d")
        shutil.rmtree(tmp_path / "d")
    rewritten(tmp_path / "c", "sizes", np.full((6, 2), (20, 30), np.int32))
    with pytest.raises(ValueError, match="sizes must be of which some differ, got 'one only'"):
        npgen.load_corpus(tmp_path / "c")
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    (tmp_path / "c" / "manifest.json").write_text(json.dumps(manifest | {"version": 1}))
    with pytest.raises(ValueError, match="sha256 in .* must be a hash for images"):
        npgen.load_corpus(tmp_path / "c")


# Ingestion


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    for k, picture in enumerate(pictures()):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{k}.png")
    return tmp_path / "pictures"


def build(folder, out, **options):
    return build_corpus(folder, out, BuildOptions(quiet=True, **options))


def test_a_folder_of_pictures_of_several_sizes(corpus, folder, tmp_path):
    with pytest.raises(ValueError, match=r"several sizes, got None, .*0.png of 12x9 and .*1.png of 5x30. .*keep-sizes"):
        build(folder, tmp_path / "c")
    built = build(folder, tmp_path / "c", keep_sizes=True)
    assert built.hash == corpus.hash
    assert sorted(path.name for path in built.path.iterdir()) == [
        "account.json",
        "images.npy",
        "manifest.json",
        "sizes.npy",
    ]
    # A corpus is a source like any other.
    again = build(built.path, tmp_path / "again", keep_sizes=True)
    assert again.hash == corpus.hash
    small = build(built.path, tmp_path / "small", size=(6, 6))
    assert small.hash == build(folder, tmp_path / "direct", size=(6, 6)).hash


def test_held_out_pictures_keep_their_sizes_too(folder, tmp_path):
    built = build(folder, tmp_path / "c", keep_sizes=True, holdout=0.34)
    parts = [part.image(k) for part in (built, built.heldout) for k in range(len(part))]
    assert len(parts) == 6
    for picture in pictures():
        assert sum(np.array_equal(picture, part) for part in parts) == 1
    assert npgen.load_corpus(tmp_path / "c").heldout.hash == built.heldout.hash
    in_memory = npgen.Corpus.from_arrays(pictures(), keep_sizes=True, heldout=textures())
    assert pickle.loads(pickle.dumps(in_memory)).heldout.hash == textures().hash
    with pytest.raises(ValueError, match=r"heldout must be images of shape \(3,\), got \(5, 5, 1\)"):
        textures(heldout=npgen.Corpus.from_arrays(np.zeros((2, 5, 5), np.uint8)))


def test_a_folder_of_one_size_is_built_as_ever(tmp_path):
    (tmp_path / "pictures").mkdir()
    for k, picture in enumerate(pictures([(6, 8)] * 3)):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{k}.png")
    plain = build(tmp_path / "pictures", tmp_path / "plain")
    kept = build(tmp_path / "pictures", tmp_path / "kept", keep_sizes=True)
    for name in ("images.npy", "manifest.json"):
        assert (plain.path / name).read_bytes() == (kept.path / name).read_bytes()
    assert not (kept.path / "sizes.npy").exists()


def test_nothing_is_left_of_a_folder_that_differs_too_much(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "FREE_BYTES", 0)
    monkeypatch.setattr(sizes, "MOST_TIMES", 2)
    with pytest.raises(ValueError, match=r"take at most 2 times their own 2,442 bytes, got 10,800: .*png is 16x16"):
        build(folder, tmp_path / "out" / "c", keep_sizes=True)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"size must be None where images keep their sizes, got \(4, 4\)"):
        BuildOptions(keep_sizes=True, size=(4, 4))
    with pytest.raises(TypeError, match="keep_sizes must be of type bool, got int"):
        BuildOptions(keep_sizes=1)


# Pools


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["best", "all"]), st.sampled_from([1, 3]))
def test_a_pool_is_that_of_all_images_each_alone(salt, candidates, channels):
    random = np.random.default_rng(salt)
    extents = random.integers(1, 9, (random.integers(2, 5), 2)).tolist()
    levels = np.array([0, 40, 255], np.uint8)
    images = [levels[random.integers(0, 3, (*extent, channels))] for extent in extents]
    corpus = npgen.Corpus.from_arrays(images, keep_sizes=True)
    frame = tuple(random.integers(5, 9, 2).tolist())
    config = npgen.Config(
        window=3 + 2 * int(random.integers(0, 2)),
        seed_size=1,
        size=frame,
        k_min=int(random.integers(1, 6)),
        epsilon=0.2,
        candidates=candidates,
        locality=100,
    )
    canvas = levels[random.integers(0, 3, (*frame, channels))]
    known = random.random(frame) < 0.6
    pixel = tuple(random.integers(0, frame).tolist())
    known[pixel] = False
    found = npgen.candidate_pool(corpus, canvas, known, pixel, config)
    every = npgen.Config(**{**config.to_json(), "epsilon": 1e30, "k_min": 10**6})
    alone = []  # each image at its own size, by itself
    for number, image in enumerate(images):
        rows = reference.pool(image[None], canvas, known, pixel, every)
        alone += [(distance, number, y, x) for distance, _, y, x in rows]
    alone.sort()
    near = 1.2 * alone[0][0] * (1 + 1e-12)
    expected = [row for rank, row in enumerate(alone) if rank < config.k_min or row[0] <= near]
    np.testing.assert_array_equal(np.stack([found.image_id, found.y, found.x], 1), [row[1:] for row in expected])
    np.testing.assert_allclose(found.distance, [row[0] for row in expected], rtol=1e-11)


def test_a_pool_needs_a_size_and_looks_anywhere(corpus):
    canvas, known = np.zeros((13, 18, 3), np.uint8), np.zeros((13, 18), bool)
    everything = npgen.candidate_pool(corpus, canvas, known, (0, 0), with_(candidates="all"))
    assert len(everything) == sum(height * width for height, width in SIZES)  # none known: all are equal
    with pytest.raises(
        ValueError, match=r"size must be \(height, width\) where images are of several sizes, 3x2 to 20x30"
    ):
        npgen.candidate_pool(corpus, canvas, known, (0, 0))
    with pytest.raises(ValueError, match="canvas must be of shape"):
        npgen.candidate_pool(corpus, canvas[1:], known, (0, 0), TEXTURE)
    one = npgen.Corpus.from_arrays(pictures([(9, 9)] * 2))
    anywhere = npgen.candidate_pool(one, canvas, known, (0, 0), with_(candidates="all"))
    assert len(anywhere) == 2 * 81


# Samples


@pytest.mark.parametrize(
    "changes",
    [{}, {"sweeps": 1}, {"candidates": "all", "k_min": 4}, {"tolerance": "corpus", "k_min": 2}, {"quota": 2}],
)
def test_every_pixel_is_one_of_an_image_itself(corpus, changes, tmp_path):
    config = with_(**changes)
    samples = run(corpus, config=config)
    assert samples.images.shape == (4, 13, 18, 3)
    assert corpus.holds(samples.trace.image_id, samples.trace.y, samples.trace.x).all()
    np.testing.assert_array_equal(samples.replay(corpus), samples.images)
    for options in [{"threads": 1}, {"batch_size": 1}, {"batch_size": 3, "threads": 2}]:
        assert equal(run(corpus, config=config, **options), samples)
    assert equal(run(corpus, 1, config, first=2), samples[2:3])
    # The pool of a pixel, as it was, over each image alone.
    explainer = npgen.Explainer(samples, corpus)
    for pixel in [(0, 0), (6, 2), (12, 17)]:
        found = explainer.explain(1, pixel)
        assert corpus.holds(found.pool.image_id, found.pool.y, found.pool.x).all()
        assert len(found.pool) == samples.trace.pool_size[1, *pixel]
    saved = corpus.save(tmp_path / "c")
    samples.save(tmp_path / "run")
    assert npgen.verify_run(tmp_path / "run", saved).ok


def test_an_image_smaller_than_a_window_serves_but_one_smaller_than_a_seed_patch_seeds_none(corpus):
    samples = run(corpus, 40, with_(k_min=30))
    assert 3 in samples.trace.image_id  # 3×2, in windows of 5×5: its edges go on
    large = [k for k, size in enumerate(SIZES) if min(size) >= 4]
    assert set(np.unique(samples.anchor)) == set(large)
    seeds = samples.trace.pool_size == 0
    assert seeds.sum() == 40 * 16
    corners = np.stack([samples.trace.y[seeds], samples.trace.x[seeds]], 1).reshape(40, 16, 2)[:, 0]
    assert len(np.unique(corners, axis=0)) > 15
    with pytest.raises(ValueError, match=r"seed_size must be in 1..=16 \(the corpus's images\), got 17"):
        run(corpus, 1, with_(size=(30, 30), seed_size=17))
    assert set(run(corpus, 10, with_(size=(30, 30), seed_size=16, exclude_seed_image=False)).anchor.tolist()) == {2}


def test_an_address_beyond_its_image_is_found(corpus, tmp_path):
    samples = run(corpus)
    k, y, x = np.argwhere((samples.trace.image_id == 0) & (samples.trace.pool_size > 0))[0]
    value = samples.images[k, y, x].copy()
    # What is stored there is the edge, so that the values would agree.
    samples.trace.y[k, y, x], samples.trace.x[k, y, x] = 19, 8
    samples.images[k, y, x] = corpus.images[0, 19, 8]
    with pytest.raises(ValueError, match="trace must be of pixels inside their images .*, got 'some beyond'"):
        samples.replay(corpus)
    saved = corpus.save(tmp_path / "c")
    samples.save(tmp_path / "run")
    report = npgen.verify_run(tmp_path / "run", saved)
    assert report.different == 1
    (difference,) = report.differences
    assert (difference.sample, difference.y, difference.x) == (k, y, x)
    assert difference.reasons[0] == "there is no such pixel in the corpus"
    assert difference.source_value is None
    assert value.shape == (3,)


def test_a_large_source_among_others(tmp_path):
    """More positions than any window touches the edges at."""
    images = pictures([(60, 50), (9, 40)])
    corpus = npgen.Corpus.from_arrays(images, keep_sizes=True).save(tmp_path / "c")
    config = npgen.Config(window=7, seed_size=5, size=(12, 12), epsilon=0.3)
    samples = run(corpus, 2, config, memory=1 << 33)
    assert corpus.holds(samples.trace.image_id, samples.trace.y, samples.trace.x).all()
    assert equal(samples, run(npgen.Corpus.from_arrays(images, keep_sizes=True), 2, config))


def test_what_shows_samples_shows_them(corpus, tmp_path):
    samples = run(corpus, 2)
    assert npgen.report(samples, corpus, tmp_path / "r.html", progress=False).path.exists()
    axes = pytest.importorskip("npgen.tracing").sources_around(samples, corpus, 0)
    shown = {image.get_array().shape[:2] for name, part in axes.items() if "source" in name for image in part.images}
    assert shown <= set(SIZES)
    npgen.entropy(samples, corpus)
