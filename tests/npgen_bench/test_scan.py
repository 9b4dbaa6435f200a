"""The scan: all contenders compute the same distances and pools, or are refused."""

import numpy as np
import pytest
import reference

import npgen
from npgen_bench import libraries, rivals
from npgen_bench import scan as scans
from npgen_bench.task import RUNS_PER_TURN


def has_faiss():
    try:
        libraries.load_faiss()
    except ModuleNotFoundError:
        return False
    return True


FORMS = [form for form in rivals.FORMS if form.library != "FAISS" or has_faiss()]


@pytest.fixture(scope="module")
def scan():
    corpus = scans.synthetic_corpus(count=310)
    scene = scans.find_scene(corpus, npgen.load_encoder("pixels", corpus), threads=1)
    return scans._Scan(scene)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 3])
def test_all_forms_compute_the_distances_of_the_definition(form, channels):
    random = np.random.default_rng(channels)
    images = random.integers(0, 256, (7, 9, 8, channels), dtype=np.uint8)
    canvas = random.integers(0, 256, (9, 8, channels), dtype=np.uint8)
    config = npgen.Config(window=5, locality=1)
    made = form()
    made.prepare(rivals.extend(images, rivals.margin(config)))
    for pixel in [(4, 4), (0, 0), (8, 3), (2, 7)]:
        known = random.random((9, 8)) < 0.7
        known[pixel] = False
        layout = rivals.lay_out_scan(known, pixel, channels, config)
        made.set_pixel(layout)
        found = made.distances(canvas.reshape(-1)[layout.context].astype(np.float32))
        rows = reference.distances(images, canvas, known, pixel, 5, config.gaussian_sigma, 1)
        expected = np.array([row[0] for row in rows]).reshape(-1, len(images))
        assert layout.sources.tolist() == [list(row[2:]) for row in rows[:: len(images)]]
        np.testing.assert_allclose(found, expected, atol=scans.TOLERANCE[form.exact])


def test_the_scene_has_the_size_that_the_table_states(scan):
    assert len(scan.layouts) == scans.PIXELS
    assert all(len(layout.sources) * 300 == 7500 and len(layout.context) == 120 for layout in scan.layouts)
    assert len(scan.scene.shortlist) == 300


@pytest.mark.parametrize("form", FORMS)
def test_rivals_compute_npgens_pool(scan, form):
    made = scan.prepared(form)
    assert len(scan.time_form(made, 1)) == RUNS_PER_TURN
    assert scan.time_cold(form) > 0


def test_npgen_is_timed_on_the_same_pools(scan):
    for prune in (True, False):
        assert len(scan.time_own(0, prune)) == RUNS_PER_TURN
    scan.sizes[0] += 1
    with pytest.raises(RuntimeError, match=r"npgen's timed pool must have \d+ members, got \d+"):
        scan.time_own(0, True)
    scan.sizes[0] -= 1


def test_a_rival_with_another_pool_is_refused(scan):
    class Wrong(rivals.FORMS[0]):
        def distances(self, context):
            return -super().distances(context)

    with pytest.raises(RuntimeError, match=r"the pool of NumPy \(windows\) is not npgen's"):
        scan.prepared(Wrong)


@pytest.mark.parametrize(
    ("near", "sources", "same"),
    [
        ([1, 0], [1, 0], True),
        ([0, 1], [0, 1], True),
        ([1], [1], False),  # image 0 is missing
        ([1, 0, 2], [1, 0, 0], False),  # image 2 is too far
        ([1, 0], [0, 0], False),  # not the best source of image 1
        ([1, 0, 0], [1, 0, 0], False),
        ([], [], False),
    ],
)
def test_which_pools_agree_with_distances(near, sources, same):
    distances = np.array([[10.4, 12.0, 11.4], [20.0, 10.0, 30.0]])
    assert scans.agrees(distances, np.array(near, int), np.array(sources, int), 0.01) is same


def test_a_pool_may_differ_where_rounding_decides():
    distances = np.array([[10.0, 11.001]])
    for near in ([0], [0, 1]):
        assert scans.agrees(distances, np.array(near), np.zeros(len(near), int), 0.01)
