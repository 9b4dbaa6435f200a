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
from npgen.errors import check_number, check_type, check_whole, invalid
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


def check_state(found: Any, fresh: Any, optimiser: torch.optim.Optimizer | None, where: str = "state") -> None:
    """Check the tensors of a checkpoint against those of a training that has not begun: types, shapes, finiteness.

    A wrong one would end the first step in an error of torch, or be trained on without a word.

    Parameters
    ----------
    found
        What the checkpoint holds.
    fresh
        The same of a new training; parts that `found` has besides are not checked.
    optimiser
        The new training's optimiser, if it has one.
    where
        Name of the part for messages.

    Raises
    ------
    ValueError
        If a tensor has another type or shape, or is not finite.
    """
    if isinstance(fresh, torch.Tensor):
        _check_tensor(found, fresh.dtype, tuple(fresh.shape), where)
    elif isinstance(fresh, dict) and set(fresh) == {"state", "param_groups"}:
        if optimiser is not None:
            _check_optimiser(found, optimiser, where)
    elif isinstance(fresh, dict):
        check_type(where, found, dict)
        for name, part in fresh.items():
            if name not in found:
                raise ValueError(f"{where} must hold {name!r}, got {sorted(map(str, found))[:5]}")
            check_state(found[name], part, optimiser, f"{where}.{name}")


def _check_optimiser(found: Any, optimiser: torch.optim.Optimizer, where: str) -> None:
    """Check an optimiser's moments, each of its parameter's shape or one number, and the settings of its groups."""
    check_type(where, found, dict)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, moments in found["state"].items():
        check_whole(f"parameter of {where}", index, 0, len(parameters) - 1)
        for name, moment in moments.items():
            if isinstance(moment, torch.Tensor):
                own = parameters[index]
                shape, dtype = ((), torch.float32) if moment.ndim == 0 else (tuple(own.shape), own.dtype)
                _check_tensor(moment, dtype, shape, f"{where}.{index}.{name}")
            else:
                check_number(f"{where}.{index}.{name}", moment)
    fresh_groups = optimiser.state_dict()["param_groups"]
    if len(found["param_groups"]) != len(fresh_groups):
        raise invalid(f"groups of {where}", f"{len(fresh_groups)}", len(found["param_groups"]))
    for group, fresh in zip(found["param_groups"], fresh_groups, strict=True):
        for name, value in fresh.items():
            if name not in group or type(group[name]) is not type(value):
                got = "nothing" if name not in group else repr(group[name])
                raise ValueError(f"{name} of {where} must be of type {type(value).__name__}, got {got}")
            for number in group[name] if isinstance(value, tuple | list) else [group[name]]:
                if isinstance(number, float):
                    check_number(f"{name} of {where}", number)


def _check_tensor(found: Any, dtype: torch.dtype, shape: tuple[int, ...], where: str) -> None:
    check_type(where, found, torch.Tensor)
    if found.dtype != dtype or tuple(found.shape) != shape:
        got = f"{found.dtype} of shape {tuple(found.shape)}"
        raise ValueError(f"{where} must be {dtype} of shape {shape}, got {got}")
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"{where} must be finite, got values that are not")


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
