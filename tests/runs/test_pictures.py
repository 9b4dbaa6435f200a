"""Pictures: right pixels at the right place, and their provenance inside."""

import json

import numpy as np
import pytest
from PIL import Image

import npgen
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
    classes = np.unique(figures.class_colours(25), axis=0)
    assert len(classes) == 25


def test_a_class_map_needs_labels_and_its_corpus(samples, digits, colours):
    with pytest.raises(ValueError, match="corpus must be the one the samples were made from"):
        figures.coloured_by_class(samples, colours)
    bare = npgen.Corpus.from_arrays(digits.images)
    plain = npgen.generate(bare, 1, "local", npgen.Config(window=5), progress=False)
    with pytest.raises(ValueError, match="corpus must be one with labels"):
        figures.coloured_by_class(plain, bare)
    with pytest.raises(ValueError, match="corpus must be one with labels"):
        figures.legend(bare, 100)


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
