"""Scores compared with known answers, brute force and torch-fidelity; their intervals with how many sets vary."""

from __future__ import annotations

import numpy as np
import pytest

from npgen.evaluation import metrics
from npgen.evaluation.metrics import (
    FrechetReference,
    KernelReference,
    Moments,
    NeighbourReference,
    estimate,
    groups_of,
    inception_score,
    without_each,
)

# --- Inception Score and Fréchet distance -------------------------------------------------------------------------


def frechet_distance(first, second):
    return FrechetReference(second).distance(first)


@pytest.mark.parametrize("classes", [2, 7])
def test_inception_score_of_sure_and_even_classes_is_their_number(classes):
    assert inception_score(np.tile(np.eye(classes), (3, 1))) == pytest.approx(classes, rel=1e-12)


def test_inception_score_of_equal_rows_is_one():
    assert inception_score(np.tile([0.7, 0.3, 0.0], (5, 1))) == pytest.approx(1, rel=1e-12)


def test_inception_score_of_two_rows_by_hand():
    rows = np.array([[0.9, 0.1], [0.4, 0.6]])
    mean = [0.65, 0.35]
    kl = [sum(p * np.log(p / q) for p, q in zip(row, mean, strict=True)) for row in rows]
    assert inception_score(rows) == pytest.approx(np.exp(np.mean(kl)), rel=1e-12)


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form():
    mean1, mean2 = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    deviation1, deviation2 = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 1.0])
    expected = ((mean1 - mean2) ** 2).sum() + ((deviation1 - deviation2) ** 2).sum()
    found = frechet_distance((mean1, np.diag(deviation1**2)), (mean2, np.diag(deviation2**2)))
    assert found == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_does_not_depend_on_the_axes():
    random = np.random.default_rng(0)
    turn, _ = np.linalg.qr(random.normal(size=(6, 6)))
    values1, values2 = random.uniform(0, 4, (2, 6))
    expected = ((np.sqrt(values1) - np.sqrt(values2)) ** 2).sum()
    zero = np.zeros(6)
    found = frechet_distance((zero, turn * values1 @ turn.T), (zero, turn * values2 @ turn.T))
    assert found == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_equals_scipys_matrix_root():
    linalg = pytest.importorskip("scipy.linalg", reason="extra `eval` is not installed")
    random = np.random.default_rng(1)
    (mean1, one), (mean2, two) = ((random.normal(size=5), root @ root.T) for root in random.normal(size=(2, 5, 9)))
    expected = ((mean1 - mean2) ** 2).sum() + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)
    assert frechet_distance((mean1, one), (mean2, two)) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_few_images_to_themselves_is_zero():
    features = np.random.default_rng(2).normal(3, 5, (4, 64)).astype(np.float32)  # covariance of rank 3
    gaussian = Moments.of(features).gaussian()
    assert frechet_distance(gaussian, gaussian) == pytest.approx(0, abs=1e-6 * np.trace(gaussian[1]))
    shifted = (gaussian[0] + 1, gaussian[1])
    assert frechet_distance(gaussian, shifted) == pytest.approx(64, rel=1e-6)


# --- KID, precision and recall ------------------------------------------------------------------------------------


def clouds(n=60, m=45, width=6, seed=3):
    random = np.random.default_rng(seed)
    return random.normal(0.3, 1.2, (n, width)).astype(np.float32), random.normal(0, 1, (m, width)).astype(np.float32)


def brute_kid(x, y):
    x, y = x.astype(float), y.astype(float)

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_of_pairs(k):
        return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))

    return mean_of_pairs(kernel(x, x)) + mean_of_pairs(kernel(y, y)) - 2 * kernel(x, y).mean()


def brute_inside(points, others):
    """Whether each point lies in the ball of one of `others` that reaches to its third neighbour."""
    radius = np.sort(np.linalg.norm(others[:, None] - others, axis=2), axis=1)[:, 3]
    return (np.linalg.norm(points[:, None] - others, axis=2) <= radius).any(1)


@pytest.mark.parametrize("rows", [7, 1024])
def test_kid_and_its_left_out_values_equal_brute_force(rows, monkeypatch):
    monkeypatch.setattr(metrics, "ROWS", rows)
    x, y = clouds()
    groups = groups_of(len(x), 0)
    value, left_out = KernelReference(y).kid(x, groups)
    assert value == pytest.approx(brute_kid(x, y), rel=1e-10)
    assert left_out == pytest.approx([brute_kid(x[groups != group], y) for group in range(20)], rel=1e-10)


@pytest.mark.parametrize("rows", [7, 1024])
def test_precision_and_recall_equal_brute_force(rows, monkeypatch):
    monkeypatch.setattr(metrics, "ROWS", rows)
    x, y = clouds(width=2)
    x = x + np.float32(3)  # some of each lie outside the other
    groups = groups_of(len(x), 0)
    (precision, precise), (recall, recalled) = NeighbourReference(y).precision_recall(x, groups)
    inside = brute_inside(x.astype(float), y.astype(float))
    assert precision == inside.mean()
    assert recall == brute_inside(y.astype(float), x.astype(float)).mean()
    assert precise == pytest.approx([inside[groups != group].mean() for group in range(20)])
    assert (recalled <= recall).all() and (recalled < recall).any()
    assert recall < 1 and precision < 1


def test_reference_smaller_than_a_neighbourhood():
    x, y = clouds(4, 2)
    (precision, _), (recall, _) = NeighbourReference(y).precision_recall(x, groups_of(4, 0))
    assert 0 <= precision <= 1 and 0 <= recall <= 1


# --- torch-fidelity -----------------------------------------------------------------------------------------------


def test_scores_equal_torch_fidelitys():
    reason = "extra `eval` is not installed"
    torch = pytest.importorskip("torch")
    isc = pytest.importorskip("torch_fidelity.metric_isc", reason=reason)
    fid = pytest.importorskip("torch_fidelity.metric_fid", reason=reason)
    kid = pytest.importorskip("torch_fidelity.metric_kid", reason=reason)
    prc = pytest.importorskip("torch_fidelity.metric_prc", reason=reason)
    x, y = clouds(200, 200, 8)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    theirs = isc.isc_features_to_metric(a, splits=1)["inception_score_mean"]
    assert inception_score(a.double().softmax(1).numpy()) == pytest.approx(theirs, rel=1e-9)
    statistics = (fid.fid_features_to_statistics(part.double()) for part in (a, b))
    theirs = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(Moments.of(x).gaussian(), Moments.of(y).gaussian()) == pytest.approx(theirs, rel=1e-9)
    theirs = kid.kid_features_to_metric(a.double(), b.double(), kid_subsets=1, kid_subset_size=200, verbose=False)
    groups = groups_of(200, 0)
    assert KernelReference(y).kid(x, groups)[0] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    theirs = prc.prc_features_to_metric(a.double(), b.double(), verbose=False)
    (precision, _), (recall, _) = NeighbourReference(y).precision_recall(x, groups)
    assert (precision, recall) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-7)  # theirs is float32


# --- Intervals ----------------------------------------------------------------------------------------------------


def test_students_quantiles():
    for freedom, quantile in ((3, 3.1824), (5, 2.5706), (19, 2.0930), (49, 2.0096), (1000, 1.9623)):
        assert metrics._student(freedom) == pytest.approx(quantile, rel=0.01 if freedom < 19 else 1e-4)


def test_the_estimate_of_a_mean_is_the_textbook_interval():
    values = np.random.default_rng(4).normal(5, 2, 400)
    left_out = without_each(lambda keep: float(values[keep].mean()), np.arange(400))
    one = estimate([values.mean()], [left_out])
    assert one.value == values.mean() and one.value - one.low == pytest.approx(one.high - one.value)
    assert one.high - one.value == pytest.approx(1.966 * values.std(ddof=1) / 20, rel=1e-3)
    two = estimate([values.mean()] * 2, [left_out] * 2)
    assert two.high - two.low == pytest.approx((one.high - one.low) / 2**0.5, rel=0.01)


def test_groups_are_even_and_of_the_seed():
    groups = groups_of(207, 1)
    assert set(np.bincount(groups)) == {10, 11} and groups.max() == 19
    np.testing.assert_array_equal(groups, groups_of(207, 1))
    assert (groups != groups_of(207, 2)).any()
    assert sorted(groups_of(5, 0)) == [0, 1, 2, 3, 4]


def test_intervals_are_as_wide_as_sets_vary():
    """The jackknife's standard deviation, from one set, is near that over many sets."""
    random = np.random.default_rng(5)
    width, n, sets = 16, 200, 60
    scale = np.linspace(2, 0.3, width)
    reference = FrechetReference((np.zeros(width), np.eye(width)))
    others = random.normal(size=(n, width)).astype(np.float32)
    kernel, neighbours = KernelReference(others), NeighbourReference(others)
    values, deviations = [], []
    for _ in range(sets):
        features = (random.normal(0.2, 1, (n, width)) * scale).astype(np.float32)
        groups = groups_of(n, 0)

        def frechet(keep=None, features=features):
            return reference.distance(Moments.of(features, keep).gaussian())

        found = [(frechet(), without_each(frechet, groups)), kernel.kid(features, groups)]
        found += neighbours.precision_recall(features, groups)
        values.append([value for value, _ in found])
        deviations.append([np.sqrt((len(left) - 1) * left.var()) for _, left in found])
    spread = np.std(values, axis=0, ddof=1)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(deviations), 0)), spread, rtol=0.3)
