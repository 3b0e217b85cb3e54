"""The Fréchet distance of Gaussians whose distance is known."""

import numpy as np
import pytest
from scipy import stats

from ppe.frechet import compute_frechet_distance


def test_frechet_distance_of_diagonal_gaussians():
    rng = np.random.default_rng(0)
    mean1, mean2 = rng.normal(size=(2, 6))
    sd1, sd2 = rng.uniform(0, 2, size=(2, 6))
    sd1[0] = 0  # not of full rank
    expected = ((mean1 - mean2) ** 2).sum() + ((sd1 - sd2) ** 2).sum()
    distance = compute_frechet_distance(mean1, np.diag(sd1**2), mean2, np.diag(sd2**2))
    assert distance == pytest.approx(expected, rel=1e-9)
    turn = stats.ortho_group.rvs(6, random_state=0)  # a rotation of the space changes no distance
    turned = [turn @ mean1, turn @ np.diag(sd1**2) @ turn.T, turn @ mean2, turn @ np.diag(sd2**2) @ turn.T]
    assert compute_frechet_distance(*turned) == pytest.approx(expected, rel=1e-6)
    assert compute_frechet_distance(*turned[2:], *turned[:2]) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_a_set_to_itself_is_zero_also_with_few_samples():
    few = np.random.default_rng(0).normal(size=(5, 20))
    mean, cov = few.mean(0), np.cov(few.T)
    assert 0 <= compute_frechet_distance(mean, cov, mean, cov) < 1e-6
    assert compute_frechet_distance(mean, cov, mean + 2, cov) == pytest.approx(80, abs=1e-6)


def test_frechet_distance_refuses_wrong_shapes():
    with pytest.raises(ValueError, match="with one D"):
        compute_frechet_distance(np.zeros(3), np.eye(3), np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="not finite"):
        compute_frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), np.full((2, 2), np.nan))
