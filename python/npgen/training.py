"""What trainings share: checkpoints that are whole or not there, and the refusal of another training's leavings.

This module imports torch: import it only where training is asked for.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.files import replacing


def write_checkpoint(path: Path, version: int, recipe: dict[str, Any], corpus: Corpus, state: dict[str, Any]) -> None:
    """Write a checkpoint, atomically.

    Parameters
    ----------
    path
        File to write or replace.
    version
        Of what `state` holds.
    recipe
        JSON-able values that decide the training, with the corpus.
    corpus
        What it trains on.
    state
        Tensors and numbers by name.
    """
    facts = {"checkpoint_version": version, "recipe": json.dumps(recipe), "corpus_hash": corpus.hash}
    with replacing(path) as file:
        torch.save({**facts, **state}, file)


def read_checkpoint(
    path: Path, version: int, recipe: dict[str, Any], corpus: Corpus, device: torch.device
) -> dict[str, Any]:
    """Read a checkpoint of the same training.

    Parameters
    ----------
    path, version, recipe, corpus
        As in `write_checkpoint`.
    device
        Where its tensors go.

    Returns
    -------
    dict
        The state; whether it is complete, its user finds out.

    Raises
    ------
    ValueError
        If it is damaged, or of another version, recipe or corpus.
    """
    try:
        # A pipe would be waited for, and torch would take other files for its older, pickled kind.
        if not path.is_file() or not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found_version = state["checkpoint_version"]
        found_recipe, corpus_hash = json.loads(state["recipe"]), state["corpus_hash"]
    except Exception as error:  # torch answers a damaged file with all kinds
        raise ValueError(f"checkpoint must be one that npgen wrote; {_REMEDY}, got {str(path)!r}") from error
    if found_version != version:
        raise invalid("checkpoint", f"of version {version} ({_REMEDY})", f"{path} of version {found_version}")
    check_same_training(path, found_recipe, corpus_hash, recipe, corpus)
    return state


def damaged(path: Path, error: Exception) -> ValueError:
    """Build the error for a checkpoint that has not all it should have."""
    return ValueError(f"checkpoint must be whole; {_REMEDY}, got {str(path)!r} ({error})")


def check_same_training(path: Path, found_recipe: Any, found_hash: Any, recipe: dict[str, Any], corpus: Corpus) -> None:
    """Refuse what another recipe or corpus left at `path`."""
    remedy = "choose another path, or pass resume=False to replace it"
    if found_hash != corpus.hash:
        raise invalid("corpus", f"the one that {str(path)!r} was trained on, {found_hash} ({remedy})", corpus.hash)
    found = found_recipe if isinstance(found_recipe, dict) else {}
    if found != recipe:
        changed = {name: value for name, value in recipe.items() if found.get(name) != value}
        raise invalid("recipe", f"the one that {str(path)!r} was trained with ({remedy})", changed)


def channel_mean(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of each channel (C,) in [0, 1], exact: sums of whole numbers, some images at a time."""
    total = np.zeros(images.shape[3], np.uint64)
    for start in range(0, len(images), 1024):
        total += images[start : start + 1024].sum((0, 1, 2), dtype=np.uint64)
    mean: NDArray[np.float32] = (total / (255.0 * images[..., 0].size)).astype(np.float32)
    return mean


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Make the source of an epoch's random numbers: those of a resumed training are those of an uninterrupted one."""
    key = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key >> np.uint64(1)))


def computes_half(precision: str, device: torch.device) -> bool:
    """Tell whether to train in bfloat16: processors that lack such instructions emulate it, ten times slower."""
    native = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return precision == "bfloat16" and native


_REMEDY = "delete it, or pass resume=False to start anew"
