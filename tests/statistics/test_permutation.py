"""Permutation tests over identities, against the AUC of the relabelled table."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from synthetic_queries import compute_pooled_auc, draw_queries

from ppe.statistics.permutation import permute_identities, permute_often


@pytest.mark.parametrize("seed", range(8))
def test_a_permuted_value_is_the_auc_of_the_relabelled_table(seed):
    queries = draw_queries(num_identities=2, photos=2, unequal=True, digits=1, effect=1, seed=seed)
    identities = np.unique(queries["identity"])
    observed, reached = compute_pooled_auc(queries), []
    for members in [set(identities[[i, j]]) for i in range(4) for j in range(i)]:  # all six choices of group A
        is_in_a = queries["identity"].isin(members)
        permuted = queries.assign(is_member=is_in_a == (queries["member_group"] == "a"))
        reached.append(compute_pooled_auc(permuted) >= observed - 1e-9)
    row = permute_identities(queries, num_permutations=20_000)
    assert row["value"] == pytest.approx(observed, abs=1e-12)
    assert row["p_value"] == pytest.approx(np.mean(reached), abs=0.015)


@pytest.mark.parametrize("member_groups", ["ab", "a"])
def test_p_values_are_uniform_without_a_leak(member_groups):
    p_values = [
        permute_identities(draw_queries(10, 3, 0, seed, member_groups, unequal=True), num_permutations=199, seed=seed)["p_value"]
        for seed in range(300)
    ]
    print(f"share under 0.05: {np.mean(np.array(p_values) <= 0.05):.3f}")
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert stats.binomtest(int(np.sum(np.array(p_values) <= 0.05)), 300, 0.05).pvalue > 0.001


def test_a_leak_has_a_small_p_value():
    assert permute_identities(draw_queries(num_identities=20, effect=2), num_permutations=999)["p_value"] == 0.001


def test_photos_are_shuffled_within_an_identity_where_identities_have_both_roles():
    train, unseen = draw_queries(seed=1), draw_queries(seed=2)
    train["score"] += 10 * pd.factorize(train["identity"])[0] + 1.0  # identities far apart, training photos a little higher
    unseen["score"] += 10 * pd.factorize(unseen["identity"])[0]
    queries = pd.concat([train.assign(is_member=True), unseen.assign(is_member=False)], ignore_index=True)
    queries = queries[queries["identity"].str[0] == queries["member_group"]]
    assert permute_identities(queries, num_permutations=500)["p_value"] == 1 / 501
    nothing = queries.assign(score=np.random.default_rng(0).normal(size=len(queries)))
    assert permute_identities(nothing, num_permutations=500)["p_value"] > 0.02


def test_scores_at_the_ends_and_equal_scores():
    right = draw_queries(20, effect=1000)
    assert permute_identities(right, num_permutations=200)["p_value"] == 1 / 201
    assert permute_identities(right.assign(score=-right["score"]), num_permutations=200)["p_value"] > 0.95
    assert permute_identities(right.assign(score=3.0), num_permutations=50)["p_value"] == 1


def test_shuffled_labels_are_significant_as_often_as_the_level_says(monkeypatch):
    queries = draw_queries(effect=3.0)
    settings = {"num_shuffles": 100, "num_permutations": 99}
    row = permute_often(queries, **settings)
    assert row["metric"] == "permuted_share" and row["value"] <= 0.12 and row["low"] <= 0.05 <= row["high"]
    assert (row["num_members"], row["num_non_members"]) == (12, 12)
    assert row == permute_often(queries, **settings), "a function of the seed"

    def permute_photos(queries, *, num_permutations, seed):
        rng, score = np.random.default_rng(seed), queries["score"]
        values = [roc_auc_score(rng.permutation(queries["is_member"]), score) for _ in range(num_permutations)]
        reached = np.sum(np.array(values) >= roc_auc_score(queries["is_member"], score))
        return {"p_value": (1 + reached) / (1 + num_permutations)}

    monkeypatch.setattr("ppe.statistics.permutation.permute_identities", permute_photos)
    alike = draw_queries(effect=0.0, member_groups="a", photos=8)
    alike = alike.assign(score=alike.groupby("identity")["score"].transform("mean"))
    wrong = permute_often(alike, **{**settings, "num_permutations": 39})
    assert wrong["value"] > 0.12, "a test whose unit is the photo is significant too often"
