"""The plan of a run of pixels: what does not fit is refused before any work, and stages cover every pixel once."""

import numpy as np
import pytest

import npgen
from npgen.sampling import PixelPlan

CONFIG = npgen.Config(window=5, shortlist=20, seed_size=4)


@pytest.mark.parametrize("model", ["full", "local", "texture", "semantic", "class"])
@pytest.mark.parametrize("changes", [{}, {"anchor_weight": 1.0}, {"stage_pixels": 7}, {"sweeps": 2}])
def test_stages_cover_each_pixel_once_in_each_sweep(digits, model, changes):
    plan = PixelPlan(digits, model, npgen.Config(**{**CONFIG.to_json(), **changes}), seed=1)
    for sweep in range(1 + plan.config.sweeps):
        pixels = np.concatenate([pixels for number, pixels in plan.stages() if number == sweep])
        assert len(pixels) == plan.drawn == 16 * 16 - 4 * 4
        assert len(np.unique(pixels[:, 0] * 16 + pixels[:, 1])) == plan.drawn


def test_one_query_serves_all_stages_where_the_anchor_decides(digits):
    plan = PixelPlan(digits, "full", npgen.Config(window=5, shortlist=20, seed_size=4, anchor_weight=1.0), seed=1)
    assert plan.query_count == 1
    blended = npgen.Config(window=5, shortlist=20, seed_size=4, anchor_weight=0.5)
    plan = PixelPlan(digits, "full", blended, seed=1)
    assert plan.query_count == len(plan.order.stages) - 1


@pytest.mark.parametrize(
    ("model", "config", "message"),
    [
        ("huge", CONFIG, "model must be one of 'full', "),
        ("full", npgen.Config(window=5, shortlist=60, seed_size=4), "shortlist must be in 1..=59 .*got 60"),
        ("full", npgen.Config(window=5, size=(8, 8)), r"size must be \(16, 16\) or None, .*got \(8, 8\)"),
        ("semantic", npgen.Config(window=5, shortlist=9, tolerance="corpus"), "tolerance must be .candidates. for"),
        ("full", npgen.Config(window=5, shortlist=9, gamma=2), "gamma must be None without tokens, got 2"),
        (
            "local",
            npgen.Config(window=5, seed_size=20),
            "seed rectangle must be inside the 16×16 frame, got ",
        ),
    ],
)
def test_what_does_not_fit_is_refused(digits, model, config, message):
    with pytest.raises(ValueError, match=message):
        PixelPlan(digits, model, config, seed=1)


def test_a_lone_image_is_refused(digits):
    with pytest.raises(ValueError, match="corpus must be at least 2 images, as the seed's own is barred, got 1"):
        PixelPlan(npgen.Corpus.from_arrays(digits.images[:1]), "local", CONFIG, seed=1)
