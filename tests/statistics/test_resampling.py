"""Draws of people and shuffles of their labels, against the metric of the resampled or relabelled table."""

import numpy as np
import pytest
from scipy import stats
from synthetic_queries import auc_of_halves, draw_queries

from ppe.statistics.intervals import bootstrap_identities
from ppe.statistics.metrics import METRICS, compute_auc, compute_average_precision, compute_tpr_at_fpr
from ppe.statistics.resampling import permute_identities, resample_identities


@pytest.mark.parametrize("member_groups", ["ab", "a"])
@pytest.mark.parametrize("metric", METRICS[:3])
def test_a_resample_is_the_metric_of_the_resampled_table(metric, member_groups):
    queries = draw_queries(num_identities=11, unequal=True, digits=1, member_groups=member_groups)
    value, samples = resample_identities(queries, metric, num_resamples=20, seed=3)
    compute = {
        "auc": compute_auc,
        "average_precision": compute_average_precision,
        "tpr_at_fpr_1e-1": lambda score, is_member: compute_tpr_at_fpr(score, is_member, 0.1, 11),
    }[metric]

    def compute_pooled(table):
        return np.mean([compute(part["score"], part["is_member"]) for _, part in table.groupby("member_group")])

    assert value == pytest.approx(compute_pooled(queries), abs=1e-12)
    rng = np.random.default_rng(3)
    people = np.unique(queries["identity"])  # those of group a come first
    counts = np.concatenate([rng.multinomial(11, np.full(11, 1 / 11), 20) for _ in "ab"], axis=1)
    for sample, count in zip(samples, counts, strict=True):
        times = queries["identity"].map(dict(zip(people, count, strict=True)))
        assert sample == pytest.approx(compute_pooled(queries.loc[np.repeat(queries.index, times)]), abs=1e-12)


def test_halves_are_averaged_never_concatenated():
    queries = draw_queries()
    moved = queries.assign(score=queries["score"] + 100 * (queries["member_group"] == "b"))  # GAN b's scores are larger
    assert resample_identities(moved)[0] == pytest.approx(auc_of_halves(queries), abs=1e-12)
    np.testing.assert_allclose(resample_identities(moved)[1], resample_identities(queries)[1], atol=1e-12)


def test_both_gans_are_resampled_together():
    # What makes a person score high under both GANs lifts one half's AUC and lowers the other's: it cancels if joint.
    rng = np.random.default_rng(0)
    queries = draw_queries(num_identities=30, effect=0)
    of_person = {identity: 5 * rng.normal() for identity in np.unique(queries["identity"])}
    queries["score"] = queries["identity"].map(of_person) + 0.01 * rng.normal(size=len(queries))
    spread = {member_group: resample_identities(part)[1].std() for member_group, part in queries.groupby("member_group")}
    assert resample_identities(queries)[1].std() < 0.05 * min(spread.values())


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


@pytest.mark.parametrize("seed", range(8))
def test_a_permuted_value_is_the_auc_of_the_relabelled_table(seed):
    queries = draw_queries(num_identities=2, photos=2, unequal=True, digits=1, effect=1, seed=seed)
    people = np.unique(queries["identity"])
    observed, reached = auc_of_halves(queries), []
    for members in [set(people[[i, j]]) for i in range(4) for j in range(i)]:  # all six ways to name two of four as a
        is_in_a = queries["identity"].isin(members)
        reached.append(auc_of_halves(queries.assign(is_member=is_in_a == (queries["member_group"] == "a"))) >= observed - 1e-9)
    row = permute_identities(queries, num_permutations=20_000)
    assert row["value"] == pytest.approx(observed, abs=1e-12)
    assert row["p_value"] == pytest.approx(np.mean(reached), abs=0.015)


@pytest.mark.parametrize("member_groups", ["ab", "a"])
def test_p_values_are_uniform_under_the_null(member_groups):
    p_values = [
        permute_identities(draw_queries(10, 3, 0, seed, member_groups, unequal=True), num_permutations=199, seed=seed)["p_value"]
        for seed in range(300)
    ]
    print(f"share under 0.05: {np.mean(np.array(p_values) <= 0.05):.3f}")
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert stats.binomtest(int(np.sum(np.array(p_values) <= 0.05)), 300, 0.05).pvalue > 0.001


def test_a_leak_has_a_small_p_value():
    assert permute_identities(draw_queries(num_identities=20, effect=2), num_permutations=999)["p_value"] == 0.001
