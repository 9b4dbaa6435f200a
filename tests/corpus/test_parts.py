"""Parts of a data set in folders and array files, by all their usual names; what is passed over is named."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from ingestion import QUIET, pixels, refused, write

from npgen.corpus import read_account
from npgen.corpus.build import build_corpus

TRAINING = ["train", "Train", "TRAINING"]
HELDOUT = ["val", "valid", "Validation", "test", "Test", "testing", "dev", "eval"]


def flat(folder: Path, count: int, start: int = 0) -> np.ndarray:
    images = pixels(start + count)[start:, ..., 0]
    for index, image in enumerate(images):
        write(folder / f"{index}.png", image)
    return images


@pytest.mark.parametrize("training", TRAINING)
@pytest.mark.parametrize("held", HELDOUT)
def test_flat_parts_are_no_classes(out: Path, tmp_path: Path, training: str, held: str) -> None:
    sources, others = flat(tmp_path / "a" / training, 4), flat(tmp_path / "a" / held, 2, 4)
    made = build_corpus(tmp_path / "a", out, QUIET)
    assert (made.labels, made.classes) == (None, None)
    np.testing.assert_array_equal(made.images[..., 0], sources)
    assert made.heldout is not None
    np.testing.assert_array_equal(made.heldout.images[..., 0], others)


def test_all_parts_but_the_training_part_are_held_out(out: Path, tmp_path: Path) -> None:
    for name, part in {"train": (0, 4), "test": (4, 6), "valid": (6, 9)}.items():
        for label, kind in enumerate(("cat", "dog")):
            for index in range(*part):
                write(tmp_path / "a" / name / kind / f"{index}.png", pixels(20)[2 * index + label, ..., 0])
    made = build_corpus(tmp_path / "a", out, QUIET)
    assert (len(made), made.classes) == (8, ("cat", "dog"))
    assert made.heldout is not None
    assert len(made.heldout) == 10  # of test and of valid


def test_a_training_part_alone(out: Path, tmp_path: Path) -> None:
    flat(tmp_path / "a" / "train", 3)
    made = build_corpus(tmp_path / "a", out, QUIET)
    assert (len(made), made.labels, made.heldout) == (3, None, None)


def test_trains_may_be_a_class_among_vehicles(out: Path, tmp_path: Path) -> None:
    for name in ("bus", "car", "train"):
        flat(tmp_path / "a" / name, 2)
    assert build_corpus(tmp_path / "a", out, QUIET).classes == ("bus", "car", "train")


def test_doubtful_parts_are_refused(out: Path, tmp_path: Path) -> None:
    for name in ("val", "test"):
        flat(tmp_path / "a" / name, 2)
    refused(tmp_path / "a", out, r"a must hold .* beside a training part, named train, .* \(test, val\)")
    flat(tmp_path / "a" / "train", 2)
    flat(tmp_path / "a" / "cats", 2)
    refused(tmp_path / "a", out, "a must hold either parts .* or class folders, got train, test, val and cats")
    (tmp_path / "a" / "cats").rename(tmp_path / "a" / "Training")
    refused(tmp_path / "a", out, "a must hold one training part, got Training and train")


def test_folders_of_systems_are_passed_over_and_named(out: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog", "__MACOSX/cat", "@eaDir", "cat/@eaDir"):
        flat(tmp_path / "a" / name, 2)
    (tmp_path / "a" / "notes").mkdir()
    (tmp_path / "a" / "readme.md").write_text("text")
    (tmp_path / "a" / "nowhere").symlink_to(tmp_path / "gone")
    made = build_corpus(tmp_path / "a", out, QUIET)
    assert (len(made), made.classes) == (4, ("cat", "dog"))
    account = read_account(made)
    assert account is not None
    assert {reason: what.names for reason, what in account.left_out.items()} == {
        "of the system": ("@eaDir", "__MACOSX", "cat/@eaDir"),
        "neither files nor folders that can be read": ("nowhere",),
        "no images that Pillow reads": ("readme.md",),
        "folders without images": ("notes",),
    }


def test_two_spellings_of_a_name_are_one_class(out: Path, tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    for part in ("train", "test"):
        flat(tmp_path / "a" / part / composed, 2)
        flat(tmp_path / "a" / part / decomposed, 3)
        flat(tmp_path / "a" / part / "ant", 1)
    if len(list((tmp_path / "a" / "train").iterdir())) < 3:
        pytest.skip("this file system makes one name of the two")
    made = build_corpus(tmp_path / "a", out, QUIET)
    assert made.classes == (composed, "ant")
    assert made.labels is not None
    assert np.bincount(made.labels).tolist() == [5, 1]


# Array files


@pytest.mark.parametrize(
    ("train", "held"),
    [
        (("train_images", "train_labels"), ("val_images", "val_labels")),
        (("x_train", "y_train"), ("x_valid", "y_valid")),
        (("X_train", "Y_train"), ("X_test", "Y_test")),
        (("images", "labels"), ("test_images", "test_labels")),
        (("x", "y"), ("heldout_images", "heldout_labels")),
    ],
)
def test_parts_in_archives(out: Path, tmp_path: Path, train: tuple[str, str], held: tuple[str, str]) -> None:
    arrays = {train[0]: pixels(6), train[1]: np.arange(6) % 2, held[0]: pixels(3)[::-1], held[1]: np.arange(3) % 2}
    np.savez(tmp_path / "a.npz", **arrays, ids=np.arange(6))
    made = build_corpus(tmp_path / "a.npz", out, QUIET)
    assert (len(made), made.heldout and len(made.heldout)) == (6, 3)
    account = read_account(made)
    assert account is not None
    assert [what.names for what in account.left_out.values()] == [("ids",)]


def test_two_held_out_parts_of_an_archive(out: Path, tmp_path: Path) -> None:
    arrays = {f"{part}_{kind}": pixels(4) if kind == "images" else np.arange(4) for part in ("train", "val", "test")
              for kind in ("images", "labels")}  # fmt: skip
    np.savez(tmp_path / "a.npz", **arrays)
    made = build_corpus(tmp_path / "a.npz", out, QUIET)
    assert made.heldout is not None
    assert len(made.heldout) == 8


def test_arrays_without_names_are_not_dropped(out: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixels(6), np.arange(6), pixels(3), np.arange(3))
    refused(tmp_path / "a.npz", out, r"a\.npz must be names where there are more arrays than images and labels")
    np.savez(tmp_path / "a.npz", x=pixels(6), x_train=pixels(6))
    refused(tmp_path / "a.npz", out, r"a\.npz must name one array of images per part, got x and x_train")
    np.savez(tmp_path / "a.npz", x=pixels(6), y_test=np.arange(3))
    refused(tmp_path / "a.npz", out, r"a\.npz must be with the images of y_test among them")


def test_one_picture_is_no_set_of_narrow_ones(out: Path, tmp_path: Path) -> None:
    for channels in (3, 4):
        np.save(tmp_path / "photo.npy", pixels(1, 48, 64, channels)[0])
        refused(
            tmp_path / "photo.npy", out, rf"photo\.npy: images must be .* got shape \(48, 64, {channels}\), which rath"
        )
    np.save(tmp_path / "photo.npy", pixels(1, 48, 64, 3))
    assert build_corpus(tmp_path / "photo.npy", out, QUIET).images.shape == (1, 48, 64, 3)


def test_more_labels_than_images(out: Path) -> None:
    class Torchvision:
        data, targets = pixels(5), [0] * 7

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return self.data[index], self.targets[index]

    message = "source must have as many labels as images, got 7 labels and 5 images"
    refused(Torchvision(), out, re.escape(message))
    Torchvision.targets = [0] * 3
    refused(Torchvision(), out, "got 3 labels and 5 images")
