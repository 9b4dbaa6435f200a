"""Recipes: what they accept, and what files they come from."""

from __future__ import annotations

import decimal
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from npgen.encoders.recipe import Recipe


class TestRecipe:
    def test_json_round_trip(self, tmp_path):
        tiny = Recipe(epochs=3, batch_size=8, layers=((6, 3, 2), (8, 3, 2)), dim=8, projection=8, seed_size=4)
        (tmp_path / "recipe.json").write_text(json.dumps(tiny.to_json()))
        assert Recipe.load(tmp_path / "recipe.json") == tiny
        assert Recipe.from_json({"epochs": 2}) == Recipe(epochs=2)
        residual = Recipe(layers=((6, 3, 2), (6, 3, 1), (8, 3, 2, 2)), crop=0.3, hue=0.1)
        assert Recipe.from_json(json.loads(json.dumps(residual.to_json()))) == residual

    def test_for_corpus(self):
        grey, rgb = (SimpleNamespace(images=np.zeros((2, 8, 8, channels))) for channels in (1, 3))
        assert Recipe.for_corpus(grey) == Recipe() and Recipe().flip == 0
        assert Recipe().crop == 1 and Recipe().hue == 0
        photographs = Recipe.for_corpus(rgb, epochs=2)
        assert (photographs.flip, photographs.crop, photographs.hue, photographs.epochs) == (0.5, 0.25, 0.1, 2)
        assert (photographs.full, photographs.least_motion, photographs.whitened) == (0.5, 1, True)
        assert photographs.masked_epochs > 0
        shapes = photographs.architecture(3).shapes().values()
        assert sum(math.prod(shape) for shape in shapes) < 2_000_000

    def test_other_numbers_of_epochs(self):
        photographs = Recipe(epochs=50, masked_epochs=15)
        for given, expected in (
            ((1,), (1, 0)),
            ((5,), (5, 2)),
            ((100,), (100, 30)),
            ((1, 3), (1, 3)),
            ((None, 0), (50, 0)),
            ((), (50, 15)),
        ):
            assert photographs.lasting(*given) == Recipe(epochs=expected[0], masked_epochs=expected[1])
        assert Recipe().lasting(3) == Recipe(epochs=3)
        with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
            photographs.lasting(0)
        with pytest.raises(ValueError, match="masked_epochs must be at least 0, got -1"):
            photographs.lasting(1, -1)

    def test_files_of_older_releases_lack_settings(self):
        values = Recipe(epochs=3).to_json()
        del values["draws"]
        assert Recipe().completed(values) == Recipe(epochs=3).to_json()
        assert Recipe().completed("damaged") == "damaged"

    def test_unknown_names(self):
        with pytest.raises(ValueError, match=r"recipe must be an object of epochs, .* got \['epoch'\]"):
            Recipe.from_json({"epoch": 2})
        with pytest.raises(ValueError, match=r"recipe must be an object of epochs, .* got \[1\]"):
            Recipe.from_json([1])
        with pytest.raises(ValueError, match="recipe must be an object of numbers, got"):
            Recipe.from_json({"layers": 3})
        with pytest.raises(ValueError, match="recipe must be an object of numbers, got"):
            Recipe.from_json({"blur": "much"})
        for wrong in ("much", True, None, decimal.Decimal("NaN")):
            with pytest.raises(TypeError, match="zoom must be a number, got"):
                Recipe(zoom=wrong)
        for change, message in [
            ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
            ({"dim": None}, "dim must be a whole number, got None"),
            ({"whitened": 1}, "whitened must be of type bool, got int"),
        ]:
            with pytest.raises(TypeError, match=message):
                Recipe(**change)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"epochs": 0}, "epochs must be at least 1, got 0"),
            ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
            ({"seed": -1}, "seed must be at least 0, got -1"),
            ({"masked_epochs": -1}, "masked_epochs must be at least 0, got -1"),
            ({"draws": "gpu"}, "draws must be 'cpu' or 'device', got 'gpu'"),
            ({"masked_rate": 0.0}, "masked_rate must be a number above 0, got 0.0"),
            ({"masked_full": 1.2}, r"masked_full must be in 0…1, got 1.2"),
            ({"least_motion": -0.1}, r"least_motion must be in 0…1, got -0.1"),
            ({"full": 1.2}, r"full must be in 0…1, got 1.2"),
            ({"zoom": -1.0}, "zoom must be a number of at least 0, got -1.0"),
            ({"shift": math.inf}, "shift must be a number of at least 0, got inf"),
            ({"temperature": 0.0}, "temperature must be a number above 0, got 0.0"),
            ({"learning_rate": math.nan}, "learning_rate must be a number above 0, got nan"),
            ({"shear": 90.0}, "shear must be in 0…80 degrees, got 90.0"),
            ({"precision": "int8"}, "precision must be 'bfloat16' or 'float32', got 'int8'"),
            ({"dim": 0}, "dim must be at least 1, got 0"),
            ({"crop": 0.0}, "crop must be a number above 0 and at most 1, got 0.0"),
            ({"crop": 1.5}, "crop must be a number above 0 and at most 1, got 1.5"),
            ({"crop": math.nan}, "crop must be a number above 0 and at most 1, got nan"),
            ({"hue": -0.1}, "hue must be a number of at least 0, got -0.1"),
            ({"layers": ((8, 3, 1, 2),)}, "layers must be such that residual blocks lie within the stack"),
        ],
    )
    def test_bad_values(self, change, message):
        with pytest.raises(ValueError, match=message):
            Recipe(**change)
