"""Settings: checked, frozen, and the same after a round trip through JSON."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgen import Config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 4}, "window must be odd, at least 3, got 4"),
        ({"window": 1}, "window must be odd, at least 3, got 1"),
        ({"sigma": 0}, "sigma must be a positive number or None, got 0"),
        ({"sigma": float("inf")}, "sigma must be a positive number or None, got inf"),
        ({"locality": -1}, "locality must be at least 0, got -1"),
        ({"epsilon": float("nan")}, "epsilon must be a number of at least 0, got nan"),
        ({"k_min": 0}, "k_min must be at least 1, got 0"),
        ({"shortlist": 0}, "shortlist must be at least 1, got 0"),
        ({"candidates": "worst"}, "candidates must be 'best' or 'all', got 'worst'"),
        ({"anchor_weight": 1.1}, "anchor_weight must be in 0…1, got 1.1"),
        ({"seed_size": 0}, "seed_size must be at least 1, got 0"),
        ({"stage_pixels": 0}, "stage_pixels must be at least 1 or None, got 0"),
        ({"sweeps": 1001}, "sweeps must be in 0…1000, got 1001"),
        ({"size": (0, 4)}, "each of size must be at least 1, got 0"),
        ({"flip": 0.6}, "flip must be in 0…0.5, got 0.6"),
        ({"sigma": 10**400}, "sigma must be a positive number or None, got 1000"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Config(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 9.0}, "window must be a whole number, got 9.0"),
        ({"k_min": True}, "k_min must be a whole number, got True"),
        ({"epsilon": "0.1"}, "epsilon must be a number, got '0.1'"),
        ({"epsilon": None}, "epsilon must be a number, got None"),
        ({"seed_at": (1,)}, r"seed_at must be whole numbers \(y, x\), got \(1,\)"),
        ({"exclude_seed_image": 1}, "exclude_seed_image must be of type bool, got int"),
    ],
)
def test_bad_types_are_named(values, message):
    with pytest.raises(TypeError, match=message):
        Config(**values)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="config must be made of window, sigma, .*, got 'widow'"):
        Config.from_json({"widow": 9})


@given(
    window=st.integers(1, 20).map(lambda half: 2 * half + 1),
    sigma=st.none() | st.floats(1e-3, 1e3),
    epsilon=st.floats(0, 10),
    seed_at=st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
def test_json_goes_both_ways(window, sigma, epsilon, seed_at):
    config = Config(window=window, sigma=sigma, epsilon=epsilon, seed_at=seed_at)
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_numpy_numbers_become_plain_ones():
    config = Config(window=np.int64(7), epsilon=np.float32(0.25), seed_at=[np.int32(1), 2])
    assert config == Config(window=7, epsilon=0.25, seed_at=(1, 2))
    json.dumps(config.to_json())


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().window = 3


def test_the_seed_is_centred():
    assert Config().seed_rect(28, 28) == (10, 10, 8, 8)
    assert Config(seed_size=3, seed_at=(0, 5)).seed_rect(8, 8) == (0, 5, 3, 3)
