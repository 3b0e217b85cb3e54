"""The rows of a run, on scores whose AUC is known on paper."""

import numpy as np
import pandas as pd
import pytest
from synthetic_scores import RUN, make_photos, make_scores

from ppe.attacks.queries import select_queries
from ppe.evaluation.membership import compare_attack_rows, evaluate_scores, judge_control
from ppe.evaluation.tables import KEYS, choose_embedder, describe_constants, describe_rows
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
        assert set(pooled["aggregate"]) == {"", "mean", "largest", "majority"}
        assert set(pooled.membership) == {"identity_membership", "image_membership", "photo_given_identity"}
        share = rows[rows.metric == "leak_share"].set_index("versus").value
        assert set(share.index) == {"memorisation_ceiling", "held_out_ceiling"} and share.between(-0.6, 1.001).all()
        assert rows[rows.metric == "permuted_share"].value.iloc[0] < 0.12
        same = pooled[pooled.membership == "photo_given_identity"]
        assert (same.value == 0.5).all(), "all photos of a person score alike"


def test_a_control_that_tells_the_halves_apart_fails(photos, members):
    scores = make_scores(photos, 1.0)
    fine = evaluate_scores(scores, members, num_resamples=50, num_permutations=400, num_shuffles=50)
    assert not judge_control(fine, 0.01, "net")[0]
    scores.loc[(scores.face_set == "c") & (scores.group == "a"), "score"] += 50
    rows = evaluate_scores(scores, members, num_resamples=50, num_permutations=400, num_shuffles=50)
    failed, p_value = judge_control(rows, 0.01, "net")
    assert failed and p_value == pytest.approx(2 / 401), "two halves that mirror each other are asked twice"
    with pytest.raises(ValueError, match="has no p-value"):
        judge_control(rows[rows.control != "negative_control"], 0.01, "net")


def test_attacks_are_compared_with_identity_on_the_same_photos(photos, members):
    scores = make_scores(photos, 1.0)
    scores.loc[scores.attack == "pixel", "score"] *= -1
    row = compare_attack_rows(scores, members, num_resamples=100).iloc[0]
    assert (row.attack, row.versus) == ("pixel", "nearest") and row.metric == "auc_difference"
    one, two = (select_queries(scores[scores.attack == k], members, "identity_membership") for k in ("nearest", "pixel"))
    auc = [np.mean([compute_auc(p.score.to_numpy(), p.is_member.to_numpy()) for _, p in t.groupby("member_group")]) for t in (one, two)]
    assert row.value == pytest.approx(auc[1] - auc[0])


def test_a_weak_embedder_is_shown_but_gives_no_verdict():
    assert choose_embedder({"weak": 0.85, "sound": 0.93}) == ("sound", True)
    assert choose_embedder({"weak": 0.85, "weaker": 0.5}) == ("weak", False), "where none is sound, the first, and it is said"


def test_rows_of_the_effort_curve_keep_their_number_and_the_others_get_the_runs():
    rows = pd.DataFrame({"embedder": "net", "value": [0.5, 0.6], "num_generated": [np.nan, 100]})
    rows = rows.assign(**{c: "" for c in ("member_group", "metric", *KEYS[1:])}, low=0.0, high=1.0, num_members=9, num_non_members=9)
    assert list(describe_rows(rows, "r", RUN).num_generated) == [9, 100]


def test_the_constants_and_the_most_train_photos_stand_in_the_rows():
    constants = describe_constants({"epsilon": 0.4, "concentration": 16.0, "top_k": 20}, "net")
    rows = describe_rows(constants, "r", RUN).set_index("metric")
    assert rows.value.to_dict() == {"epsilon": 0.4, "concentration": 16.0, "top_k": 20.0} and set(rows.embedder) == {"net"}
    assert list(rows.attack) == ["monte_carlo", "density", "nearest_top_k"]
    assert set(rows.max_train_photos) == {RUN["train_photos"]}, "none is the same as train_photos"
    assert set(describe_rows(constants, "r", RUN | {"max_train_photos": 40}).max_train_photos) == {40}
