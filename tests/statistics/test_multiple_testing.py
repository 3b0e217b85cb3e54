"""Holm's correction: by hand, by the sequential procedure that it stands for, and by simulation."""

import numpy as np
import pytest

from ppe.statistics.multiple_testing import adjust_holm


def test_examples_by_hand():
    """4 x 0.005, then 3 x 0.01, then 2 x 0.03 and, since it must not fall, that for 0.04, too. Then what R's p.adjust and
    statsmodels' multipletests give of the same five values."""
    assert adjust_holm([0.01, 0.02, 0.03, 0.04, 0.05]).tolist() == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("seed", range(5))
def test_it_rejects_what_the_sequential_procedure_rejects(seed):
    """Holm's own words: reject while the k-th smallest of m is at most alpha / (m - k + 1)."""
    p_values = np.random.default_rng(seed).beta(0.3, 1, size=12).round(3)
    for alpha in (0.01, 0.05, 0.2):
        rejected = np.zeros(12, bool)
        for k, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] > alpha / (12 - k):
                break
            rejected[index] = True
        assert ((adjust_holm(p_values) <= alpha + 1e-12) == rejected).all()


def test_ends():
    assert adjust_holm([]).size == 0 and adjust_holm([0.03]).tolist() == [0.03] and adjust_holm([1.0, 0.9]).tolist() == [1, 1]
    assert adjust_holm([0.02, np.nan, 0.01]).tolist() == pytest.approx([0.02, np.nan, 0.02], nan_ok=True)
    assert np.isnan(adjust_holm([np.nan])).all() and adjust_holm([0.0, 0.0]).tolist() == [0, 0]
    assert adjust_holm([0.01] * 3).tolist() == pytest.approx([0.03] * 3), "equal ones stay equal"
    for wrong in ([1.1], [-0.1, 0.5]):
        with pytest.raises(ValueError, match="not all in"):
            adjust_holm(wrong)


def test_the_chance_of_one_false_rejection_is_at_most_the_level():
    p_values = np.random.default_rng(0).random((4000, 8))
    dependent = np.repeat(p_values[:, :2], 4, axis=1)
    for drawn in (p_values, dependent):
        share = np.mean([adjust_holm(row).min() <= 0.05 for row in drawn])
        assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
