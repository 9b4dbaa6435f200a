"""Pictures: right pixels at the right place, and their provenance inside."""

import json
import time

import numpy as np
import pytest
from anyascii import anyascii
from PIL import Image, ImageFont

import npgen
from npgen.output import class_colours, fitting
from npgen.runs import pictures as figures


@pytest.fixture
def samples(digits):
    return npgen.generate(digits, 5, "local", npgen.Config(window=5), progress=False)


def test_a_grid_holds_every_image(samples):
    sheet = np.asarray(figures.grid(samples.images, columns=3, scale=2))
    pitch = 2 * 16 + figures.GAP
    assert sheet.shape == (2 * pitch + figures.GAP, 3 * pitch + figures.GAP, 3)
    for k, image in enumerate(samples.images):
        y, x = figures.GAP + k // 3 * pitch, figures.GAP + k % 3 * pitch
        np.testing.assert_array_equal(sheet[y : y + 32 : 2, x + 1 : x + 32 : 2], image.repeat(3, 2))


def test_maps_tell_sources_apart(samples, digits):
    ids = samples.trace.image_id
    for colours, labels in [
        (figures.coloured_by_image(samples), ids),
        (figures.coloured_by_class(samples, digits), digits.labels[ids]),
    ]:
        flat = colours.reshape(-1, 3)
        pairs = {(label, tuple(colour)) for label, colour in zip(labels.ravel(), flat.tolist(), strict=True)}
        assert len(pairs) == len(set(labels.ravel().tolist()))
    classes = np.unique(class_colours(25), axis=0)
    assert len(classes) == 25


def test_a_class_map_needs_labels_and_its_corpus(samples, digits, colours):
    with pytest.raises(ValueError, match="corpus must be the one the samples were made from"):
        figures.coloured_by_class(samples, colours)
    bare = npgen.Corpus.from_arrays(digits.images)
    plain = npgen.generate(bare, 1, "local", npgen.Config(window=5), progress=False)
    with pytest.raises(ValueError, match="corpus must be one with labels"):
        figures.coloured_by_class(plain, bare)
    with pytest.raises(ValueError, match="corpus must be one with labels"):
        figures.legend(bare, 100, np.zeros(1, np.int64))


def test_pictures_carry_their_configuration(samples, digits, tmp_path):
    paths = figures.save_pictures(samples, digits, tmp_path)
    assert [path.name for path in paths] == [
        "samples.png",
        "image-id-map.png",
        "class-map.png",
        "overview.png",
    ]
    for path in paths:
        with Image.open(path) as picture:
            facts = json.loads(picture.text["npgen"])
            assert picture.mode == "RGB"
        assert facts == samples.provenance()
        assert npgen.Config.from_json(facts["config"]) == samples.config


def test_colour_images_and_unlabelled_corpora_have_pictures(colours, tmp_path):
    bare = npgen.Corpus.from_arrays(colours.images)
    samples = npgen.generate(bare, 2, "local", npgen.Config(window=5, seed_size=4), progress=False)
    paths = figures.save_pictures(samples, bare, tmp_path)
    assert [path.name for path in paths] == ["samples.png", "image-id-map.png", "overview.png"]


def corpus_of(labels, classes=None, side=16):
    labels = np.asarray(labels)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), side, side), np.uint8)
    return npgen.Corpus.from_arrays(images, labels, classes)


@pytest.mark.parametrize(
    "labels",
    [[3, 999_999] * 20, list(range(1000)), list(range(0, 4000, 4)), [999_999]],
    ids=["gap", "many", "many with gaps", "one"],
)
def test_legends_are_of_what_occurs_and_of_bounded_size(labels):
    corpus = corpus_of(labels)
    samples = npgen.generate(
        corpus, 4, "local", npgen.Config(window=5, exclude_seed_image=len(labels) > 1), progress=False
    )
    start = time.perf_counter()
    picture = figures.overview(samples, corpus)
    assert time.perf_counter() - start < 5
    assert picture.height < 400
    ids = samples.trace.image_id
    maps, shown = figures.coloured_by_class(samples, corpus), corpus.labels[ids]
    pairs = {(int(label), tuple(colour)) for label, colour in zip(shown.ravel(), maps.reshape(-1, 3), strict=True)}
    assert len(pairs) == len(np.unique(shown))


def test_a_legend_of_many_classes_names_the_most_frequent(monkeypatch):
    corpus = corpus_of(range(100), [f"class {k}" for k in range(100)])
    written = []
    monkeypatch.setattr(figures, "fitting", lambda name, font, width: written.append(name) or name)
    figures.legend(corpus, 300, np.repeat(np.arange(60), np.arange(60)))
    assert written == [*(f"class {k}" for k in range(36, 60)), "35 more"]
    written.clear()
    figures.legend(corpus_of(np.arange(40) % 20), 300, np.zeros(4, np.int64))
    assert written == [str(k) for k in range(20)]  # few: all of them, as before


@pytest.mark.parametrize("name", ["a very long name of a class that does not fit " * 4, "猫" * 90])
def test_names_fit_the_picture(name):
    picture = np.asarray(figures.legend(corpus_of([0, 1], [name, "b"]), 200, np.zeros(1, np.int64)))
    assert picture.shape[1] == 200
    assert (picture[:, -2:] == 255).all()


def test_names_in_all_scripts_are_readable():
    for name, shown in {
        "猫": "Mao", "собака": "cобака", "ねこ": "neko", "Käfer": "Käfer", "a\nb\t": "a b", "\u202eevil": "?evil",
        "Ka\u0308fer": "Käfer", "\x00": "?",
    }.items():  # fmt: skip
        text = fitting(name, ImageFont.load_default(size=12), 500)
        assert text in (shown, anyascii(name)), name
