"""Figures of traces: what they show is what the trace says, for every kind of run, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from typer.testing import CliRunner

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import npgen
from npgen import tracing
from npgen.cli import app
from npgen.runs import pictures as figures
from npgen.tracing import canvas, layouts
from npgen.tracing.canvas import draw_borders, draw_outline, plain, share


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def samples(digits):
    return npgen.generate(digits, 4, "local", npgen.Config(window=5), seed=3, progress=False)


@pytest.fixture(scope="module")
def rgb(colours):
    """A run of colour images with sweeps."""
    return npgen.generate(colours, 2, "local", npgen.Config(window=5, seed_size=4, sweeps=2), seed=1, progress=False)


@pytest.fixture(scope="module")
def bare(digits):
    """A corpus without labels, and its run."""
    corpus = npgen.Corpus.from_arrays(digits.images, name="bare")
    return corpus, npgen.generate(corpus, 2, "local", npgen.Config(window=5), progress=False)


def made_up(corpus, shape, config, n=1):
    """Samples of any size without the work: random sources around a seed patch."""
    random = np.random.default_rng(0)
    height, width = shape
    made = npgen.Samples.empty(
        (n, *shape, corpus.images.shape[3]),
        model="texture",
        config=config,
        seed=0,
        first=0,
        corpus=corpus,
        encoder_id=None,
    )
    trace = made.trace
    trace.image_id[:] = random.integers(0, len(corpus), trace.image_id.shape)
    trace.y[:] = random.integers(0, corpus.images.shape[1], trace.y.shape)
    trace.x[:] = random.integers(0, corpus.images.shape[2], trace.x.shape)
    trace.distance[:] = random.random(trace.distance.shape) * 100
    trace.pool_size[:] = random.integers(1, 50, trace.pool_size.shape)
    y, x, side, _ = config.seed_rect(height, width)
    trace.pool_size[:, y : y + side, x : x + side] = 0
    made.images[:] = corpus.images[trace.image_id, trace.y, trace.x]
    return made


def shown(axes):
    """The picture of an Axes, as it was given."""
    (image,) = axes.images
    return image.get_array()


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def drawn_all(samples, corpus, k=0):
    """Draw everything there is, and render it."""
    tracing.sample(samples, k)
    tracing.image_id_map(samples, k)
    tracing.image_id_entropy(samples, k)
    tracing.fill_order_map(samples, k)
    tracing.pool_size_map(samples, k)
    tracing.distance_map(samples, k)
    tracing.timeline(samples, corpus, k)
    tracing.timeline(samples, k=k)
    tracing.patch_mosaic(samples, corpus, k)
    tracing.samples_with_maps(samples, corpus, [k])
    tracing.sources_around(samples, corpus, k)
    tracing.timeline_with_maps(samples, corpus, k)
    if corpus.labels is not None:
        tracing.class_map(samples, corpus, k)
        tracing.class_entropy(samples, corpus, k)
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def test_every_kind_of_run_can_be_drawn(samples, digits, rgb, colours, bare):
    drawn_all(samples, digits, 3)
    drawn_all(rgb, colours, 1)
    drawn_all(bare[1], bare[0])


@pytest.mark.parametrize("shape", [(8, 8), (12, 90), (256, 256)])
def test_samples_of_any_size_can_be_drawn(shape, colours):
    drawn_all(made_up(colours, shape, npgen.Config(window=5, seed_size=4, size=shape)), colours)


def test_models_that_compare_nothing_can_be_drawn(colours):
    config = npgen.Config(window=5, seed_size=4, shortlist=5)
    drawn_all(npgen.generate(colours, 1, "semantic", config, encoder="pixels", progress=False), colours)


def test_a_frame_that_is_all_seed_can_be_drawn(colours):
    seeded = made_up(colours, (12, 12), npgen.Config(window=5, seed_size=12))
    seeded.trace.image_id[:] = 3
    drawn_all(seeded, colours)
    assert tracing.pool_size_map(seeded).get_title("left") == "pool size"
    assert tracing.distance_map(seeded).get_title("left") == "distance"


def test_maps_show_the_trace(samples, digits):
    ids, labels = samples.trace.image_id[2], digits.labels[samples.trace.image_id[2]]
    np.testing.assert_array_equal(shown(tracing.image_id_map(samples, 2)), figures.coloured_by_image(samples)[2])
    axes = tracing.class_map(samples, digits, 2)
    np.testing.assert_array_equal(shown(axes), figures.coloured_by_class(samples, digits)[2])
    present, counts = np.unique(labels, return_counts=True)
    assert texts(axes) == [f"{label} · {share(count, ids)}" for label, count in zip(present, counts, strict=True)]
    for handle, label in zip(axes.get_legend().legend_handles, present, strict=True):
        assert np.allclose(handle.get_facecolor()[:3], figures.class_colours(3)[label] / 255)
    assert tracing.class_map(samples, digits, 2, legend=False).get_legend() is None
    np.testing.assert_array_equal(
        shown(tracing.sample(samples, 2)), np.broadcast_to(samples.images[2], (*ids.shape, 3))
    )


def test_measured_maps_show_the_trace_but_for_the_seed(samples):
    seed = samples.trace.pool_size[1] == 0
    for axes, values in [
        (tracing.pool_size_map(samples, 1), samples.trace.pool_size[1]),
        (tracing.distance_map(samples, 1), np.sqrt(samples.trace.distance[1].astype(float))),
        (tracing.fill_order_map(samples, 1), canvas.fill_steps(samples)),
    ]:
        np.testing.assert_array_equal(shown(axes).mask, seed)
        np.testing.assert_allclose(shown(axes).compressed(), values[~seed])
    assert "median" in tracing.pool_size_map(samples, 1).get_title("left")


def test_entropies_lie_at_the_centres_of_their_windows(samples, digits):
    for axes, labels in [
        (tracing.image_id_entropy(samples, 1), samples.trace.image_id[1]),
        (tracing.class_entropy(samples, digits, 1), digits.labels[samples.trace.image_id[1]]),
    ]:
        entropies = npgen.entropy_map(labels)
        np.testing.assert_allclose(shown(axes), entropies)
        assert axes.images[0].get_extent() == [2.5, 12.5, 12.5, 2.5]  # centres of 7×7 windows: pixels 3 to 12
        assert axes.get_xlim() == (-0.5, 15.5) and axes.get_ylim() == (15.5, -0.5)
        assert axes.get_title("left").endswith(f"mean {entropies.mean():.2f} nats")


def test_steps_are_those_of_the_last_visit(samples, rgb):
    steps = tracing.fill_steps(samples)
    order = npgen.fill_order(16, 16, samples.config.seed_rect(16, 16), 5).pixels
    assert [tuple(pixel) for pixel in np.argwhere(steps == 0)] == [tuple(order[0])]
    assert steps[tuple(order[-1])] == len(order) - 1 and (steps == -1).sum() == 64
    swept = tracing.fill_steps(rgb)
    first = npgen.fill_order(12, 12, rgb.config.seed_rect(12, 12), 5).pixels
    assert sorted(swept[swept >= 0]) == list(range(len(first)))
    assert not np.array_equal(swept[first[:, 0], first[:, 1]], np.arange(len(first)))
    assert tracing.fill_order_map(rgb).get_title("left") == "order of sweep 2"


def test_the_timeline_numbers_sources_by_first_use(samples, digits):
    axes = tracing.timeline(samples, digits, 1)
    (marks,) = (part for part in axes.collections if hasattr(part, "get_sizes") and len(part.get_sizes()))
    steps, numbers = np.asarray(marks.get_offsets()).T.astype(int)
    assert steps.tolist() == list(range(16 * 16 - 64))
    order = npgen.fill_order(16, 16, samples.config.seed_rect(16, 16), 5).pixels
    ids = samples.trace.image_id[1][order[:, 0], order[:, 1]]
    seen: dict[int, int] = {}
    assert numbers.tolist() == [seen.setdefault(int(i), len(seen)) for i in ids]
    colours = np.round(marks.get_facecolors()[:, :3] * 255).astype(int)
    np.testing.assert_array_equal(colours, figures.class_colours(3)[digits.labels[ids]])
    by_image = tracing.timeline(samples, k=1)
    (marks,) = (part for part in by_image.collections if hasattr(part, "get_sizes") and len(part.get_sizes()))
    np.testing.assert_array_equal(np.round(marks.get_facecolors()[:, :3] * 255), figures.image_colours(ids))
    assert by_image.get_legend() is None


def test_a_mosaic_of_single_pixels_is_the_sample(samples, digits, rgb, colours):
    for made, corpus in ((samples, digits), (rgb, colours)):
        picture = shown(tracing.patch_mosaic(made, corpus, 1, side=1))
        np.testing.assert_array_equal(picture, np.broadcast_to(made.images[1], picture.shape))


def test_tiles_of_a_mosaic_are_patches_of_their_sources(samples, digits):
    axes = tracing.patch_mosaic(samples, digits, 0, side=5)
    picture = shown(axes)[..., 0]
    trace = samples.trace
    for top in range(0, 16, 5):
        for left in range(0, 16, 5):
            middle = 0, min(top + 2, 15), min(left + 2, 15)
            for y in range(top, min(top + 5, 16)):
                for x in range(left, min(left + 5, 16)):
                    ys = np.clip(trace.y[middle] + y - middle[1], 0, 15)
                    xs = np.clip(trace.x[middle] + x - middle[2], 0, 15)
                    assert picture[y, x] == digits.images[trace.image_id[middle], ys, xs, 0]
    assert len(axes.collections[0].get_paths()) == 16


def test_a_sample_stands_amid_its_most_used_sources(samples, digits):
    drawn = tracing.sources_around(samples, digits, 1, top=5)
    ids = samples.trace.image_id[1]
    sources, counts = np.unique(ids, return_counts=True)
    most = sources[np.lexsort((sources, -counts))][:5]
    assert list(drawn) == ["sample", *(f"source {rank}" for rank in range(1, len(most) + 1)), "class", "image_id"]
    picture = shown(drawn["image_id"])
    for rank, source in enumerate(most):
        assert np.allclose(picture[ids == source], to_rgb(layouts.SOURCE_COLOURS[rank]))
        axes = drawn[f"source {rank + 1}"]
        used = ids == source
        title = f"{share(used.sum(), ids)} · {digits.labels[source]}\n#{source}"
        assert axes.get_title("left") == title + (" (seed)" if source == samples.anchor[1] else "")
        marked = np.zeros((16, 16), bool)
        marked[samples.trace.y[1][used], samples.trace.x[1][used]] = True
        original = np.broadcast_to(digits.images[source], (16, 16, 3))
        np.testing.assert_array_equal(shown(axes)[marked], original[marked])
        assert (shown(axes)[~marked & (original[..., 0] < 200)] > 130).all()
    assert np.allclose(picture[~np.isin(ids, most)], to_rgb(layouts.OTHERS))
    assert "(seed)" in "".join(axes.get_title("left") for axes in tracing.sources_around(samples, digits, 1).values())


def test_layouts_leave_classes_out_where_there_are_none(bare):
    corpus, samples = bare
    assert "class" not in tracing.sources_around(samples, corpus)
    assert list(tracing.timeline_with_maps(samples, corpus)) == ["sample", "image_id", "timeline"]
    assert list(tracing.samples_with_maps(samples, corpus, [1])) == [(1, "sample"), (1, "image_id")]


def test_rows_of_samples_with_their_maps(samples, digits):
    drawn = tracing.samples_with_maps(samples, digits, [3, 0, 1], across=2)
    assert list(drawn) == [(k, name) for k in (3, 0, 1) for name in ("sample", "class", "image_id")]
    for k in (3, 0, 1):
        np.testing.assert_array_equal(shown(drawn[k, "class"]), figures.coloured_by_class(samples, digits)[k])
        assert drawn[k, "sample"].get_ylabel() == str(k)
    drawn[3, "sample"].figure.draw_without_rendering()
    boxes = {key: axes.get_position() for key, axes in drawn.items()}
    assert boxes[0, "sample"].x0 > boxes[3, "image_id"].x1 and boxes[1, "sample"].y1 < boxes[3, "sample"].y0


def test_everything_draws_where_it_is_told(samples, digits):
    own = plt.figure().subplots(1, 2)
    assert tracing.image_id_map(samples, axes=own[0]) is own[0]
    assert tracing.timeline(samples, digits, axes=own[1]) is own[1]
    half = plt.figure(layout="constrained").subfigures(1, 2)[0]
    assert tracing.timeline_with_maps(samples, digits, figure=half)["sample"].figure is half
    assert tracing.samples_with_maps(samples, digits, [0], figure=half)[0, "class"].figure is half
    tracing.sources_around(samples, digits, figure=half)
    half.figure.canvas.draw()
    before = plt.get_fignums()
    layouts.timeline_with_maps(samples, digits, figure=canvas.plain_figure)
    assert plt.get_fignums() == before


def test_borders_and_outlines_run_along_pixels():
    axes = plt.figure().add_subplot()
    draw_borders(axes, np.array([[1, 1, 2], [1, 1, 2]]))
    (lines,) = axes.collections
    assert [line.tolist() for line in lines.get_segments()] == [[[1.5, -0.5], [1.5, 1.5]]]
    draw_outline(axes, np.array([[True, False], [False, False]]))
    outline = {tuple(map(tuple, line.tolist())) for line in axes.collections[1].get_segments()}
    a, b, c, d = (-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)
    assert outline == {(a, d), (b, c), (a, b), (d, c)}
    draw_borders(axes, np.arange(65 * 65).reshape(65, 65))
    assert len(axes.collections) == 2  # none on large maps


def test_names_from_data_are_plain_text():
    assert plain("a $x^2$ b") == r"a \$x^2\$ b"
    assert plain("_hidden") == " _hidden"
    assert plain("two\nlines") == "two lines"
    assert plain("a very long name of a class") == "a very long name …"
    assert share(1, np.zeros(1000)) == "0.1 %" and share(995, np.zeros(1000)) == "100 %"


def test_many_classes_with_odd_names_have_a_legend(digits):
    names = [f"_class ${k}$ <&>" for k in range(20)]
    corpus = npgen.Corpus.from_arrays(digits.images, np.arange(60) % 20, names)
    made = made_up(corpus, (16, 16), npgen.Config(window=5))
    axes = tracing.class_map(made, corpus)
    axes.figure.canvas.draw()
    assert len(texts(axes)) == canvas.NAMED + 1 and texts(axes)[-1].startswith("8 more · ")
    tracing.sources_around(made, corpus)["sample"].figure.canvas.draw()


def test_refusals(samples, digits, bare, colours):
    for k in (-1, 4):
        with pytest.raises(ValueError, match=f"sample must be in 0…3, got {k}"):
            tracing.sample(samples, k)
    for k in (0.5, True, "1"):
        with pytest.raises(TypeError, match="sample must be a whole number, got"):
            tracing.sources_around(samples, digits, k)
    for draw in (tracing.class_map, tracing.patch_mosaic, tracing.timeline, tracing.sources_around):
        with pytest.raises(ValueError, match="corpus must be the one the samples were made from"):
            draw(samples, colours)
    for draw in (tracing.class_map, tracing.class_entropy):
        with pytest.raises(ValueError, match="corpus must be one with labels"):
            draw(bare[1], bare[0])
    with pytest.raises(ValueError, match="corpus must be one with labels"):
        tracing.samples_with_maps(bare[1], bare[0], [0], maps=["class"])
    for side in (0, 17):
        with pytest.raises(ValueError, match=f"side must be in 1…16, got {side}"):
            tracing.patch_mosaic(samples, digits, side=side)
    for top in (0, 9):
        with pytest.raises(ValueError, match=f"top must be in 1…8, got {top}"):
            tracing.sources_around(samples, digits, top=top)
    for indices in ([], [1, 1]):
        with pytest.raises(ValueError, match="indices must be 1 to 100, none twice, got"):
            tracing.samples_with_maps(samples, digits, indices)
    with pytest.raises(ValueError, match="across must be at least 1, got 0"):
        tracing.samples_with_maps(samples, digits, [0], across=0)
    with pytest.raises(ValueError, match="maps must be of 'class' and 'image_id', or None, got"):
        tracing.samples_with_maps(samples, digits, [0], maps=["classes"])


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def stored(samples, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    digits.save(folder / "corpus")
    samples.save(folder / "run")
    return folder


LAYOUTS = ["samples-with-maps", "class-maps", "fill-order"]
OF_A_SAMPLE = [
    "sources", "timeline", "image-id-map", "image-id-entropy", "class-map", "class-entropy", "pool-size", "distance",
    "mosaic",
]  # fmt: skip


def test_the_command_writes_all_figures(stored, samples):
    result = run("figures", stored / "run", "--corpus", stored / "corpus", "--sample", 2)
    assert result.exit_code == 0, result.output
    names = [*LAYOUTS, *(f"sample-2-{name}" for name in OF_A_SAMPLE)]
    paths = [stored / "run" / "figures" / f"{name}.png" for name in names]
    assert result.stdout.split() == list(map(str, paths))
    assert sorted((stored / "run" / "figures").iterdir()) == sorted(paths)
    for name, path in zip(names, paths, strict=True):
        with Image.open(path) as picture:
            assert json.loads(picture.text["npgen"]) == samples.provenance()
            assert picture.text["Title"] == name and "Software" not in picture.text
            assert picture.width == 1005  # 3.35 inches at 300 dots
    assert npgen.load_samples(stored / "run").images.tolist() == samples.images.tolist()  # the run is as it was


def test_vector_figures_carry_their_provenance_and_are_reproducible(stored, samples, digits, tmp_path):
    paths = tracing.save_figures(samples, digits, tmp_path / "a", [0], "svg")
    again = tracing.save_figures(samples, digits, tmp_path / "b", [0], "svg")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    description = ElementTree.parse(paths[-1]).find(".//{http://purl.org/dc/elements/1.1/}description")
    assert json.loads(description.text) == samples.provenance()
    pdf = run(
        "figures", stored / "run", "--corpus", stored / "corpus", "--sample", 0, "--out", tmp_path, "--format", "pdf"
    )
    assert pdf.exit_code == 0, pdf.output
    facts = json.dumps(samples.provenance(), sort_keys=True).replace("(", r"\(").replace(")", r"\)")
    data = (tmp_path / "sample-0-sources.pdf").read_bytes()
    assert f"/Keywords ({facts})".encode() in data and b"CreationDate" not in data


def test_the_command_says_what_it_leaves_out(bare, tmp_path):
    bare[0].save(tmp_path / "corpus")
    bare[1].save(tmp_path / "run")
    result = run("figures", tmp_path / "run", "--corpus", tmp_path / "corpus", "--out", tmp_path / "deep" / "out")
    assert result.exit_code == 0, result.output
    *paths, last = result.stdout.splitlines()
    assert last == "left out what needs classes: bare has no labels"
    per_sample = [name for name in OF_A_SAMPLE if not name.startswith("class")]
    assert len(paths) == 2 + 2 * len(per_sample)  # both samples, as none is chosen
    assert not any("class" in path for path in paths)


def test_what_the_command_refuses(stored, samples, digits, colours, tmp_path):
    for arguments, message in [
        ((stored / "run", "--sample", 4), "sample must be in 0…3, got 4"),
        ((stored / "run", "--sample", 1, "--sample", 1), "indices must be 1 to 100, none twice, got [1, 1]"),
        ((tmp_path / "none",), "No such file"),
    ]:
        result = run("figures", *arguments, "--corpus", stored / "corpus", "--out", tmp_path / "out")
        assert result.exit_code == 1 and message in result.stderr, result.output
    colours.save(tmp_path / "other")
    result = run("figures", stored / "run", "--corpus", tmp_path / "other", "--out", tmp_path / "out")
    assert result.exit_code == 1 and "corpus must be the one the samples were made from" in result.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="format must be 'png', 'svg' or 'pdf', got 'gif'"):
        tracing.save_figures(samples, digits, tmp_path / "out", format="gif")
    (tmp_path / "file").write_text("")
    result = run("figures", stored / "run", "--corpus", stored / "corpus", "--out", tmp_path / "file")
    assert result.exit_code == 1 and "File exists" in result.stderr


def test_an_interruption_leaves_whole_files(samples, digits, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tracing.maps, "fill_order_map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracing.save_figures(samples, digits, tmp_path, [0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class-maps.png", "samples-with-maps.png"]


def test_without_matplotlib_the_extra_is_named(stored, monkeypatch):
    monkeypatch.setattr("npgen.cli.figures.find_spec", lambda name: None)
    result = run("figures", stored / "run", "--corpus", stored / "corpus")
    assert result.exit_code == 1 and 'pip install "npgen[figures]"' in result.stderr


def test_figures_need_neither_torch_nor_pyplot(stored, tmp_path):
    code = (
        "import sys; from npgen.cli import app; assert 'matplotlib' not in sys.modules\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    arguments = ["figures", stored / "run", "--corpus", stored / "corpus", "--sample", "0", "--out", tmp_path]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
