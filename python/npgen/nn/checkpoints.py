"""Checkpoints of unfinished trainings: written atomically, and read for the same recipe and corpus only.

This module imports torch: import it only where a network is trained.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.nn.recipes import SavedRecipe
from npgen.storage import replacing

REMEDY = "delete it, or pass resume=False to start anew"


def write_checkpoint(path: Path, version: int, recipe: dict[str, Any], corpus: Corpus, state: dict[str, Any]) -> None:
    """Write a checkpoint, atomically.

    Parameters
    ----------
    path
        File to write or replace.
    version
        Version of the form of `state`.
    recipe
        JSON-able values that, with the corpus, decide the training.
    corpus
        The corpus that is trained on.
    state
        Tensors and numbers by name.
    """
    identity = {"checkpoint_version": version, "recipe": json.dumps(recipe), "corpus_hash": corpus.hash}
    with replacing(path) as file:
        torch.save({**identity, **state}, file)


def read_checkpoint(
    path: Path, version: int, recipe: SavedRecipe, corpus: Corpus, device: torch.device
) -> dict[str, Any]:
    """Read a checkpoint of the same training.

    Parameters
    ----------
    path, version, corpus
        As in `write_checkpoint`.
    recipe
        The recipe of the training that is to go on.
    device
        Where the tensors go.

    Returns
    -------
    dict
        The state. Whether it is complete is for the caller to check.

    Raises
    ------
    ValueError
        If the file is damaged, or of another version, recipe or corpus.
    """
    try:
        # Reading a pipe would wait forever, and torch would read any file that is not a zip archive as a pickle.
        if not path.is_file() or not zipfile.is_zipfile(path):
            raise ValueError("not a zip archive")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found_version = state["checkpoint_version"]
        found_recipe, corpus_hash = json.loads(state["recipe"]), state["corpus_hash"]
    except Exception as error:  # torch raises errors of many types for damaged files
        raise ValueError(f"checkpoint must be one that npgen wrote; {REMEDY}, got {str(path)!r}") from error
    if found_version != version:
        raise invalid("checkpoint", f"of version {version} ({REMEDY})", f"{path} of version {found_version}")
    check_same_training(path, found_recipe, corpus_hash, recipe, corpus)
    return state


def check_same_training(path: Path, found_recipe: Any, found_hash: Any, recipe: SavedRecipe, corpus: Corpus) -> None:
    """Check that a file comes from a training with this recipe and corpus.

    Parameters
    ----------
    path
        The file, a checkpoint or a trained network.
    found_recipe, found_hash
        Recipe and corpus hash that the file holds. Settings that were added to recipes since are taken as the defaults.
    recipe, corpus
        What they must be equal to.

    Raises
    ------
    ValueError
        If either differs.
    """
    remedy = "choose another path, or pass resume=False to replace it"
    if found_hash != corpus.hash:
        raise invalid("corpus", f"the one that {str(path)!r} was trained on, {found_hash} ({remedy})", corpus.hash)
    wanted, found = recipe.to_json(), recipe.completed(found_recipe)
    if found != wanted:
        found = found if isinstance(found, dict) else {}
        changed = {name: value for name, value in wanted.items() if found.get(name) != value}
        raise invalid("recipe", f"the one that {str(path)!r} was trained with ({remedy})", changed)
