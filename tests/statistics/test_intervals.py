"""Intervals: their coverage, their ends, and the differences between attacks and between sizes."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from synthetic_queries import compute_pooled_auc, draw_queries

from ppe.statistics.intervals import (
    bootstrap_identities,
    compare_attacks,
    compare_ceiling,
    compare_runs,
    evaluate_groups,
)
from ppe.statistics.metrics import METRICS
from ppe.statistics.resampling import resample_identities


def test_the_interval_depends_on_the_seed_and_not_on_the_order_of_rows():
    queries = draw_queries(unequal=True)
    shuffled = queries.sample(frac=1, random_state=0)
    for metric in METRICS[:3]:
        row = bootstrap_identities(queries, metric, num_resamples=50)
        assert bootstrap_identities(shuffled, metric, num_resamples=50) == pytest.approx(row, abs=1e-12)
        assert bootstrap_identities(queries, metric, num_resamples=50) == row
        assert bootstrap_identities(queries, metric, num_resamples=50, seed=1) != row


def test_copied_photos_do_not_narrow_the_interval():
    queries = draw_queries(num_identities=12, photos=1)
    row, copied = (bootstrap_identities(pd.concat([queries] * n, ignore_index=True)) for n in (1, 10))
    assert copied == pytest.approx(row, abs=1e-9)


def test_the_interval_covers_the_truth():
    effect, num_identities, photos = 1.0, 15, 3
    truth = stats.norm.cdf(effect / 2)  # difference of two scores: variance 2 x (1 + 1)
    rows = [bootstrap_identities(draw_queries(num_identities, photos, effect, seed), num_resamples=200) for seed in range(150)]
    covered = np.mean([row["low"] <= truth <= row["high"] for row in rows])
    print(f"covered {covered:.3f} of {len(rows)}, width {np.mean([row['high'] - row['low'] for row in rows]):.3f}")
    assert stats.binomtest(int(covered * len(rows)), len(rows), 0.95).pvalue > 0.001
    assert all(0 < row["low"] < row["value"] < row["high"] < 1 for row in rows)
    assert list(rows[0]) == ["metric", "value", "low", "high", "num_members", "num_non_members"]


def test_photos_are_compared_within_an_identity_where_identities_have_both_roles():
    train, unseen = draw_queries(seed=1), draw_queries(seed=2)
    train["score"] += 10 * pd.factorize(train["identity"])[0] + 1.0  # identities far apart, training photos a little higher
    unseen["score"] += 10 * pd.factorize(unseen["identity"])[0]
    queries = pd.concat([train.assign(is_member=True), unseen.assign(is_member=False)], ignore_index=True)
    queries = queries[queries["identity"].str[0] == queries["member_group"]]  # photo_given_identity
    row = bootstrap_identities(queries)
    within = queries.groupby(["member_group", "identity"]).apply(lambda p: roc_auc_score(p["is_member"], p["score"]))
    assert row["value"] == pytest.approx(within.mean(), abs=1e-12), "photos of two identities are never compared"
    assert row["low"] < row["value"] < row["high"] and row["value"] > compute_pooled_auc(queries) + 0.1


@pytest.mark.parametrize("num_identities", [10, 20, 40])
def test_values_of_1_and_0_have_a_one_sided_bound(num_identities):
    right = draw_queries(num_identities, effect=1000)
    bound = stats.binomtest(num_identities, num_identities, alternative="greater").proportion_ci(0.95).low  # Clopper-Pearson
    for metric in ("auc", "tpr_at_fpr_1e-1"):
        row = bootstrap_identities(right, metric, num_resamples=50)
        assert row["value"] == row["high"] == 1 and row["low"] == pytest.approx(bound, abs=1e-12)
        row = bootstrap_identities(right.assign(score=-right["score"]), metric, num_resamples=50)
        assert row["value"] == row["low"] == 0 and row["high"] == pytest.approx(1 - bound, abs=1e-12)
    assert bootstrap_identities(right, "average_precision")["value"] == pytest.approx(1, abs=1e-12)
    assert np.isnan(bootstrap_identities(right, "average_precision")["low"])


@pytest.mark.filterwarnings("error")
def test_equal_scores_and_few_identities_have_no_interval():
    equal = draw_queries().assign(score=3.0)
    row = bootstrap_identities(equal)
    assert row["value"] == 0.5 and np.isnan([row["low"], row["high"]]).all()
    few = bootstrap_identities(draw_queries(num_identities=9))
    assert 0 < few["value"] < 1 and np.isnan([few["low"], few["high"]]).all() and few["num_members"] == 9
    for queries in (draw_queries(num_identities=1), draw_queries(num_identities=1, photos=1)):
        assert 0 <= bootstrap_identities(queries)["value"] <= 1
        assert evaluate_groups(queries, METRICS, num_resamples=20, num_permutations=20)["low"].isna().all()
    alone = draw_queries(num_identities=1).query("identity == 'a00'")  # a member for generator A, a non-member for B
    table = evaluate_groups(alone, METRICS, num_resamples=20, num_permutations=20)
    assert table[["value", "low", "high", "p_value"]].isna().all(axis=None)
    assert table.query("member_group == 'pooled'")["num_members"].eq(0).all()


def test_a_tpr_is_not_reported_below_the_resolution_of_its_fpr():
    queries = draw_queries(num_identities=99, photos=2, member_groups="a")
    assert np.isfinite(bootstrap_identities(queries, "tpr_at_fpr_1e-1", num_resamples=10)["value"])
    assert np.isnan(bootstrap_identities(queries, "tpr_at_fpr_1e-2", num_resamples=10)["value"])


def test_unknown_names_and_numbers_are_refused():
    with pytest.raises(ValueError, match="metric='AUC' is not one of"):
        bootstrap_identities(draw_queries(), "AUC")
    with pytest.raises(ValueError, match="confidence=95"):
        bootstrap_identities(draw_queries(), confidence=95)


def test_evaluate_groups_gives_a_row_for_each_member_group_and_the_mean():
    queries = draw_queries(num_identities=13, effect=1)
    table = evaluate_groups(queries, ("auc", "tpr_at_fpr_1e-1"), num_resamples=100, num_permutations=100)
    columns = ["member_group", "metric", "value", "low", "high", "p_value", "num_members", "num_non_members"]
    assert list(table.columns) == columns and len(table) == 6
    for _, rows in table.groupby("metric"):
        value = rows.set_index("member_group")["value"]
        assert value["pooled"] == pytest.approx((value["a"] + value["b"]) / 2, abs=1e-12)
    assert table["num_members"].eq(13).all() and table["num_non_members"].eq(13).all()
    assert table[table["metric"] == "auc"]["p_value"].notna().all()
    assert table[table["metric"] != "auc"]["p_value"].isna().all()


def test_one_generator_for_both_member_groups_is_not_pooled():
    one = draw_queries(effect=0).query("member_group == 'a'")
    mirror = one.assign(member_group="b", is_member=~one["is_member"])
    both = pd.concat([one, mirror], ignore_index=True)
    assert resample_identities(both)[0] == pytest.approx(0.5, abs=1e-12)  # for every generator
    table = evaluate_groups(both, pooled=False, num_resamples=100, num_permutations=100).set_index("member_group")
    assert list(table.index) == ["a", "b"]
    assert table["value"].sum() == pytest.approx(1, abs=1e-12)
    assert table.loc["a", "low"] == pytest.approx(1 - table.loc["b", "high"], abs=1e-9)


def test_the_difference_of_attacks_is_paired():
    first = draw_queries(num_identities=20, effect=1)
    rng = np.random.default_rng(5)
    second = first.assign(score=first["score"] + 0.2 * rng.normal(size=len(first)))
    row = compare_attacks(first, second)
    assert row["metric"] == "auc_difference"
    assert row["value"] == pytest.approx(compute_pooled_auc(first) - compute_pooled_auc(second), abs=1e-12)
    unpaired = compare_runs(first, second)
    assert row["high"] - row["low"] < 0.5 * (unpaired["high"] - unpaired["low"])
    back = compare_attacks(second, first)
    assert (back["low"], back["high"]) == pytest.approx((-row["high"], -row["low"]), abs=1e-12)
    same = compare_attacks(first, first)
    assert same["value"] == 0 and np.isnan(same["low"])
    with pytest.raises(ValueError, match="differ in the column 'identity'"):
        compare_attacks(first, second.sort_values(["member_group", "is_member"]))


def test_the_difference_of_sizes_adds_the_two_uncertainties():
    small, large = draw_queries(10, 4, 2, seed=1), draw_queries(40, 4, 0.5, seed=2)
    row, one, two = compare_runs(small, large), bootstrap_identities(small), bootstrap_identities(large)
    assert row["value"] == one["value"] - two["value"]
    assert row["low"] < row["value"] < row["high"]
    widths = [r["high"] - r["low"] for r in (one, two)]
    assert max(widths) < row["high"] - row["low"] < sum(widths)
    assert (row["num_members"], row["num_non_members"]) == (10, 10)
    assert np.isnan(compare_runs(draw_queries(9), large)["low"])
    all_right = compare_runs(draw_queries(10, 4, 1000), large)
    assert np.isfinite(all_right["low"]) and all_right["high"] == pytest.approx(1 - two["low"], abs=1e-12)


def test_a_run_of_value_1_adds_the_arm_of_a_two_sided_interval_to_the_difference():
    right, large = draw_queries(10, 4, 1000), draw_queries(40, 4, 0.5, seed=2)
    row, two = compare_runs(right, large), bootstrap_identities(large)
    assert bootstrap_identities(right)["low"] == pytest.approx(0.05 ** (1 / 10)), "alone it has one end, with 5 % beyond it"
    assert row["low"] == pytest.approx(row["value"] - np.hypot(1 - 0.025 ** (1 / 10), two["high"] - two["value"]))
    back = compare_runs(large, right)
    assert (back["low"], back["high"]) == pytest.approx((-row["high"], -row["low"]))
    both = compare_runs(right, draw_queries(20, 4, 1000, seed=3))
    assert both["value"] == 0 and both["low"] == pytest.approx(0.025 ** (1 / 10) - 1)
    assert both["high"] == pytest.approx(1 - 0.025 ** (1 / 20))


def test_speed_of_two_thousand_resamples():
    queries = draw_queries(num_identities=50, photos=10)
    seconds = {}
    for metric in METRICS[:3]:
        start = time.perf_counter()
        bootstrap_identities(queries, metric, num_resamples=2000)
        seconds[metric] = time.perf_counter() - start
    print({metric: f"{value:.2f} s" for metric, value in seconds.items()})
    assert seconds["auc"] < 2 and max(seconds.values()) < 12  # 500 resamples of the others in 3 s


def test_a_leak_is_a_share_of_its_ceiling():
    queries = draw_queries(effect=1.0)
    ceiling = queries.assign(score=queries.score + 3 * queries.is_member)
    row = compare_ceiling(queries, ceiling, num_resamples=300)
    expected = (compute_pooled_auc(queries) - 0.5) / (compute_pooled_auc(ceiling) - 0.5)
    assert row["metric"] == "leak_share" and row["value"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"]
    assert compare_ceiling(queries, queries, num_resamples=300)["value"] == pytest.approx(1)
    nothing = compare_ceiling(queries, queries.assign(score=0.0), num_resamples=50)
    assert np.isnan(nothing["value"]) and np.isnan(nothing["low"]), "a ceiling at chance is no ceiling"
