"""The file of a report: its data are those of the run, its size is limited, and names in it stay text."""

import base64
import hashlib
import io
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from report_pages import EVIL, payload_of, unpacked
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.inspection.explain import explain
from npgen.reports.packing import pack_images, packed
from npgen.reports.page import SCRIPTS, report
from npgen.reports.page import _parts as page_parts
from npgen.reports.pools import STORED

CONFIG = npgen.Config(window=5, shortlist=12)


def decoded(payload):
    """Return the source images (S, H, W, C) on the sheets, and their stored parts."""
    height, width, channels = payload["source_shape"]
    rects = unpacked(payload["sheets"]["rects"]).reshape(-1, 4)
    images = np.zeros((len(rects), height, width, channels), np.uint8)
    columns, cells = payload["sheets"]["columns"], payload["sheets"]["cells"]
    for s in np.flatnonzero(rects[:, 2]):
        kind, data = payload["sheets"]["uris"][s // cells].split(",")
        assert kind in ("data:image/webp;base64", "data:image/png;base64")
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            sheet = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(
                picture.height, picture.width, -1
            )
        y, x = s % cells // columns * height, s % cells % columns * width
        images[s] = sheet[y : y + height, x : x + width]
    return images, rects


@pytest.fixture(scope="module")
def samples(digits):
    return npgen.generate(digits, 5, "full", CONFIG, encoder="pixels", progress=False)


@pytest.fixture(scope="module")
def written(samples, digits, tmp_path_factory):
    return report(samples, digits, tmp_path_factory.mktemp("report") / "r.html", pools=[0, 2], progress=False)


@pytest.fixture(scope="module")
def payload(written):
    return payload_of(written.path)


def test_traces_and_images_are_those_of_the_run(payload, samples):
    trace = {name: unpacked(part) for name, part in payload["trace"].items()}
    ids = unpacked(payload["sources"]["id"])
    np.testing.assert_array_equal(trace["image"], samples.images.ravel())
    np.testing.assert_array_equal(ids[trace["source"]], samples.trace.image_id.ravel())
    for name, array in (("y", "y"), ("x", "x"), ("distance", "distance"), ("pool", "pool_size")):
        np.testing.assert_array_equal(trace[name], getattr(samples.trace, array).ravel())
    np.testing.assert_array_equal(ids[unpacked(payload["anchor"])], samples.anchor)
    order = npgen.fill_order(16, 16, CONFIG.seed_rect(16, 16), 5)
    np.testing.assert_array_equal(unpacked(payload["order"]), order.pixels @ [16, 1])
    assert payload["stages"] == order.stages.tolist()
    assert payload["provenance"] == samples.provenance()


def test_sources_are_the_images_used_the_most_used_first(payload, samples, digits):
    images, rects = decoded(payload)
    ids = unpacked(payload["sources"]["id"])
    np.testing.assert_array_equal(images, digits.images[ids])
    np.testing.assert_array_equal(rects, np.tile([0, 0, 16, 16], (len(ids), 1)))
    np.testing.assert_array_equal(unpacked(payload["sources"]["label"]), digits.labels[ids])
    uses = np.bincount(samples.trace.image_id.ravel(), minlength=len(digits))[ids]
    assert (np.diff(uses) <= 0).all()
    assert set(samples.trace.image_id.ravel().tolist()) <= set(ids.tolist())
    colours = unpacked(payload["sources"]["colour"]).reshape(-1, 3)[unpacked(payload["trace"]["source"])]
    from npgen.runs.pictures import coloured_by_image

    np.testing.assert_array_equal(colours, coloured_by_image(samples).reshape(-1, 3))


def test_statistics_are_those_of_the_library(payload, samples, digits):
    columns = {column["key"]: column["values"] for column in payload["columns"]}
    entropies = npgen.entropy(samples, digits)
    drawn = samples.trace.pool_size > 0
    for k, ids in enumerate(samples.trace.image_id):
        counts = np.unique(ids, return_counts=True)[1]
        assert columns["sources"][k] == len(counts)
        assert columns["largest_share"][k] == pytest.approx(100 * counts.max() / 256)
        assert columns["distance"][k] == pytest.approx(samples.trace.distance[k][drawn[k]].mean(), rel=1e-5)
        assert columns["pool"][k] == pytest.approx(samples.trace.pool_size[k][drawn[k]].mean())
    assert columns["image_id_entropy"] == entropies.image_id.tolist()
    assert columns["class_entropy"] == entropies.class_map.tolist()
    assert columns["seed_class"] == digits.labels[samples.anchor].tolist()


def test_pools_are_those_of_explain(payload, samples, digits):
    assert sorted(payload["pools"]) == ["0", "2"]
    ids = unpacked(payload["sources"]["id"])
    for k in (0, 2):
        pools = {name: unpacked(part) for name, part in payload["pools"][str(k)].items()}
        start = 0
        for step, p in enumerate(unpacked(payload["order"]).tolist()):
            end = pools["ends"][step]
            found = explain(samples, digits, k, divmod(p, 16))
            rank = pools["rank"][start:end]
            assert len(rank) == min(STORED, len(found.pool))
            assert found.drawn in rank
            assert pools["drawn"][step] == found.drawn
            np.testing.assert_array_equal(ids[pools["source"][start:end]], found.pool.image_id[rank])
            np.testing.assert_array_equal(pools["y"][start:end], found.pool.y[rank])
            np.testing.assert_array_equal(pools["x"][start:end], found.pool.x[rank])
            np.testing.assert_array_equal(pools["distance"][start:end], found.pool.distance[rank].astype(np.float32))
            np.testing.assert_allclose(pools["probability"][start:end], 1 / len(found.pool), rtol=1e-6)
            values = digits.images[found.pool.image_id, found.pool.y, found.pool.x]
            same = (values == samples.images[k].reshape(-1, 1)[p]).all(1).mean()
            assert pools["value_probability"][step] == pytest.approx(same, rel=1e-6)
            start = end


def test_a_drawn_candidate_of_any_rank_is_stored(digits, tmp_path):
    wide = npgen.generate(digits, 1, "semantic", replace(CONFIG, shortlist=40), encoder="pixels", progress=False)
    payload = payload_of(report(wide, digits, tmp_path / "r.html", progress=False).path)
    pools = {name: unpacked(part) for name, part in payload["pools"]["0"].items()}
    assert pools["drawn"].max() >= STORED
    np.testing.assert_array_equal(pools["rank"][pools["ends"] - 1] >= STORED, pools["drawn"] >= STORED)
    assert not payload["compared"]


def test_the_page_may_run_its_own_script_and_nothing_else(written):
    text = written.path.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for name, tag in (("script", '<script type="module">'), ("style", "<style>")):
        inline = re.search(f"{tag}(.*?)</{name}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    parts = page_parts()
    for part in parts.values():
        assert "http://" not in part
        assert "https://" not in part
    assert "</script" not in parts["script"]
    assert "innerHTML" not in parts["script"]
    assert len(SCRIPTS) == 6
    assert written.size == len(written.path.read_bytes())


def test_names_from_data_stay_text(digits, tmp_path):
    named = npgen.Corpus.from_arrays(digits.images, digits.labels, [EVIL, "<b>&amp;", "it's"], name="<i>&'\"")
    samples = npgen.generate(named, 2, "local", CONFIG, progress=False)
    path = report(samples, named, tmp_path / "r.html", progress=False).path
    text = path.read_text(encoding="utf-8")
    assert "<img" not in text
    assert "<i>" not in text
    assert text.count("</script") == 2
    assert payload_of(path)["classes"] == [EVIL, "<b>&amp;", "it's"]


def test_no_labels_no_classes(colours, tmp_path):
    bare = npgen.Corpus.from_arrays(colours.images)
    samples = npgen.generate(bare, 2, "local", npgen.Config(window=5, seed_size=4), progress=False)
    written = report(samples, bare, tmp_path / "r.html", progress=False)
    payload = payload_of(written.path)
    assert payload["classes"] is None
    assert payload["sources"]["label"] is None
    assert "class_entropy" not in {column["key"] for column in payload["columns"]}
    assert 'value="class"' not in written.path.read_text(encoding="utf-8")
    assert written.notes == ("The corpus has no labels, so there is no class map.",)


@pytest.mark.parametrize(
    ("model", "change"),
    [("full", {"sweeps": 2}), ("texture", {"size": (20, 14)}), ("class", {}), ("full", {"seed_size": 16})],
)
def test_every_kind_of_run_has_a_report(digits, tmp_path, model, change):
    config = replace(CONFIG, **change)
    samples = npgen.generate(digits, 2, model, config, encoder="pixels", progress=False)
    payload = payload_of(report(samples, digits, tmp_path / "r.html", progress=False).path)
    assert payload["shape"] == list(samples.images.shape[1:])
    order = unpacked(payload["order"])
    drawn = np.flatnonzero(samples.trace.pool_size[0].ravel())
    assert sorted(order.tolist()) == drawn.tolist()
    if config.sweeps:
        # The order of the last sweep is that of the pools.
        steps = [explain(samples, digits, 0, divmod(p, 16)).step for p in order[:20].tolist()]
        assert steps == list(range(20))
        assert payload["stages"] == [0, len(order)]


def test_the_first_samples_are_shown_with_a_note(samples, digits, tmp_path):
    written = report(samples, digits, tmp_path / "r.html", count=2, progress=False)
    payload = payload_of(written.path)
    assert payload["shown"] == 2
    assert sorted(payload["pools"]) == ["0", "1"]
    assert written.notes == ("The first 2 of 5 samples are shown.",)
    assert "The first 2 of 5 samples are shown." in written.path.read_text(encoding="utf-8")


def test_pools_that_take_long_are_computed_only_on_request(samples, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["npgen.reports.data"], "POOL_IMAGES", 11)
    written = report(samples, digits, tmp_path / "r.html", progress=False)
    assert payload_of(written.path)["pools"] == {}
    assert "the pool of every pixel comes from about 12 images" in written.notes[0]
    assert sorted(payload_of(report(samples, digits, written.path, pools=[1], progress=False).path)["pools"]) == ["1"]


def test_pools_that_cannot_be_computed_are_an_error_only_on_request(samples, digits, tmp_path):
    older = replace(samples, queries=None)
    written = report(older, digits, tmp_path / "r.html", progress=False)
    assert written.notes[0].startswith("No pools are stored: samples must be with the queries of their run")
    assert payload_of(written.path)["pools"] == {}
    with pytest.raises(ValueError, match="samples must be with the queries of their run"):
        report(older, digits, tmp_path / "s.html", pools=[0], progress=False)
    assert not (tmp_path / "s.html").exists()


def noise(count, side):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def test_sheets_keep_within_their_room():
    images = noise(300, 12)
    windows = np.tile([3, 4, 5, 5], (300, 1))
    whole = pack_images(images, windows, 10**7)
    assert (whole.rects == [0, 0, 12, 12]).all()
    assert len(whole.uris) == 2
    for share in (0.9, 0.4, 0.12, 0.02):
        room = int(share * whole.size)
        sheets = pack_images(images, windows, room)
        assert 0.6 * room < sheets.size <= room or share == 0.02
        areas = sheets.rects[:, 2] * sheets.rects[:, 3]
        assert (np.diff(areas) <= 0).all()  # the first ones keep most
        assert set(areas.tolist()) <= {144, 25, 0}
        wire = {"source_shape": [12, 12, 3], "sheets": {**vars(sheets), "rects": packed(sheets.rects)}}
        found, _ = decoded(wire)
        for image, kept, (y, x, tall, wide) in zip(images, found, sheets.rects, strict=True):
            part = (slice(y, y + tall), slice(x, x + wide))
            np.testing.assert_array_equal(kept[part], image[part])
    assert pack_images(images, windows, 0).uris == []


def test_a_run_too_large_is_cut_down_with_a_note(tmp_path):
    corpus = npgen.Corpus.from_arrays(noise(1000, 16), name="noise")
    samples = npgen.generate(corpus, 2, "local", npgen.Config(window=3), progress=False)

    def write(name, megabytes):
        return report(samples, corpus, tmp_path / name, pools=[], megabytes=megabytes, progress=False)

    full = write("full.html", 10)
    assert full.notes == ("The corpus has no labels, so there is no class map.",)
    limit = full.size / 1e6 * 0.8
    less = write("less.html", limit)
    assert 0.8 * limit < less.size / 1e6 <= limit
    note = r"of \d+ of the \d+ source images, from which \d+\.\d% of all pixels come, only the surroundings"
    assert re.search(note, less.notes[-1])
    payload = payload_of(less.path)
    images, rects = decoded(payload)
    for s, i in enumerate(unpacked(payload["sources"]["id"])):
        y, x, tall, wide = rects[s]
        np.testing.assert_array_equal(
            images[s, y : y + tall, x : x + wide], corpus.images[i, y : y + tall, x : x + wide]
        )
        # The part that is there holds the windows of all pixels that came from it.
        for at, low, extent in ((samples.trace.y, y, tall), (samples.trace.x, x, wide)):
            used = at[samples.trace.image_id == i]
            assert low <= max(used.min() - 1, 0)
            assert low + extent >= min(used.max() + 2, 16)
    floor = (full.size - sum(map(len, payload_of(full.path)["sheets"]["uris"]))) / 1e6
    assert "only ids and coordinates are stored" in write("none.html", floor + 0.03).notes[-1]
    message = r"megabytes must be at least 0\.\d for 2 samples(, or count at most 1)?, got 0.06"
    with pytest.raises(ValueError, match=message):
        write("refused.html", 0.06)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 1.5}, TypeError, "count must be a whole number, got 1.5"),
        ({"pools": [5]}, ValueError, "each of pools must be the index of a sample shown, in 0…4, got 5"),
        ({"pools": [-1]}, ValueError, "each of pools must be the index of a sample shown, in 0…4, got -1"),
        ({"pools": ["0"]}, TypeError, "each of pools must be a whole number, got '0'"),
        ({"count": 2, "pools": [3]}, ValueError, "each of pools must be the index of a sample shown, in 0…1, got 3"),
        ({"megabytes": 0}, ValueError, "megabytes must be a number above 0, got 0"),
        ({"megabytes": float("inf")}, ValueError, "megabytes must be a number above 0, got inf"),
        ({"megabytes": "10"}, TypeError, "megabytes must be a number, got '10'"),
    ],
)
def test_arguments_out_of_range(samples, digits, tmp_path, given, error, message):
    with pytest.raises(error, match=re.escape(message)):
        report(samples, digits, tmp_path / "r.html", progress=False, **given)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused_and_an_older_file_stays(samples, digits, colours, tmp_path):
    path = tmp_path / "r.html"
    path.write_text("older")
    with pytest.raises(ValueError, match="corpus must be the one the samples were made from"):
        report(samples, colours, path, progress=False)
    images = samples.images.copy()
    images[3, 0, 0] ^= 1
    with pytest.raises(ValueError, match="samples must be what corpus and trace give back"):
        report(replace(samples, images=images), digits, path, progress=False)
    ids = samples.trace.image_id.copy()
    ids[1, 2, 3] = len(digits)
    with pytest.raises(ValueError, match="trace.image_id must be in 0…59"):
        report(replace(samples, trace=replace(samples.trace, image_id=ids)), digits, path, progress=False)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        report(samples[:0], digits, path, progress=False)
    with pytest.raises(ValueError, match="out must be a file, got"):
        report(samples, digits, tmp_path, pools=[], progress=False)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_run_gives_the_same_bytes(samples, digits, written, tmp_path):
    again = report(samples, digits, tmp_path / "r.html", pools=[2, 0, 0], progress=False)
    assert again.path.read_bytes() == written.path.read_bytes()


def test_without_jinja_the_extra_is_named(samples, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(
        ModuleNotFoundError, match=re.escape('report needs the extra `figures`: pip install "npgen[figures]"')
    ):
        report(samples, digits, tmp_path / "r.html", pools=[], progress=False)


@pytest.fixture
def stored(samples, digits, tmp_path):
    digits.save(tmp_path / "corpus")
    samples.save(tmp_path / "run")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_command_writes_into_the_run(stored):
    done = run(stored / "run", "--corpus", stored / "corpus", "--samples", 3, "--pools", "none", "--quiet")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "The first 3 of 5 samples are shown."
    assert done.stdout.splitlines()[1].startswith(str(stored / "run" / "report.html"))
    assert payload_of(stored / "run" / "report.html")["pools"] == {}


def test_the_command_complains_in_one_line(stored):
    bad = run(stored / "run", "--corpus", stored / "corpus", "--pools", "1;2")
    assert bad.exit_code == 2
    assert bad.stderr == "npgen: pools must be indices with commas between them, or none, got '1;2'\n"
    missing = run(stored / "nothing")
    assert missing.exit_code == 1
    assert len(missing.stderr.splitlines()) == 1


def test_no_torch_and_no_matplotlib_for_a_report(samples, digits, stored):
    code = f"""
import sys, npgen.cli
from npgen.reports.page import report
assert "jinja2" not in sys.modules
run, corpus = npgen.load_samples({str(stored / "run")!r}), npgen.load_corpus({str(stored / "corpus")!r})
npgen.embed(corpus, npgen.PixelEncoder(16, 16, 1), progress=False)
print(report(run, corpus, {str(stored / "r.html")!r}, pools=[0], progress=False).size)
print([name for name in ("torch", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_the_cuts_changed_is_in_the_report(digits, tmp_path):
    config = replace(CONFIG, seams=True)
    samples = npgen.generate(digits, 2, "full", config, encoder="pixels", progress=False)
    payload = payload_of(report(samples, digits, tmp_path / "r.html", pools=[1], progress=False).path)
    columns = {column["key"]: column["values"] for column in payload["columns"]}
    assert [columns["seams_before"], columns["seams_after"]] == samples.seam_energy.T.tolist()
    changed = npgen.runs.recut_pixels(samples)
    assert columns["recut"] == pytest.approx((100 * changed.mean((1, 2))).tolist())
    grown, ids = {name: unpacked(part) for name, part in payload["grown"].items()}, unpacked(payload["sources"]["id"])
    addresses = np.stack([ids[grown["source"]], grown["y"], grown["x"]], axis=-1)
    np.testing.assert_array_equal(addresses, samples.grown.reshape(-1, 3))
    values = digits.images[tuple(samples.grown.reshape(-1, 3).T)]
    np.testing.assert_array_equal(grown["image"], values.ravel())
