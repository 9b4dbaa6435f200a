"""Semantic distances of places, added to those of windows."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.config.choices import LATER
from npgen.encoders import JoinedEncoder, PlaceGrid, place_encoder
from npgen.sampling import Library, meaning
from npgen.sampling.meaning import Meaning

BASE = {"window": 5, "shortlist": 10, "seed_size": 4, "query_expansion": 5, "semantic_weight": 3000}


def run(corpus, n=5, model="full", encoder="pixels", **options):
    changes = {name: options.pop(name) for name in list(options) if name in npgen.Config.__dataclass_fields__}
    config = npgen.Config(**(BASE | changes))
    return npgen.generate(corpus, n, model, config, 3, encoder=encoder, progress=False, **options)


class Dots:
    """An encoder whose places are pixels: 3 fixed numbers of each pixel's grey level, every second row and column."""

    id = "dots"

    def places(self, images, known=None, *, threads=None):
        grey = images[:, ::2, ::2, 0] / 255
        vectors = np.stack([grey, 1 - grey, np.full(grey.shape, 0.3)], -1)
        vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        if known is not None:
            vectors = vectors * known[::2, ::2, None]
        return vectors.astype(np.float32)

    def grid_of_places(self, known):
        share = known[::2, ::2].astype(np.float64)
        return PlaceGrid(*share.shape, (0.0, 0.0), (2.0, 2.0)), share


def definition(encoder, corpus, canvas, known, pixel, image, displacement, sigma):
    """The distance by its equation, place by place, in double precision."""
    own, theirs = encoder.places(canvas[None], known)[0], encoder.places(corpus.images[image : image + 1])[0]
    grid, share = encoder.grid_of_places(known)
    total = weights = 0.0
    near = min(
        sum((np.array(pixel) - centre) ** 2) for centre, m in zip(grid.centres, share.ravel(), strict=True) if m > 0
    )
    for place, centre in enumerate(grid.centres):
        row, column = divmod(place, grid.columns)
        if share[row, column] == 0:
            continue
        g = share[row, column] * np.exp((near - sum((np.array(pixel) - centre) ** 2)) / (2 * sigma**2))
        down, right = (int(part / step) for part, step in zip(displacement, grid.step, strict=True))
        at = min(max(row + down, 0), grid.rows - 1), min(max(column + right, 0), grid.columns - 1)
        total += g * (1 - float(own[row, column].astype(np.float64) @ theirs[at]))
        weights += g
    return total / weights


@pytest.mark.parametrize("radius", [0, 1, 4])
@pytest.mark.parametrize("kind", ["dots", "pixels"])
def test_it_is_the_definition(digits, kind, radius):
    encoder = Dots() if kind == "dots" else npgen.load_encoder("pixels", digits)
    random = np.random.default_rng(radius)
    canvases = digits.images[[5, 9]]
    known = np.zeros((16, 16), bool)
    known[5:12, 4:11] = True
    pixels = np.array([[4, 4], [5, 11], [12, 12], [4, 9]], np.int32)
    ids = np.array([1, 4, 8, 0, 30], np.int32)
    distances = Meaning(encoder, Library(digits), 1.5, 1000.0, radius, None)
    added = distances.added(canvases, known, pixels, (ids, np.array([3, 5])))
    assert added.shape == (5, 4, 2 * radius + 1, 2 * radius + 1) and added.dtype == np.uint32
    for _ in range(60):
        k, p, dy, dx = (int(random.integers(extent)) for extent in added.shape)
        canvas = canvases[int(k >= 3)]
        expected = definition(encoder, digits, canvas, known, pixels[p], ids[k], (dy - radius, dx - radius), 1.5)
        # Embeddings are rounded to 1/2048 and weights to 1/65,536.
        assert added[k, p, dy, dx] / 256 == pytest.approx(1000 * expected, abs=2)


def test_it_is_the_same_for_any_batch_and_stage(digits):
    encoder, everything = npgen.load_encoder("pixels", digits), np.ones((16, 16), bool)
    pixels = np.array([[3, 4], [0, 15]], np.int32)
    ids, ends = np.array([1, 7, 2, 3, 9], np.int32), np.array([2, 5])
    together = Meaning(encoder, Library(digits), 1.0, 50.0, 1, None)
    both = together.added(digits.images[:2], everything, pixels, (ids, ends))
    alone = Meaning(encoder, Library(digits), 1.0, 50.0, 1, 1)
    np.testing.assert_array_equal(
        alone.added(digits.images[1:2], everything, pixels, (ids[2:], np.array([3]))), both[2:]
    )
    # Places of images that are held already are used again.
    np.testing.assert_array_equal(
        alone.added(digits.images[:1], everything, pixels, (ids[:2], np.array([2]))), both[:2]
    )
    assert (alone.added(digits.images[:1], ~everything, pixels, (ids[:2], np.array([2]))) == 0).all()
    assert alone.added(digits.images[:0], everything, pixels, (ids[:0], ends[:0])).shape == (0, 2, 3, 3)


def test_bytes_do_not_depend_on_threads_batch_and_memory(colours, monkeypatch):
    expected = run(colours, 6)
    monkeypatch.setattr(meaning, "HELD", 1)
    np.testing.assert_array_equal(run(colours, 6, batch_size=2).images, expected.images)
    monkeypatch.undo()
    for options in ({"threads": 1}, {"batch_size": 2}, {"threads": 3, "batch_size": 5}):
        other = run(colours, 6, **options)
        np.testing.assert_array_equal(other.images, expected.images)
        for a, b in zip(other.trace.arrays(), expected.trace.arrays(), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(expected.replay(colours), expected.images)
    assert (expected.images != run(colours, 6, semantic_weight=0).images).any()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "conditional", "locality": 4, "candidates": "all"},
        {"sweeps": 1},
        {"select": 2, "quota": 5},
        {"anchor_weight": 0.5, "stage_pixels": 7},
    ],
    ids=str,
)
def test_explain_finds_the_pools_that_were_drawn_from(digits, changes):
    samples = run(digits, 2, **changes)
    explainer = npgen.Explainer(samples, digits)
    seen = 0
    for k in range(2):
        for y, x in npgen.fill_order(16, 16, samples.config.seed_rect(16, 16), 5).pixels[::17].tolist():
            found = explainer.explain(k, (y, x))
            assert len(found.pool) == samples.trace.pool_size[k, y, x]
            assert np.float32(found.pool.distance[found.drawn]) == samples.trace.distance[k, y, x]
            assert (found.added <= found.pool.distance).all() and (found.added >= 0).all()
            seen += found.added.any()
    assert seen > 10


def test_a_pool_is_that_of_windows_and_what_is_added(digits):
    """Each candidate's distance less what was added is its window's, as without semantic distances."""
    samples = run(digits, 1, locality=2, candidates="all", epsilon=0.5)
    found = npgen.explain(samples, digits, 0, (3, 8))
    bare = npgen.Config(**(BASE | {"semantic_weight": 0, "locality": 2, "candidates": "all", "epsilon": 1e6}))
    left = np.setdiff1d(found.shortlist, found.barred)
    windows = npgen.candidate_pool(digits, found.canvas, found.known, (3, 8), bare, left)
    by_address = {
        address: distance
        for *address, distance in zip(windows.image_id, windows.y, windows.x, windows.distance, strict=True)
        for address in [tuple(map(int, address))]
    }
    for image, y, x, distance, added in zip(
        found.pool.image_id, found.pool.y, found.pool.x, found.pool.distance, found.added, strict=True
    ):
        assert distance == by_address[int(image), int(y), int(x)] + added


def test_verify_generates_them_again(digits, tmp_path):
    corpus = digits.save(tmp_path / "digits")
    samples = run(corpus, 3, out=tmp_path / "run")
    assert npgen.verify_run(tmp_path / "run", corpus).ok
    path = tmp_path / "run" / "00000000" / "pool_size.npy"
    sizes = np.load(path)
    sizes[1, 0, 0] = sizes[1, 0, 0] % 10 + 1
    np.save(path, sizes)
    report = npgen.verify_run(tmp_path / "run", corpus)
    assert [(d.sample, d.y, d.x) for d in report.differences] == [(1, 0, 0)]
    (text,) = report.differences[0].reasons
    assert text == f"generated again it has pool_size {samples.trace.pool_size[1, 0, 0]}"


def test_the_command_line_shows_what_was_added(digits, tmp_path):
    corpus = digits.save(tmp_path / "digits")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in BASE.items()]
    command = ["generate", str(corpus.path), "-n", "2", "--encoder", "pixels", "--out", str(tmp_path / "run"), "-q"]
    assert CliRunner().invoke(app, [*command, *options]).exit_code == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["config"]["semantic_weight"] == 3000
    arguments = [str(tmp_path / "run"), "--corpus", str(corpus.path)]
    shown = CliRunner().invoke(app, ["explain", arguments[0], "0", "0", "0", *arguments[1:]])
    assert shown.exit_code == 0 and "of this added" in shown.output
    verified = CliRunner().invoke(app, ["verify", *arguments, "--encoder", "pixels", "-q"])
    assert verified.exit_code == 0 and "all equal" in verified.output


def test_json_names_them_only_where_they_are_used(digits, tmp_path):
    run(digits, 2, semantic_weight=0, out=tmp_path / "run")
    assert "semantic_weight" not in json.loads((tmp_path / "run" / "manifest.json").read_text())["config"]
    assert npgen.load_samples(tmp_path / "run").config.semantic_weight == 0
    for config in (npgen.Config(), npgen.Config(semantic_weight=3), npgen.Config(levels=2, coarse_weight=0.5)):
        assert npgen.Config.from_json(config.to_json()) == config
    assert npgen.Config().to_json() | {"levels": 2} == npgen.Config(levels=2).to_json()
    for name, default in LATER.items():
        assert getattr(npgen.Config(), name) == default


def test_the_finest_part_of_a_joined_encoder_embeds_places(digits):
    pixels = npgen.load_encoder("pixels", digits)
    coarse = npgen.PixelEncoder(16, 16, 1, grid=3)
    joined = JoinedEncoder([coarse, pixels], [1, 1])
    assert place_encoder(joined) is pixels
    assert place_encoder(pixels) is pixels
    assert place_encoder(None) is None
    assert len(run(digits, 2, encoder=joined)) == 2


def test_bad_settings_are_refused(digits):
    for bad in (-1, 2e6):
        with pytest.raises(ValueError, match=f"semantic_weight must be in 0…1000000, got {bad}"):
            npgen.Config(semantic_weight=bad)
    for model in ("local", "texture", "class", "semantic"):
        message = "semantic_weight must be 0 for a model without embedding or windows, got 3000.0"
        with pytest.raises(ValueError, match=message):
            run(digits, model=model)
    with pytest.raises(ValueError, match=r"semantic_weight must be 0 where tolerance is relative to the corpus, got"):
        run(digits, tolerance="corpus")

    class Blind:
        id, dim, channels = "blind", 4, 1

        def encode(self, images, known=None, *, threads=None):
            return np.full((len(images), 4), 0.5, np.float32)

    joined = JoinedEncoder([Blind(), Blind()], [1, 1])
    with pytest.raises(ValueError, match="encoder must be one that embeds places, where semantic_weight is above 0"):
        run(digits, encoder=joined)


def test_the_run_s_own_encoder_is_needed(digits):
    samples = run(digits, 1)
    other = npgen.PixelEncoder(16, 16, 1, grid=3)
    with pytest.raises(ValueError, match="encoder must be the one that the run was made with, [0-9a-f]{16}, got"):
        npgen.explain(samples, digits, 0, (0, 0), encoder=other)
    joined = JoinedEncoder([other, npgen.load_encoder("pixels", digits)], [1, 1])
    samples = run(digits, 1, encoder=joined)
    with pytest.raises(ValueError, match="encoder must be the one that the run was made with"):
        npgen.explain(samples, digits, 0, (0, 0))
    assert len(npgen.explain(samples, digits, 0, (0, 0), encoder=joined).pool) == samples.trace.pool_size[0, 0, 0]
