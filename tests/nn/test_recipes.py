"""Recipes as JSON: read, written, and refused where they hold something else."""

from __future__ import annotations

import pytest
from lines import LineRecipe

from npgen.nn import check_precision


def test_a_recipe_survives_json(tmp_path):
    recipe = LineRecipe(epochs=7)
    assert LineRecipe.from_json(recipe.to_json()) == recipe
    (tmp_path / "recipe.json").write_text('{"rate": 0.5}')
    assert LineRecipe.load(tmp_path / "recipe.json") == LineRecipe(rate=0.5)


@pytest.mark.parametrize(("values", "got"), [({"depth": 1, "rate": 2}, ["depth"]), ([1], [1]), (None, None)])
def test_other_values_are_refused(values, got):
    with pytest.raises(ValueError) as caught:
        LineRecipe.from_json(values)
    assert str(caught.value) == f"recipe must be an object of epochs, batch_size, rate, precision, seed, got {got!r}"


def test_precision():
    check_precision("bfloat16")
    check_precision("float32")
    with pytest.raises(ValueError, match="precision must be 'bfloat16' or 'float32', got 'float16'"):
        check_precision("float16")
