"""AUC and ROC curve of one set of scores, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from synthetic_queries import draw_queries

from ppe.statistics.metrics import compute_auc, compute_roc
from ppe.statistics.resampling import resample_identities


def test_auc_by_hand():
    is_member = np.array([True, True, False, False])
    assert compute_auc([4.0, 2, 3, 1], is_member) == 0.75
    assert compute_auc([4.0, 3, 3, 1], is_member) == 0.875, "a tie is half a pair"
    assert compute_auc([4.0, 3, 2, 1], is_member) == 1
    assert compute_auc([1.0, 2, 3, 4], is_member) == 0
    assert compute_auc([7.0, 7, 7, 7], is_member) == 0.5


@pytest.mark.parametrize("digits", [None, 0])
def test_negated_scores_give_one_minus_auc(digits):
    queries = draw_queries(digits=digits)
    score, is_member = queries["score"], queries["is_member"]
    assert compute_auc(-score, is_member) == pytest.approx(1 - compute_auc(score, is_member), abs=1e-12)
    negated = queries.assign(score=-score)
    assert resample_identities(negated)[0] == pytest.approx(1 - resample_identities(queries)[0], abs=1e-12)


def test_agreement_with_scikit_learn():
    queries = draw_queries(digits=1)
    score, is_member = queries["score"], queries["is_member"]
    assert compute_auc(score, is_member) == roc_auc_score(is_member, score)
    roc = compute_roc(score, is_member)
    assert list(roc.columns) == ["fpr", "tpr", "threshold"]
    np.testing.assert_array_equal(roc.to_numpy().T, roc_curve(is_member, score, drop_intermediate=False))
    assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(compute_auc(score, is_member), abs=1e-12)


def test_one_class_is_nan():
    for is_member in ([True], [False], [True, True]):
        score = np.zeros(len(is_member))
        assert np.isnan(compute_auc(score, is_member)) and compute_roc(score, is_member).empty


def test_wrong_scores_are_refused():
    for score, is_member, sentence in (
        ([np.nan, 1], [True, False], "1 of 2 scores are not finite"),
        ([1.0], [True, False], "lists of one length"),
        ([1.0, 2], [1, 0], "is_member is int64, but bool is needed"),
    ):
        with pytest.raises(ValueError, match=sentence):
            compute_auc(score, is_member)
