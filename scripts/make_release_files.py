"""Write an archive of `tests/release`: small files of every kind, as the installed npgen writes them.

    python scripts/make_release_files.py tests/release

`tests/system/test_release_files.py` opens every file of every archive there. An archive stays as it is when the code
changes: the files of a later release go beside it, in an archive of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

import npgen

ENCODER = {"layers": [[4, 3, 2]], "dim": 4, "projection": 4, "batch_size": 16, "epochs": 1, "precision": "float32"}
AUTOENCODER = {"bits": 6, "kernel": 3, "width": 8, "blocks": 0, "reach": 1, "epochs": 4, "settling_epochs": 2}
DIFFUSION = {"layers": 2, "width": 4, "epochs": 1, "precision": "float32"}
SETTINGS = ("--window", 3, "--seed-size", 3, "--shortlist", 8)
MODELS = ("full", "local", "texture", "semantic", "class")


def command(*words: Any) -> None:
    """Run a command of npgen."""
    subprocess.run([sys.executable, "-m", "npgen_command", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def pictures(count: int, channels: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (count, 8, 8, channels) of a bright spot, a bar or a frame, and which of the three each shows."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = np.zeros((count, 8, 8, channels), np.uint8)
    y, x = np.indices((8, 8))
    for image, label in zip(images, labels, strict=True):
        at_y, at_x = random.integers(2, 6, 2)
        distance = (np.hypot(y - at_y, x - at_x), abs(x - at_x), abs(np.maximum(abs(y - at_y), abs(x - at_x)) - 2))
        bright = np.clip(1.3 - distance[label] / 1.7, 0, 1)[:, :, None]  # (8, 8, 1)
        image[...] = bright * random.integers(120, 256, channels)
    return images, labels


def make_corpora(root: Path) -> None:
    """Write the corpora, with encoders, keys, an autoencoder and tokens beside the first."""
    for name, channels, classes in (("grey", 1, None), ("colours", 3, ("spot", "bar", "frame"))):
        images, labels = pictures(42, channels, channels)
        heldout = npgen.Corpus.from_arrays(images[30:], labels[30:], classes, name=f"{name}-heldout")
        npgen.Corpus.from_arrays(images[:30], labels[:30], classes, name=name, heldout=heldout).save(root / name)
    shapes = [(8, 8), (5, 12), (11, 7), (9, 9)]
    random = np.random.default_rng(4)
    sized = [random.integers(0, 4, (*shape, 3)).cumsum(1).astype(np.uint8) * 8 for shape in shapes]
    npgen.Corpus.from_arrays(sized, keep_sizes=True, name="sized").save(root / "sized")

    grey = root / "grey"
    with tempfile.TemporaryDirectory() as place:
        recipe = Path(place) / "recipe.json"
        recipe.write_text(json.dumps(ENCODER))
        command("encoder", "train", grey, "--recipe", recipe, "--quiet")
        recipe.write_text(json.dumps(AUTOENCODER))
        command("tokens", "train", grey, "--recipe", recipe, "--quiet")
    for encoder in ("auto", "pixels"):
        command("embed", grey, "--encoder", encoder, "--quiet")
    # Rounded, so that sums of its numbers are exact, and tokens decode to the same bytes on every machine.
    made = npgen.Autoencoder.load(grey / "autoencoder.safetensors")
    tensors = {
        name: (np.round(tensor.astype(np.float64) * 32) / 32).astype(np.float16)
        for name, tensor in made.tensors.items()
    }
    npgen.Autoencoder(made.architecture, tensors, metadata=made.metadata).save(grey / "autoencoder.safetensors")
    command("tokens", "encode", grey, "--quiet")


def make_runs(corpora: Path, root: Path) -> None:
    """Write runs of pixels, tokens and a score machine."""
    grey, colours = corpora / "grey", corpora / "colours"

    def generate(name: str, corpus: Path, *options: Any, n: int = 4) -> None:
        shared = ("-n", n, "--seed", 3, "--encoder", "pixels", "--quiet", "--out", root / name)
        command("generate", corpus, *shared, *options)

    for model in MODELS:
        generate(model, grey, *SETTINGS, "--model", model)
    generate("colours", colours, *SETTINGS, "--first", 2)
    generate("sweeps", grey, *SETTINGS, "--sweeps", 1)
    generate("threshold", grey, *SETTINGS, "--semantic", "threshold", "--epsilon", 0.3)
    generate("tolerance", grey, *SETTINGS, "--model", "local", "--tolerance", "corpus")
    generate("encoder", grey, *SETTINGS, "--encoder", "auto")
    generate("sized", corpora / "sized", "--model", "texture", "--window", 3, "--seed-size", 3, "--size", 7, 6)
    generate("tokens", grey, "--tokens", "auto", "--seed-size", 4)
    generate("tokens-raster", grey, "--tokens", "auto", "--gamma", 1, "--order", "raster", "--draw", "histogram")
    for index in range(2):
        generate(f"part-{index}", grey, *SETTINGS, "--shard", f"{index}/2")
    texture = ("--model", "texture", "--window", 3, "--seed-size", 2, "--size", 4, 4)
    generate("interrupted", grey, *texture, n=66)
    score = ("--windows", "3,3,5", "--steps", 3, "--quiet")
    command("els", grey, *score, "-n", 3, "--every-step", "--out", root / "els")
    command("els", grey, *score, "-n", 18, "--size", 4, 4, "--machine", "local", "--out", root / "els-interrupted")
    for name in ("interrupted", "els-interrupted"):
        interrupt(root / name)
    first_version(root / "full", root / "version-1")
    command("evaluate", root / "full", "--corpus", grey, "--quiet")


def interrupt(run: Path) -> None:
    """Leave of a run of two shards what a process that is killed while it writes the second one leaves."""
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    last = manifest["shards"].pop()
    (run / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    shutil.rmtree(run / last["name"])
    for path in (*run.glob("*.png"), *run.glob("entropy.json")):
        path.unlink()


def first_version(run: Path, out: Path) -> None:
    """Bring a run into the first version of the format, which kept no queries and knew fewer settings."""
    shutil.copytree(run, out)
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    manifest["version"] = 1
    del manifest["tokens"]
    for name in ("size", "gamma", "metric", "order", "draw", "flip"):
        del manifest["config"][name]
    for shard in manifest["shards"]:
        del shard["sha256"]["queries"]
        (out / shard["name"] / "queries.npy").unlink()
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def pack_classifier(grey: Path, run: Path) -> None:
    """Make the classifier beside a corpus one of two numbers a tensor, which takes little room, and use it."""
    (file,) = (grey / "classifier").glob("*.safetensors")
    with safe_open(file, framework="numpy") as opened:
        facts = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f":
            tensors[name] = (np.where(tensor < 0, -1, 1) * np.abs(tensor).mean()).astype(tensor.dtype)
    file.write_bytes(save(tensors, metadata=facts))
    shutil.rmtree(grey / "features")
    command("evaluate", run, "--corpus", grey, "--quiet")


def make_studies(grey: Path, root: Path) -> None:
    """Write the folders of studies."""
    root.mkdir()
    config = root / "config.json"
    config.write_text(json.dumps({"window": 3, "seed_size": 3, "shortlist": 8}))
    shared = ("--config", config, "--encoder", "pixels", "-n", 4, "--quiet")
    command("ablate", grey, *shared, "--out", root / "ablation")
    command("sweep", grey, *shared, "--set", "window=3,5", "--images", "20,30", "--keep", "--out", root / "sweep")
    gamma = ("--gammas", "1,global", "--kinds", "pixels,tokens", "-n", 4, "--quiet")
    command("gamma-study", grey, *gamma, "--out", root / "gamma")
    recipe = root / "recipe.json"
    recipe.write_text(json.dumps(DIFFUSION))
    steps = ("--windows", "3,3,5", "--steps", 3, "--network-steps", 3, "--machines", "local", "-n", 2, "--quiet")
    command("els", "compare", grey, *steps, "--recipe", recipe, "--out", root / "els")


def pack(folder: Path, archive: Path) -> None:
    """Write a folder's files as one archive; the same files make the same bytes."""
    with zipfile.ZipFile(archive, "x") as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())  # of no time
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path, help="folder that the archive npgen-VERSION.zip goes into")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as place:
        os.environ["NPGEN_HOME"] = f"{place}/home"
        root = Path(place) / "files"
        make_corpora(root / "corpora")
        make_runs(root / "corpora", root / "runs")
        pack_classifier(root / "corpora" / "grey", root / "runs" / "full")
        make_studies(root / "corpora" / "grey", root / "studies")
        for path in sorted(root.rglob("*")):
            picture = path.suffix in (".png", ".svg") and path != root / "runs" / "full" / "samples.png"
            if picture or path.name == ".lock":
                path.unlink()
        out.mkdir(parents=True, exist_ok=True)
        pack(root, out / f"npgen-{npgen.__version__}.zip")


if __name__ == "__main__":
    main()
