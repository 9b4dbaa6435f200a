"""Files of all kinds: valid ones made once, malformed ones made from them, and the readers that open them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm
from typer.testing import CliRunner

import npgen
from fuzzing.folders import build_folder
from fuzzing.mutations import Files, Odd, mutated
from npgen.cli import app
from npgen.corpus import verify
from npgen.corpus.manifest import corpus_hash
from npgen.encoders import simclr
from npgen.encoders.imported import import_encoder
from npgen.encoders.keys import cached_keys
from npgen.encoders.recipe import Recipe
from npgen.evaluation.classifier import load_classifier
from npgen.evaluation.classifier_recipe import ClassifierRecipe
from npgen.evaluation.features import corpus_outputs
from npgen.nn.architecture import Architecture
from npgen.output.pictures import png_bytes
from npgen.runs import folder as runs
from npgen.storage import files
from npgen.tokens.autoencoder import TokenArchitecture

CONFIG = npgen.Config(window=3, locality=1, shortlist=4, seed_size=2, k_min=2, quota=4)
LEVELS = dataclasses.replace(CONFIG, levels=2, semantic_weight=9.0)
MODELS = {"full": CONFIG, "conditional": LEVELS, "class": dataclasses.replace(CONFIG, sweeps=1), "texture": CONFIG}
CLASSIFIER = ClassifierRecipe(layers=((2, 3, 2),), epochs=1, flip=0.0, pool=1, features=2, batch_size=8)
RECIPE = Recipe(epochs=2, batch_size=4, layers=((2, 3, 2),), pool=1, dim=4, projection=2, seed_size=2)
NETWORK = npgen.Network(lambda images: (images.reshape(len(images), -1)[:, :3].astype(np.float32), None), "corners")


def make_stores(folder: Path) -> Files:
    """Make one of everything that npgen reads in a folder, and give it as bytes by path."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (18, 8, 8, 1), np.uint8)
    labels = np.arange(18) % 3
    classes = ("a", "b", "c")
    heldout = npgen.Corpus.from_arrays(images[12:], labels[12:], classes, name="small-heldout")
    small = npgen.Corpus.from_arrays(images[:12], labels[:12], classes, name="small", heldout=heldout)
    with contextlib.chdir(folder):
        corpus = small.save("corpus")
        encoder = make_encoder()
        encoder.save("corpus/encoder.safetensors")
        npgen.encode_tokens(corpus, make_autoencoder(), "corpus/tokens", progress=False)
        for model, config in MODELS.items():
            samples = npgen.generate(corpus, 4, model, config, encoder=encoder, threads=1, progress=False)
            samples.save(f"runs/{model}")
            for first, n in ((0, 2), (2, 2)):
                samples[first : first + n].save(f"parts/{model}-{first}")
        npgen.score_generate(corpus, 2, "local", [3, 3, 5], 3, progress=False).save("scores")
        shutil.copytree("parts/full-0", "unfinished")
        manifest = json.loads(Path("unfinished/manifest.json").read_text())
        files.write_json("unfinished/manifest.json", manifest | {"n": 4})
        load_classifier(corpus, CLASSIFIER, device="cpu", quiet=True)
        corpus_outputs(NETWORK, corpus)
        files.write_json("recipe.json", RECIPE.to_json())
        files.write_json("config.json", CONFIG.to_json())
        Path("training").mkdir()
        training = simclr.EncoderTraining(corpus, RECIPE, torch.device("cpu"))
        training.run_epoch(tqdm(disable=True))
        training.save(Path("training/encoder.safetensors.checkpoint"))
        torch.save({"state_dict": {"conv1.weight": torch.zeros(2, 3, 3, 3), "bn1.bias": torch.zeros(2)}}, "foreign.pth")
        np.save("images.npy", images)
        np.savez_compressed("both.npz", images=images, labels=labels, x_test=images[:2], y_test=labels[:2])
        for name, suffix in (("a", "png"), ("b", "bmp"), ("c", "gif"), ("d", "jpg"), ("e", "tif"), ("f", "webp")):
            Path(f"photos/{name}").mkdir(parents=True)
            Image.fromarray(images[0, :, :, 0]).save(f"photos/{name}/0.{suffix}")
        Path("picture.png").write_bytes(png_bytes(Image.fromarray(images[0, :, :, 0]), samples.provenance()))
        return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def make_encoder() -> npgen.Encoder:
    """Make a small encoder with random weights."""
    random = np.random.default_rng(1)
    architecture = Architecture(1, ((2, 3, 2), (4, 3, 2, 1)), 1, 4)
    tensors = {name: random.normal(size=shape).astype(np.float16) for name, shape in architecture.shapes().items()}
    return npgen.Encoder(architecture, tensors, metadata={"loss": 1.5}, device="cpu")


def make_autoencoder() -> npgen.Autoencoder:
    """Make a small autoencoder with random weights."""
    random = np.random.default_rng(2)
    shape = TokenArchitecture(1, stride=2, bits=5, kernel=3, width=4, blocks=1, reach=1)
    tensors = {name: random.normal(size=extents).astype(np.float16) for name, extents in shape.shapes().items()}
    return npgen.Autoencoder(shape, tensors, metadata={"loss": 1.5}, device="cpu")


def lay_out(store: Files, folder: Path) -> None:
    """Write a store into a folder."""
    for path, content in store.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        match content:
            case bytes():
                file.write_bytes(content)
            case Odd("link"):
                file.symlink_to(content.target)
            case Odd("folder"):
                file.mkdir()
            case Odd("pipe"):
                os.mkfifo(file)


def reseal(store: Files) -> None:
    """Write to every manifest the hashes of the files beside it, as somebody who forges arrays would."""
    hashes: dict[str, str] = {}
    for folder in ("corpus/heldout", "corpus"):
        with _manifest(store, f"{folder}/manifest.json") as manifest:
            manifest["sha256"] = {key: _sha256(store[f"{folder}/{key}.npy"]) for key in manifest["sha256"]}
            if "corpus/heldout" in hashes:
                manifest["heldout"] = hashes["corpus/heldout"]
            hashes[folder] = corpus_hash(manifest["shape"], manifest["sha256"], manifest["classes"])
    for path in list(store):
        base, name = path.rpartition("/")[::2]
        if path == "corpus/tokens/manifest.json":
            with _manifest(store, path) as manifest:
                manifest |= {"corpus": hashes["corpus"], "sha256": _sha256(store["corpus/tokens/planes.npy"])}
        elif base == "corpus/keys" and name.endswith(".json"):
            with _manifest(store, path) as manifest:
                manifest |= {"corpus": hashes["corpus"], "sha256": _sha256(store[path.replace(".json", ".npy")])}
        elif base.startswith("corpus/features"):
            with _manifest(store, f"{base}/manifest.json") as manifest:
                manifest["corpus"] = hashes["corpus"]
                manifest["arrays"]["features"]["sha256"] = _sha256(store[f"{base}/features.npy"])
        elif base.startswith(("runs/", "parts/", "scores", "unfinished")) and name == "manifest.json":
            with _manifest(store, path) as manifest:
                manifest["corpus"]["hash"] = hashes.get("corpus", manifest["corpus"]["hash"])
                for shard in manifest["shards"]:
                    for key in shard["sha256"]:
                        shard["sha256"][key] = _sha256(store[f"{base}/{shard['name']}/{key}.npy"])


@contextlib.contextmanager
def _manifest(store: Files, path: str) -> Iterator[dict[str, Any]]:
    """Change a manifest in place, if it is valid JSON of the right form."""
    value: Any = {}
    with contextlib.suppress(KeyError, TypeError, ValueError, RecursionError):
        value = json.loads(store[path])  # type: ignore[arg-type]
    with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError, RecursionError):
        yield value
        store[path] = json.dumps(value).encode()


def _sha256(content: bytes | Odd) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else b"").hexdigest()


@dataclass(frozen=True)
class Attack:
    """A reader, and the files that it reads.

    Attributes
    ----------
    needed
        Beginnings of the paths of all files that it may read.
    attacked
        Beginnings of the paths of the files that may be malformed.
    read
        Opens the files in the working directory and uses the result, in one of several ways.
    """

    needed: tuple[str, ...]
    attacked: tuple[str, ...]
    read: Callable[[Random], object]

    def __call__(self, random: Random, stores: Files) -> None:
        """Lay out malformed stores in the working directory and read them."""
        store = {path: content for path, content in stores.items() if path.startswith(self.needed)}
        victims = [path for path in store if path.startswith(self.attacked)]
        manifests = [path for path in victims if path.endswith(".json")]
        chosen = random.sample(victims, random.choice((1, 1, 1, min(2, len(victims)))))
        if manifests and random.random() < 0.4:
            chosen[0] = random.choice([path for path in manifests if path not in chosen[1:]] or chosen)
        for path in chosen:
            store[path] = mutated(random, path, stores[path])
        if random.random() < 0.6:
            reseal(store)
        lay_out(store, Path())
        self.read(random)


def _read_corpus(random: Random) -> None:
    corpus = npgen.load_corpus("corpus")
    repr(corpus), corpus.hash, [corpus.class_of(image) for image in range(len(corpus))]
    match random.randrange(6):
        case 0:
            verify.verify_corpus("corpus")
        case 1:
            keys = cached_keys(corpus, make_encoder().id)
            npgen.generate(corpus, 1, "full", CONFIG, encoder=make_encoder(), threads=1, progress=False)
            assert keys.shape == (len(corpus), 4)
        case 2:
            corpus.save("again")
        case 3:
            npgen.generate(corpus, 1, random.choice(("class", "local")), CONFIG, threads=1, progress=False)
        case 4:
            npgen.build_corpus("corpus", "again", npgen.BuildOptions(quiet=True))
        case _:
            corpus_outputs(NETWORK, corpus)


def _read_run(random: Random) -> None:
    corpus = npgen.load_corpus("corpus")
    path = next(Path("runs").iterdir())
    samples = npgen.load_samples(path)
    repr(samples), samples.provenance(), samples[1:2]
    assert samples.trace.image_id.shape == samples.images.shape[:3] == (len(samples), *samples.trace.y.shape[1:])
    match random.randrange(8):
        case 0:
            assert samples.replay(corpus).shape == samples.images.shape
        case 1:
            npgen.entropy(samples, corpus, 3)
        case 2:
            npgen.part_whole(samples, corpus)
        case 3:
            samples._repr_html_()
        case 4:
            npgen.report(samples, corpus, "report.html", progress=False)
        case 5:
            samples.save("again")
        case 6:
            npgen.evaluate(samples, corpus, network=NETWORK, quiet=True)
        case _:
            explainer = npgen.Explainer(samples, corpus)
            for k in range(len(samples)):
                explainer.explain(k, (random.randrange(8), 0))


def _read_scores(random: Random) -> None:
    corpus = npgen.load_corpus("corpus")
    samples = npgen.load_score_samples("scores")
    repr(samples), len(samples)
    match random.randrange(4):
        case 0:
            npgen.entropy(samples, corpus, 3)
        case 1:
            npgen.part_whole(samples, corpus)
        case 2:
            npgen.evaluate(samples, corpus, network=NETWORK, quiet=True)
        case _:
            samples.save("again")


def _verify_run(random: Random) -> None:
    if by_name := random.random() < 0.2:
        Path("home/corpora").mkdir(parents=True)
        Path("corpus").rename("home/corpora/small")
    str(npgen.verify_run(next(Path("runs").iterdir()), None if by_name else "corpus"))


def _merge(random: Random) -> None:
    runs.merge(random.sample(sorted(Path("parts").iterdir()), 2), "merged")
    npgen.load_samples("merged")


def _resume(random: Random) -> None:
    corpus = npgen.load_corpus("corpus")
    npgen.generate(corpus, 4, "full", CONFIG, encoder=make_encoder(), threads=1, progress=False, out="unfinished")


def _read_encoder(random: Random) -> None:
    encoder = npgen.Encoder.load("corpus/encoder.safetensors", device="cpu")
    repr(encoder)
    rows = encoder.encode(np.zeros((2, 8, 8, encoder.channels), np.uint8), threads=1)
    assert rows.shape == (2, encoder.dim)


def _read_tokens(random: Random) -> None:
    corpus = npgen.load_corpus("corpus")
    tokens = npgen.load_tokens("auto", corpus, device="cpu")
    repr(tokens), tokens.id, tokens.part([0, 2])
    if tokens.autoencoder is not None:
        assert tokens.decode(tokens.codes([1, 1])).shape == (2, *corpus.images.shape[1:])
    order = random.choice(("raster", "rings"))
    config = npgen.Config(seed_size=2, gamma=random.choice((None, 1)), order=order)
    npgen.generate(corpus, 1, "local", config, tokens=tokens, device="cpu", threads=1, progress=False)


def _read_classifier(random: Random) -> None:
    corpus = npgen.load_corpus("corpus")
    load_classifier(corpus, CLASSIFIER, device="cpu", quiet=True).predict(corpus.images)


def _read_recipe(random: Random) -> None:
    recipe = Recipe.load("recipe.json")
    recipe.architecture(1).shapes()
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def _read_config(random: Random) -> None:
    config = npgen.Config.from_json(files.read_json("config.json"))
    assert npgen.Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def _read_arrays(random: Random, path: str) -> None:
    options = npgen.BuildOptions(
        holdout=random.choice((0.0, 0.3)), size=random.choice((None, (4, 5))), mode="grey", quiet=True
    )
    npgen.build_corpus(path, "built", options)


def _read_pictures(random: Random) -> None:
    options = npgen.BuildOptions(size=random.choice((None, (8, 8))), mode=random.choice((None, "rgb")), quiet=True)
    npgen.build_corpus("photos", "built", options)


def _train_on(random: Random) -> None:
    corpus = npgen.load_corpus("corpus")
    simclr.train_encoder(corpus, "training/encoder.safetensors", RECIPE, "cpu", progress=False)


def _command(random: Random) -> None:
    run = next(Path("runs").iterdir(), None)
    arguments = random.choice(
        (
            *(["corpus", "info", "corpus"], ["corpus", "build", "corpus", "--out", "again", "-q"]),
            *(["verify", str(run), "--corpus", "corpus"], ["explain", str(run), "1", "0", "0", "--corpus", "corpus"]),
            *(["partwhole", str(run), "--corpus", "corpus"], ["report", str(run), "--corpus", "corpus", "-q"]),
            ["generate", "corpus", "-n", "1", "--model", "local", "--config", "config.json", "--out", "o", "-q"],
            ["encoder", "check", "auto", "corpus", "-q"],
        )
    )
    command(arguments)


def command(arguments: list[str]) -> None:
    """Run the command line in this process; an exception that a user would see as a traceback is raised."""
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.exit_code


_PARTS = ("manifest", "images", "labels", "heldout", "keys", "features")
_RUNS = tuple(f"runs/{model}/" for model in MODELS)
# Weight and attack, by name.
STORES: dict[str, tuple[int, Callable[[Random, Files], None]]] = {
    "corpus": (12, Attack(("corpus/",), tuple(f"corpus/{part}" for part in _PARTS), _read_corpus)),
    **{f"run {path[5:-1]}": (6, Attack(("corpus/", path), (path,), _read_run)) for path in _RUNS},
    **{f"verify {path[5:-1]}": (3, Attack(("corpus/", path), (path, "corpus/"), _verify_run)) for path in _RUNS},
    "merge": (4, Attack(("parts/full",), ("parts/full",), _merge)),
    "scores": (4, Attack(("corpus/", "scores/"), ("scores/",), _read_scores)),
    "resume": (4, Attack(("corpus/", "unfinished"), ("unfinished",), _resume)),
    "encoder": (5, Attack(("corpus/encoder",), ("corpus/encoder",), _read_encoder)),
    "tokens": (5, Attack(("corpus/",), ("corpus/tokens",), _read_tokens)),
    "classifier": (3, Attack(("corpus/",), ("corpus/classifier",), _read_classifier)),
    "recipe": (3, Attack(("recipe",), ("recipe",), _read_recipe)),
    "config": (3, Attack(("config",), ("config",), _read_config)),
    "npy": (3, Attack(("images.npy",), ("images.npy",), functools.partial(_read_arrays, path="images.npy"))),
    "npz": (4, Attack(("both.npz",), ("both.npz",), functools.partial(_read_arrays, path="both.npz"))),
    "pictures": (4, Attack(("photos/",), ("photos/",), _read_pictures)),
    "folders": (6, build_folder),
    "provenance": (3, Attack(("picture.png",), ("picture.png",), lambda random: npgen.read_provenance("picture.png"))),
    "checkpoint": (1, Attack(("corpus/", "training/"), ("training/",), _train_on)),
    "foreign": (2, Attack(("foreign.pth",), ("foreign.pth",), lambda random: import_encoder("foreign.pth"))),
    "command": (2, Attack(("corpus/", "runs/full/", "config"), ("corpus/", "runs/full/", "config"), _command)),
}
