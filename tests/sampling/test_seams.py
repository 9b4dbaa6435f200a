"""Borders between sources cut anew, and the minimum cuts that they are made of."""

import dataclasses

import numpy as np
import pytest

import npgen
import npgen._core as core
from npgen.runs import before_seams, recut_pixels

CONFIG = npgen.Config(window=5, shortlist=8, seed_size=4, seams=True)


def run(corpus, n=6, model="full", config=CONFIG, **options):
    return npgen.generate(corpus, n, model, config, 3, **({"encoder": "pixels", "progress": False} | options))


def energy_of(corpus, ids, y, x):
    """The energy of the seams of one canvas, by its definition, in grey levels."""
    height, width = ids.shape
    rows, columns = np.indices(ids.shape)
    sizes = np.tile(corpus.images.shape[1:3], (len(corpus), 1)) if corpus.sizes is None else corpus.sizes

    def value(p, q):
        """What the source of p would copy to q."""
        tall, wide = sizes[ids[p]]
        at = np.clip(q[0] + y[p] - rows[p], 0, tall - 1), np.clip(q[1] + x[p] - columns[p], 0, wide - 1)
        return corpus.images[ids[p]][at].astype(np.float64)

    total = 0.0
    for p in np.ndindex(height, width):
        for q in ((p[0] + 1, p[1]), (p[0], p[1] + 1)):
            if q[0] < height and q[1] < width:
                total += np.linalg.norm(value(p, p) - value(q, p)) + np.linalg.norm(value(p, q) - value(q, q))
    return total


@pytest.mark.parametrize("model", ["full", "conditional", "local", "texture", "class", "semantic"])
@pytest.mark.parametrize("corpus", ["digits", "colours"])
def test_energies_are_those_of_the_definition_and_never_rise(corpus, model, request):
    source = request.getfixturevalue(corpus)
    samples = run(source, 3, model)
    assert (samples.replay(source) == samples.images).all()
    assert (samples.seam_energy[:, 1] <= samples.seam_energy[:, 0]).all()
    for k, energies in enumerate(samples.seam_energy):
        traces = samples.grown[k].transpose(2, 0, 1), [part[k] for part in samples.trace.arrays()[:3]]
        for found, trace in zip(energies, traces, strict=True):
            # Each of two differences of at most 480 pairs is rounded up to a sixteenth of a grey level.
            assert 0 <= found - energy_of(source, *trace) <= 960 / 16
    changed = recut_pixels(samples)
    assert changed.any() == (samples.seam_energy[:, 1] < samples.seam_energy[:, 0]).any()


def test_canvases_are_those_of_a_run_without_before_the_cuts(digits):
    samples = run(digits)
    plain = run(digits, config=dataclasses.replace(CONFIG, seams=False))
    assert plain.grown is None and plain.seam_energy is None and not recut_pixels(plain).any()
    grown = before_seams(samples, digits)
    for ours, theirs in zip(grown.arrays(), plain.arrays(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert grown.config == plain.config and before_seams(plain, digits) is plain
    changed = recut_pixels(samples)
    assert 0 < changed.mean() < 0.5
    np.testing.assert_array_equal(samples.trace.pool_size, plain.trace.pool_size)
    np.testing.assert_array_equal(samples.trace.distance, plain.trace.distance)


@pytest.mark.parametrize("share", [0.2, 0.33, None])
def test_seed_interiors_and_shares_stay(colours, share):
    config = dataclasses.replace(CONFIG, max_share=share, shortlist=12)
    samples, changed = run(colours, 8, config=config), None
    changed = recut_pixels(samples)
    assert not changed[samples.trace.pool_size == 0].any()
    height, width = changed.shape[1:]
    rows, columns = np.indices((height, width))
    for k in range(len(samples)):
        ids, y, x = samples.grown[k].transpose(2, 0, 1)
        labels = np.stack([ids, y - rows, x - columns], axis=-1)
        used, counts = np.unique(labels.reshape(-1, 3), axis=0, return_counts=True)
        for at in np.argwhere(changed[k]):
            near = labels[max(0, at[0] - 2) : at[0] + 3, max(0, at[1] - 2) : at[1] + 3]
            assert (near != labels[tuple(at)]).any()
            # What a pixel takes is a label that had at least 10 pixels, and not the barred image.
            image, source_y, source_x = (int(part[k, *at]) for part in samples.trace.arrays()[:3])
            taken = np.array([image, source_y - at[0], source_x - at[1]])
            assert counts[(used == taken).all(axis=1)] >= 10
            assert image != samples.anchor[k]
        most = config.frame_quota((height, width))
        before, after = (np.bincount(part.reshape(-1)) for part in (ids, samples.trace.image_id[k]))
        if most is not None:
            assert after.max() <= max(most, before.max())


def test_without_a_cap_an_image_may_get_more(colours):
    capped, free = (run(colours, 8, config=dataclasses.replace(CONFIG, max_share=share)) for share in (0.33, None))
    for samples, most in ((capped, 0.33), (free, 1.0)):
        shares = [np.bincount(ids.reshape(-1)).max() / ids.size for ids in samples.trace.image_id]
        assert max(shares) <= most


@pytest.mark.parametrize("changes", [{}, {"select": 2}, {"sweeps": 1}, {"max_share": 0.15}], ids=str)
@pytest.mark.parametrize("model", ["full", "conditional"])
def test_batches_threads_and_parts_make_the_same(colours, model, changes, tmp_path):
    config = dataclasses.replace(CONFIG, **changes)
    samples = run(colours, model=model, config=config, out=tmp_path / "run")
    for options in [{"batch_size": 1}, {"batch_size": 4, "threads": 1}, {"memory": 10**9}]:
        for ours, theirs in zip(
            run(colours, model=model, config=config, **options).arrays(), samples.arrays(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    part = run(colours, 2, model, config, first=3)
    for ours, theirs in zip(part.arrays(), samples[3:5].arrays(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert npgen.verify_run(tmp_path / "run", colours).ok


def test_a_corpus_read_from_its_file_gives_the_same(colours, tmp_path):
    stored = colours.save(tmp_path / "corpus")
    arrays = run(npgen.load_corpus(tmp_path / "corpus"), memory=10**9).arrays()
    for ours, theirs in zip(run(stored).arrays(), arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def textures():
    """Images of several sizes: smooth, so that sources are large."""
    random = np.random.default_rng(0)
    sizes = [(20, 16), (14, 22), (18, 18)]
    return npgen.Corpus.from_arrays(
        [np.cumsum(random.integers(0, 9, (*size, 1)), axis=1).astype(np.uint8) for size in sizes],
        keep_sizes=True,
        name="textures",
    )


def test_images_of_several_sizes():
    corpus = textures()
    config = npgen.Config(window=5, seed_size=4, seams=True, size=(13, 18), max_share=None)
    samples = run(corpus, 3, "texture", config)
    assert (samples.replay(corpus) == samples.images).all()
    for k, energies in enumerate(samples.seam_energy):
        found = energy_of(corpus, *(part[k] for part in samples.trace.arrays()[:3]))
        assert 0 <= energies[1] - found <= 960 / 16
    alone = run(corpus, 1, "texture", config, first=2)
    np.testing.assert_array_equal(alone.images, samples.images[2:])


def test_explanations_say_what_the_cuts_changed(colours):
    samples = run(colours, 2)
    explainer = npgen.Explainer(samples, colours)
    changed = recut_pixels(samples)
    kept = (samples.trace.pool_size > 0) & ~changed
    for k, y, x in [*np.argwhere(changed)[:12], *np.argwhere(kept)[:4]]:
        found = explainer.explain(int(k), (int(y), int(x)))
        drawn = [int(part[found.drawn]) for part in (found.pool.image_id, found.pool.y, found.pool.x)]
        assert drawn == samples.grown[k, y, x].tolist()
        assert len(found.pool) == samples.trace.pool_size[k, y, x]
        after = tuple(int(part[k, y, x]) for part in samples.trace.arrays()[:3])
        assert found.recut == (after if changed[k, y, x] else None)


def test_samples_have_what_their_settings_say(digits):
    samples = run(digits, 1)
    with pytest.raises(
        ValueError, match="samples must have grown and seam_energy where config.seams is set, else neither"
    ):
        dataclasses.replace(samples, grown=None)
    with pytest.raises(ValueError, match="grown must be of pixels inside their images"):
        before_seams(dataclasses.replace(samples, grown=samples.grown + 1000), digits)


def test_settings_are_checked(digits):
    with pytest.raises(TypeError, match="seams must be of type bool, got int"):
        npgen.Config(seams=1)
    with pytest.raises(ValueError, match="seams must be False with tokens, got True"):
        npgen.Config(seams=True).check_ignored_settings(tokens=True)


def test_the_maximum_flow_is_scipys():
    sparse = pytest.importorskip("scipy.sparse", reason="extra `eval` is not installed")
    from scipy.sparse.csgraph import maximum_flow

    random = np.random.default_rng(0)
    for _ in range(500):
        height, width = random.integers(1, 9, 2)
        most = random.choice([2, 50, 10_000])
        arcs = random.integers(0, most, (height, width, 4), dtype=np.int32)
        terminals = random.integers(0, 2 * most, (height, width, 2), dtype=np.int32)
        terminals[random.random((height, width)) < 0.5] = 0
        flow, takes = core.max_flow(arcs, terminals)
        source, sink = height * width, height * width + 1
        room = np.zeros((sink + 1, sink + 1), np.int32)
        for y, x in np.ndindex(height, width):
            for side, (dy, dx) in enumerate([(0, 1), (1, 0), (0, -1), (-1, 0)]):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    room[y * width + x, (y + dy) * width + x + dx] = arcs[y, x, side]
        room[source, :source], room[:source, sink] = terminals.reshape(-1, 2).T
        assert flow == maximum_flow(sparse.csr_array(room), source, sink).flow_value
        # The cut has that capacity.
        on_sink_side = np.append(takes.ravel(), [False, True])
        assert room[np.ix_(~on_sink_side, on_sink_side)].sum() == flow


def test_grids_are_checked():
    arcs, terminals = np.zeros((2, 1, 4), np.int32), np.zeros((2, 1, 2), np.int32)
    assert core.max_flow(arcs, terminals)[0] == 0
    with pytest.raises(ValueError, match=r"capacities must be in 0\.\.=16777216, got -1"):
        core.max_flow(arcs, terminals - 1)
    with pytest.raises(ValueError, match=r"terminals must be of shape \[2, 1, 2\], got \[2, 1, 4\]"):
        core.max_flow(arcs, arcs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": 9}, r"trace.image_id must be image ids in 0\.\.3, got 9"),
        ({"y": 6}, r"pixel must be inside the 6×6 frame, got \(6, 0\)"),
        ({"barred": 3}, r"barred must be image ids in 0\.\.3, got 3"),
        ({"seed": (3, 4)}, r"known must be of shape \[4, 4\], got \[3, 4\]"),
        ({"channels": 3}, r"canvases must be of shape \[1, 4, 4, 1\], got \[1, 4, 4, 3\]"),
    ],
)
def test_canvases_to_cut_are_checked(changes, message):
    values = {"ids": 0, "y": 0, "barred": -1, "seed": (4, 4), "channels": 1} | changes
    sources = tuple(np.full((1, 4, 4), value, np.int32) for value in (values["ids"], values["y"], 0))
    with pytest.raises(ValueError, match=message):
        core.cut_seams(
            np.zeros((3, 6, 6, 1), np.uint8),
            np.zeros((1, 4, 4, values["channels"]), np.uint8),
            sources,
            seed=np.zeros(values["seed"], bool),
            barred=np.array([values["barred"]], np.int32),
            most=None,
            threads=1,
        )
