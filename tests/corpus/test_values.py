"""The range of values: one rule for arrays, files, tensors and pictures; doubtful ranges are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ingestion import QUIET, Pairs, options, pixels, refused, write
from PIL import Image

from npgen.corpus import Corpus, read_account
from npgen.corpus.build import BuildOptions, build_corpus
from npgen.corpus.values import scaled

MASKS = (pixels(6)[..., 0] > 120).astype(np.uint8)  # (6, 4, 3) of 0 and 1
DOUBT = "white must be given for images whose values are all 0 or 1"


def doors(tmp_path: Path) -> dict[str, Any]:
    """The masks as a source of every kind whose values have no range of their own."""
    np.save(tmp_path / "ints.npy", MASKS.astype(np.int64))
    np.save(tmp_path / "floats.npy", MASKS.astype(np.float32))
    np.savez(tmp_path / "archive.npz", images=MASKS)
    for index, mask in enumerate(MASKS):
        write(tmp_path / "folder" / f"{index}.png", mask)
    none = [None] * 6
    return {
        "ints": tmp_path / "ints.npy",
        "floats": tmp_path / "floats.npy",
        "archive": tmp_path / "archive.npz",
        "folder": tmp_path / "folder",
        "pictures": Pairs([Image.fromarray(mask) for mask in MASKS], none),
        "arrays": Pairs(MASKS, none),
        "tensors": Pairs([torch.from_numpy(mask) for mask in MASKS], none),
    }


@pytest.mark.parametrize("kind", ["ints", "floats", "archive", "folder", "pictures", "arrays", "tensors"])
def test_masks_of_0_and_1_need_their_white(out: Path, tmp_path: Path, kind: str) -> None:
    source = doors(tmp_path)[kind]
    refused(source, out, DOUBT)
    made = build_corpus(source, out, options(white=1))
    np.testing.assert_array_equal(made.images[..., 0], 255 * MASKS)
    assert len(Corpus.from_arrays(MASKS, white=1)) == 6
    plain = build_corpus(source, tmp_path / "plain", options(white=255))
    np.testing.assert_array_equal(plain.images[..., 0], MASKS)


def test_arrays_in_memory_follow_the_same_rule() -> None:
    for images in (MASKS, MASKS.astype(float), MASKS.tolist()):
        with pytest.raises(ValueError, match=DOUBT):
            Corpus.from_arrays(images)
        np.testing.assert_array_equal(Corpus.from_arrays(images, white=1).images[..., 0], 255 * MASKS)
    with pytest.raises(ValueError, match=DOUBT):
        Corpus.from_arrays([MASKS[0], MASKS[1, :2]], keep_sizes=True)
    assert Corpus.from_arrays([MASKS[0], MASKS[1, :2]], keep_sizes=True, white=1).images.max() == 255


@pytest.mark.parametrize("kind", ["npy", "arrays", "tensors", "png"])
def test_booleans_are_black_and_white_at_all_doors(out: Path, tmp_path: Path, kind: str) -> None:
    masks = MASKS.astype(np.bool_)
    np.save(tmp_path / "masks.npy", masks)
    for index, mask in enumerate(masks):
        write(tmp_path / "png" / f"{index}.png", Image.fromarray(mask))
    sources: dict[str, Any] = {
        "npy": tmp_path / "masks.npy",
        "arrays": Pairs(masks, [None] * 6),
        "tensors": Pairs([torch.from_numpy(mask) for mask in masks], [None] * 6),
        "png": tmp_path / "png",
    }
    made = build_corpus(sources[kind], out, options(mode="grey"))
    np.testing.assert_array_equal(made.images[..., 0], 255 * MASKS)
    np.testing.assert_array_equal(Corpus.from_arrays(masks).images[..., 0], 255 * MASKS)


def test_floats_of_tensors_run_from_0_to_1(out: Path) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        images = [torch.from_numpy(mask).to(dtype)[None] for mask in MASKS]
        made = build_corpus(Pairs(images, [None] * 6), out.with_name(str(dtype)), QUIET)
        np.testing.assert_array_equal(made.images[..., 0], 255 * MASKS)
    build_corpus(Pairs(images, [None] * 6), out, QUIET)
    for other in out.parent.iterdir():
        if other != out:
            __import__("shutil").rmtree(other)


def test_other_whites(out: Path, tmp_path: Path) -> None:
    deep = np.linspace(0, 4095, 60).reshape(5, 4, 3).astype(np.uint16)
    np.save(tmp_path / "deep.npy", deep)
    refused(tmp_path / "deep.npy", out, r"images must be from 0 to 255, got values from 0 to 4095")
    refused(tmp_path / "deep.npy", out, r"images must be from 0 to white, 1000, got values from 0 to 4095", white=1000)
    made = build_corpus(tmp_path / "deep.npy", out, options(white=4095))
    np.testing.assert_array_equal(made.images[..., 0], np.rint(deep / 4095 * 255))
    for index, image in enumerate(deep):
        write(tmp_path / "d" / f"{index}.png", image)
    files = build_corpus(tmp_path / "d", tmp_path / "files", options(white=4095))
    np.testing.assert_array_equal(files.images, made.images)
    account = read_account(files)
    assert account is not None
    assert account.converted == {"scaled so that 4095 is white": 5}


def test_16_bit_pgm_and_floats(out: Path, tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535]], ">u2")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.pgm").write_bytes(b"P5 3 1 65535\n" + deep.tobytes())
    made = build_corpus(tmp_path / "d", out, options(mode="grey"))
    assert made.images[0, 0, :, 0].tolist() == [0, 1, 255]
    write(tmp_path / "f" / "a.tif", Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)))
    refused(tmp_path / "f", tmp_path / "x" / "o", r"a\.tif must have 8 or 16 bits .*'F'; --white VALUE", mode="grey")
    made = build_corpus(tmp_path / "f", tmp_path / "floats", options(mode="grey", white=1))
    assert made.images[0, 0, :, 0].tolist() == [0, 128, 255]


def test_modes_that_pillow_cannot_convert_are_named(out: Path, tmp_path: Path) -> None:
    refused(
        Pairs([Image.new("La", (3, 4))], [None]),
        out,
        "item 0 of source must be of a mode .* to rgb, got 'La'",
        mode="rgb",
    )
    write(tmp_path / "d" / "a.tif", Image.new("LAB", (3, 4), (255, 128, 128)))
    assert build_corpus(tmp_path / "d", out, options(mode="grey")).images.min() > 250


def test_black_images_are_no_masks(out: Path) -> None:
    made = build_corpus(Pairs(np.zeros((4, 3, 3), np.uint8), [None] * 4), out, QUIET)
    assert made.images.max() == 0


@pytest.mark.parametrize("white", [0, -1, float("nan"), float("inf")])
def test_bad_whites(white: float) -> None:
    with pytest.raises(ValueError, match="white must be a number above 0, got"):
        BuildOptions(white=white)
    with pytest.raises(ValueError, match="white must be a number above 0, got"):
        Corpus.from_arrays(MASKS, white=white)


def test_scaling_checks_its_values() -> None:
    assert scaled(np.array([0, 1, 2]), 2).tolist() == [0, 128, 255]
    with pytest.raises(ValueError, match="images must be finite, got values from nan to nan"):
        scaled(np.array([0, np.nan]), 1)
    with pytest.raises(ValueError, match="images must be from 0 to white, 1, got values from -1 to 0"):
        scaled(np.array([-1, 0]), 1)
