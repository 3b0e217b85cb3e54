"""Draws of identities, against the metric of the resampled table."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from synthetic_queries import compute_pooled_auc, draw_queries

from ppe.statistics.intervals import bootstrap_identities, evaluate_groups
from ppe.statistics.metrics import METRICS
from ppe.statistics.permutation import permute_identities
from ppe.statistics.resampling import draw_identities, resample_identities


def compute_tpr(is_member, score, fpr=0.1):
    false, found, _ = roc_curve(is_member, score, drop_intermediate=False)
    return found[false <= fpr].max()


COMPUTE = {"auc": roc_auc_score, "average_precision": average_precision_score, "tpr_at_fpr_1e-1": compute_tpr}


@pytest.mark.parametrize("member_groups", ["ab", "a"])
@pytest.mark.parametrize("metric", COMPUTE)
def test_a_resample_is_the_metric_of_the_resampled_table(metric, member_groups):
    queries = draw_queries(num_identities=11, unequal=True, digits=1, member_groups=member_groups)
    value, samples = resample_identities(queries, metric, num_resamples=20, seed=3)

    def compute_pooled(table):
        return np.mean([COMPUTE[metric](part["is_member"], part["score"]) for _, part in table.groupby("member_group")])

    assert value == pytest.approx(compute_pooled(queries), abs=1e-12)
    rng = np.random.default_rng(3)
    identities = np.unique(queries["identity"])  # those of group A come first
    counts = np.concatenate([rng.multinomial(11, np.full(11, 1 / 11), 20) for _ in "ab"], axis=1)
    for sample, count in zip(samples, counts, strict=True):
        times = queries["identity"].map(dict(zip(identities, count, strict=True)))
        assert sample == pytest.approx(compute_pooled(queries.loc[np.repeat(queries.index, times)]), abs=1e-12)


def test_draws_hold_as_many_identities_of_each_group_as_the_sample():
    counts = draw_identities(np.array([0, 1, 0, 1, 1]), 50, seed=2)
    assert counts.shape == (51, 5) and (counts[0] == 1).all()
    assert (counts[:, [0, 2]].sum(1) == 2).all() and (counts[:, [1, 3, 4]].sum(1) == 3).all()


def test_member_groups_are_averaged_and_never_concatenated():
    queries = draw_queries()
    moved = queries.assign(score=queries["score"] + 100 * (queries["member_group"] == "b"))  # larger scores by generator B
    assert resample_identities(moved)[0] == pytest.approx(compute_pooled_auc(queries), abs=1e-12)
    np.testing.assert_allclose(resample_identities(moved)[1], resample_identities(queries)[1], atol=1e-12)


def test_both_generators_are_resampled_together():
    # An identity with a high score under both generators raises one member group's AUC and lowers the other's. The effects cancel
    # if the draws are joint.
    rng = np.random.default_rng(0)
    queries = draw_queries(num_identities=30, effect=0)
    of_identity = {identity: 5 * rng.normal() for identity in np.unique(queries["identity"])}
    queries["score"] = queries["identity"].map(of_identity) + 0.01 * rng.normal(size=len(queries))
    spread = {member_group: resample_identities(part)[1].std() for member_group, part in queries.groupby("member_group")}
    assert resample_identities(queries)[1].std() < 0.05 * min(spread.values())


def keep_own(queries):
    """As ``photo_given_identity``: each member group holds its own people, every second photo of whom is a training photo."""
    own = queries[queries["identity"].str[0] == queries["member_group"]]
    return own.assign(is_member=own.groupby("identity").cumcount() % 2 == 0)


@pytest.mark.parametrize("choose", [lambda queries: queries, keep_own])
def test_an_identity_is_drawn_as_often_in_its_member_group_as_in_the_pooled_value(choose):
    queries = choose(draw_queries())
    pooled = resample_identities(queries, seed=3)[1]
    each = [resample_identities(part, seed=3, whole=queries)[1] for _, part in queries.groupby("member_group")]
    np.testing.assert_allclose(np.mean(each, axis=0), pooled, atol=1e-12)


def test_different_people_in_two_member_groups_do_not_share_their_draws():
    queries = keep_own(draw_queries())
    is_a = queries["member_group"] == "a"
    queries.loc[~is_a, "score"] = queries.loc[is_a, "score"].to_numpy()  # one group's scores in both
    parts = [part for _, part in queries.groupby("member_group")]
    apart, together = ([resample_identities(part, seed=3, whole=whole)[1] for part in parts] for whole in (None, queries))
    assert np.corrcoef(apart)[0, 1] > 0.99 and abs(np.corrcoef(together)[0, 1]) < 0.1
    rows = evaluate_groups(queries.assign(score=queries["score"].round(1)), num_resamples=200, num_permutations=200, seed=3)
    rows = rows.set_index("member_group")
    for number in ("low", "p_value"):
        assert rows[number]["a"] != rows[number]["b"], "of the same scores, by other random numbers"


def make_queries(score, is_member):
    """One photo an identity, in one member group."""
    return pd.DataFrame({"member_group": "a", "identity": np.arange(len(score)), "is_member": is_member, "score": score})


def compute_tpr_at_10_percent(score, is_member):
    return resample_identities(make_queries(score, is_member), "tpr_at_fpr_1e-1", num_resamples=0)[0]


def test_tpr_at_fpr_is_not_interpolated():
    score = np.array([9.0, 7, 5, 8, 4, 3, 2, 1, 0, -1, -2, -3, -4])
    is_member = np.arange(13) < 3  # ten non-members: thresholds at FPR 0, 0.1, 0.2 ...
    assert compute_tpr_at_10_percent(score, is_member) == 1
    score[4] = 6  # now the third member has a lower score than two non-members
    assert compute_tpr_at_10_percent(score, is_member) == 2 / 3


def test_a_tie_with_a_member_counts_as_a_false_positive():
    score, is_member = np.array([5.0, 5, 5, *range(-8, 0)]), np.arange(11) < 1  # the member ties with two of ten
    assert compute_tpr_at_10_percent(score, is_member) == 0
    score[1] = -9
    assert compute_tpr_at_10_percent(score, is_member) == 1


@pytest.mark.parametrize(("metric", "enough"), [("tpr_at_fpr_1e-1", 10), ("tpr_at_fpr_1e-2", 100)])
def test_identities_and_not_photos_resolve_a_low_fpr(metric, enough):
    assert resample_identities(draw_queries(enough, photos=3), metric, num_resamples=0)[0] >= 0
    assert np.isnan(resample_identities(draw_queries(enough - 1, photos=3), metric, num_resamples=0)[0])


@pytest.mark.parametrize("metric", METRICS)
def test_one_class_is_nan(metric):
    queries = make_queries(np.arange(3.0), np.ones(3, bool))
    assert np.isnan(resample_identities(queries, metric, num_resamples=2)[0])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda q: q.drop(columns="score"), r"no column \['score'\]"),
        (lambda q: q.assign(is_member=q["is_member"].astype(int)), "is_member is int64"),
        (lambda q: q.assign(score=np.inf), "scores are not finite"),
        (lambda q: q.assign(identity=q["identity"].where(q.index > 0)), "row without an identity"),
        (lambda q: q.query("member_group == 'a' or identity != 'a00'"), "3 different sets of roles"),
        (lambda q: q.head(0), "empty"),
    ],
)
def test_wrong_queries_are_refused_with_a_sentence(change, sentence):
    for judge in (bootstrap_identities, permute_identities):
        with pytest.raises(ValueError, match=sentence):
            judge(change(draw_queries()))
