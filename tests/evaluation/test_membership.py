"""The rows of a run, on scores whose AUC is known on paper."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score
from synthetic_scores import make_photos, make_scores

from ppe.attacks.selection import select_queries
from ppe.evaluation.membership import compare_attack_rows, evaluate_scores, judge_agreement, judge_control
from ppe.statistics.metrics import compute_auc


@pytest.fixture
def photos():
    return make_photos()


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def test_a_perfect_leak_and_no_leak(photos, members):
    for leak, low, high in ((50.0, 1.0, 1.0), (0.0, 0.2, 0.8)):
        rows = evaluate_scores(make_scores(photos, leak), members, num_resamples=100, num_permutations=100, num_shuffles=50)
        pooled = rows[(rows.member_group == "pooled") & (rows.metric == "auc") & (rows.control == "none")]
        assert pooled[pooled.membership != "photo_given_identity"].value.between(low, high).all()
        assert not ((rows.control == "negative_control") & (rows.member_group == "pooled")).any()
        assert set(pooled["aggregate"]) == {"", "mean", "largest"}
        assert set(pooled.membership) == {"identity_membership", "image_membership", "photo_given_identity"}
        share = rows[rows.metric == "leak_share"].set_index("versus").value
        assert set(share.index) == {"memorisation_ceiling", "held_out_ceiling"} and share.between(-0.6, 1.001).all()
        permuted = rows[rows.control == "permuted"]
        assert list(permuted.metric) == ["permuted_share"] and permuted.value.iloc[0] < 0.12
        same = pooled[pooled.membership == "photo_given_identity"]
        assert (same.value == 0.5).all(), "all photos of an identity have one score"


def test_a_negative_control_that_separates_the_groups_fails(photos, members):
    scores = make_scores(photos, 1.0)
    sound = evaluate_scores(scores, members, num_resamples=50, num_permutations=400, num_shuffles=50)
    assert not judge_control(sound, 0.01, "net")[0]
    scores.loc[(scores.face_set == "c") & (scores.group == "a"), "score"] += 50
    rows = evaluate_scores(scores, members, num_resamples=50, num_permutations=400, num_shuffles=50)
    failed, p_value = judge_control(rows, 0.01, "net")
    assert failed and p_value == pytest.approx(2 / 401), "two one-sided tests, one a group"
    with pytest.raises(ValueError, match="has no p-value"):
        judge_control(rows[rows.control != "negative_control"], 0.01, "net")


def test_attacks_are_compared_with_nearest_on_the_same_photos(photos, members):
    scores = make_scores(photos, 1.0)
    scores.loc[scores.attack == "pixel", "score"] *= -1
    row = compare_attack_rows(scores, members, num_resamples=100).iloc[0]
    assert (row.attack, row.versus) == ("pixel", "nearest") and row.metric == "auc_difference"
    one, two = (select_queries(scores[scores.attack == k], members, "identity_membership") for k in ("nearest", "pixel"))
    auc = [
        np.mean([compute_auc(part.score.to_numpy(), part.is_member.to_numpy()) for _, part in table.groupby("member_group")])
        for table in (one, two)
    ]
    assert row.value == pytest.approx(auc[1] - auc[0])


def test_a_calibrated_attack_is_compared_with_nearest_and_with_itself_uncalibrated(photos, members):
    scores = make_scores(photos, 1.0)
    nearest = scores[scores.attack == "nearest"]
    others = [nearest.assign(attack="nearest_top_k"), nearest.assign(attack="nearest_top_k_calibrated", calibration="cohort")]
    rows = compare_attack_rows(pd.concat([nearest, *others]), members, num_resamples=10)
    pairs = set(zip(rows.attack, rows.calibration, rows.versus, strict=True))
    assert pairs == {
        ("nearest_top_k", "", "nearest"), ("nearest_top_k_calibrated", "cohort", "nearest"),
        ("nearest_top_k_calibrated", "cohort", "nearest_top_k"),
    }  # fmt: skip


def draw_scores(photos, embedder="net", seed=0):
    """Scores of ``nearest`` with a leak, and noise of each photo."""
    rng = np.random.default_rng(seed)
    sets = [photos.assign(face_set=group, score=1.0 * (photos.group == group) + rng.normal(size=len(photos))) for group in "ab"]
    return pd.concat(sets, ignore_index=True).assign(embedder=embedder, attack="nearest", calibration="")


def test_the_agreement_of_two_embedders(photos, members):
    one, other = draw_scores(photos), draw_scores(photos, "other", seed=5)
    same = judge_agreement(pd.concat([one, one.assign(embedder="twin", score=2 * one.score + 1)]), members, 0.1)
    assert (same.embedder.iloc[0], same.versus.iloc[0], same.metric.iloc[0]) == ("net", "twin", "cohen_kappa")
    assert (same.value.iloc[0], same.low.iloc[0], same.high.iloc[0]) == pytest.approx((1.0, 1.0, 1.0))
    row = judge_agreement(pd.concat([one, other]), members, 0.1).iloc[0]
    kappas = []
    for group in "ab":
        verdicts = []
        for table in (one, other):
            queries = select_queries(table, members, "identity_membership")
            queries = queries[queries.member_group == group]
            allowed = np.sort(queries.score[~queries.is_member])[::-1][int(0.1 * (~queries.is_member).sum())]
            verdicts.append(queries.score > allowed)  # the share of non-members above this score is at most 0.1
        kappas.append(cohen_kappa_score(*verdicts))
    assert row.value == pytest.approx(np.mean(kappas)) and row.low < row.value < row.high
    assert len(judge_agreement(one, members, 0.1)) == 0, "one embedder has no pair"


def test_few_identities_have_a_kappa_without_an_interval_or_none(photos, members):
    few = photos[photos.identity.str[1:].astype(int) < 9]
    scores = pd.concat([draw_scores(few), draw_scores(few, "other", seed=5)])
    row = judge_agreement(scores, members, 0.2).iloc[0]
    assert np.isfinite(row.value) and np.isnan([row.low, row.high]).all(), "no interval below ten identities"
    assert np.isnan(judge_agreement(scores, members, 0.1).value.iloc[0]), "nine identities do not resolve an FPR of 0.1"
