"""Several seeds, or two sizes, as one number: by hand, against simulation, and at the ends."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_queries import compute_pooled_auc, draw_queries

from ppe.evaluation.shared_identities import _relate_pair, find_correlations
from ppe.statistics.intervals import bootstrap_identities, compare_runs
from ppe.statistics.permutation import permute_identities, permute_runs
from ppe.statistics.pooling import combine_p_values, compute_mean_p, correlate_runs, invert_interval, pool_values
from ppe.statistics.resampling import resample_identities, resample_together

PHOTOS = 5
OF_PERSON, OF_GENERATOR, OF_LEAK = 0.8, 0.6, 0.5
"""Spread, over that of photos, of a person's score under every generator, under one generator, and of how much a person leaks."""


def draw_seeds(sizes, num_people, effect, rng, of_leak=OF_LEAK):
    """Draw the queries of several seeds, whose identities are drawn from the same people, so that seeds share some of them.

    sizes : list of (seed, identities a group). Two sizes of one seed are nested, as in the study. Returns a list of DataFrame.
    """
    person, leak = OF_PERSON * rng.normal(size=num_people), of_leak * rng.normal(size=num_people)
    orders, tables = {seed: rng.permutation(num_people) for seed, _ in sizes}, []
    for seed, size in sizes:
        people = orders[seed][: 2 * size]
        group = np.arange(2 * size) % 2
        parts = []
        for number, member_group in enumerate("ab"):
            is_member = group == number
            own = person[people] + OF_GENERATOR * rng.normal(size=2 * size) + is_member * (effect + leak[people])
            score = np.repeat(own, PHOTOS) + rng.normal(size=2 * size * PHOTOS)
            columns = {"identity": np.repeat(people, PHOTOS), "is_member": np.repeat(is_member, PHOTOS), "score": score}
            parts.append(pd.DataFrame({"member_group": member_group, **columns}))
        tables.append(pd.concat(parts, ignore_index=True))
    return tables


def find_effect(auc):
    """The effect with this AUC: the difference of a member's and a non-member's score is normal."""
    return stats.norm.ppf(auc) * np.sqrt(2 * (OF_PERSON**2 + OF_GENERATOR**2 + 1) + OF_LEAK**2)


def describe(tables, num_resamples=300):
    """The rows of runs, and how they move together as it is committed: rounded, and by the bound where few are shared."""
    rows = pd.DataFrame([bootstrap_identities(table, num_resamples=num_resamples) for table in tables])
    named, known = [table.assign(embedder="net") for table in tables], []
    for i, j in itertools.combinations(range(len(tables)), 2):
        known.append(_relate_pair(named[i], named[j], num_resamples, 0).assign(run=str(i), versus=str(j)))
    return rows, pd.concat(known)


def cover(num_seeds, num_identities, num_people, auc, simulations, sizes=False):
    """The share of simulations whose interval of the mean (or of the mean difference of two sizes) holds the truth."""
    rng, held = np.random.default_rng([num_seeds, num_identities, num_people, round(100 * auc)]), []
    seeds = [(seed, num_identities) for seed in range(num_seeds)]
    for _ in range(simulations):
        tables = draw_seeds(seeds, num_people, find_effect(auc), rng)
        weights = np.full(num_seeds, 1 / num_seeds)
        if sizes:
            both = [*seeds, *((seed, 2 * size) for seed, size in seeds)]
            tables = draw_seeds(both, num_people, find_effect(auc), rng)
            weights = np.concatenate([weights, -weights])
        rows, known = describe(tables)
        names = [str(i) for i in range(len(tables))]
        _, low, high = pool_values(rows, weights, find_correlations(known, names, "net", weights))
        held.append(low <= (0 if sizes else auc) <= high)
    return np.mean(held)


@pytest.mark.hard
@pytest.mark.parametrize("num_seeds", [2, 3, 4])
@pytest.mark.parametrize(("num_identities", "num_people"), [(10, 158), (10, 40), (40, 158)])
@pytest.mark.parametrize("auc", [0.7, 0.9])
def test_the_interval_of_several_seeds_covers_the_truth(num_seeds, num_identities, num_people, auc):
    share = cover(num_seeds, num_identities, num_people, auc, 400)
    print(f"\n{num_seeds} seeds, {num_identities} of {num_people} people a group, AUC {auc}: covered {share:.3f} of 400")
    assert 0.92 <= share <= 0.98 or stats.binomtest(round(400 * share), 400, 0.98 if share > 0.95 else 0.92).pvalue > 0.05


@pytest.mark.hard
@pytest.mark.parametrize("num_seeds", [1, 2, 3])
def test_the_interval_of_the_difference_between_sizes_covers_the_truth(num_seeds):
    share = cover(num_seeds, 10, 60, 0.7, 400, sizes=True)
    print(f"\n{num_seeds} seeds, 10 against 20 of 60 people a group: covered {share:.3f} of 400")
    assert 0.92 <= share <= 0.985


def test_the_interval_of_three_seeds_covers_the_truth_in_a_few_simulations():
    share = cover(3, 10, 40, 0.7, 40)
    print(f"covered {share:.3f} of 40")
    assert share >= 0.82, "95 % of 40 is 38, and 33 or fewer come once in a thousand times"


def find_level(num_seeds, num_people, simulations, num_permutations=99, num_identities=10):
    rng = np.random.default_rng([num_seeds, num_people])
    seeds = [(seed, num_identities) for seed in range(num_seeds)]
    p_values = []
    for i in range(simulations):
        tables = draw_seeds(seeds, num_people, 0.0, rng, of_leak=0)
        p_values.append(permute_runs(tables, num_permutations=num_permutations, seed=i)["p_value"])
    return np.mean(np.array(p_values) <= 0.05)


@pytest.mark.hard
@pytest.mark.parametrize("num_seeds", [1, 2, 4])
@pytest.mark.parametrize("num_people", [20, 40, 158])
def test_the_joint_test_has_its_level_however_many_identities_seeds_share(num_seeds, num_people):
    share, error = find_level(num_seeds, num_people, 1000), np.sqrt(0.05 * 0.95 / 1000)
    print(f"\n{num_seeds} seeds of {num_people} people: significant in {share:.4f}, expected 0.05 +- {2 * error:.4f}")
    assert abs(share - 0.05) <= 3 * error, "nine such shares: one beyond two standard errors is no fault"


def test_the_joint_test_has_its_level_in_a_few_simulations():
    share = find_level(3, 20, 120)
    print(f"significant in {share:.3f} of 120")
    assert stats.binomtest(round(120 * share), 120, 0.05).pvalue > 0.001


@pytest.mark.hard
@pytest.mark.parametrize("num_seeds", [1, 2])
@pytest.mark.parametrize("auc", [0.6, 0.8])
def test_the_test_of_two_sizes_has_its_level(num_seeds, auc):
    """Both sizes leak alike: the one-sided p of the difference is below 5 % in about 5 %, and below 1 % in about 1 %."""
    rng, p_values = np.random.default_rng([num_seeds, round(100 * auc)]), []
    sizes = [(seed, size) for size in (10, 20) for seed in range(num_seeds)]
    for _ in range(600):
        rows, known = describe(draw_seeds(sizes, 158, find_effect(auc), rng))
        weights = np.repeat([1 / num_seeds, -1 / num_seeds], num_seeds)
        names = [str(i) for i in range(len(sizes))]
        p_values.append(invert_interval(rows, weights, find_correlations(known, names, "net", weights)))
    shares = {level: np.mean(np.array(p_values) <= level) for level in (0.05, 0.01)}
    print(f"\n{num_seeds} seeds, AUC {auc}: {shares}")
    assert all(share <= level + 3 * np.sqrt(level * (1 - level) / 600) for level, share in shares.items())


def test_several_seeds_find_what_one_does_not():
    """Power: of three seeds with a weak leak, one test finds it more often than the same test of one."""
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        tables = draw_seeds([(seed, 10) for seed in range(3)], 158, find_effect(0.65), rng)
        found.append([permute_runs(some, num_permutations=199)["p_value"] <= 0.05 for some in (tables[:1], tables)])
    one, three = np.mean(found, axis=0)
    print(f"one seed {one:.2f}, three {three:.2f}")
    assert three > one + 0.1 and three > 0.8


def make_rows(*intervals, num_members=10):
    columns = ["value", "low", "high"]
    return pd.DataFrame(intervals, columns=columns).assign(num_members=num_members, num_non_members=num_members)


def test_arms_are_combined_as_correlated_errors():
    rows = make_rows((0.7, 0.6, 0.78), (0.6, 0.45, 0.7))
    known = np.array([[1, 0.5], [0.5, 1]])
    value, low, high = pool_values(rows, [0.5, 0.5], known)
    below = 0.5 * np.sqrt(0.1**2 + 0.15**2 + 2 * 0.5 * 0.1 * 0.15)
    above = 0.5 * np.sqrt(0.08**2 + 0.1**2 + 2 * 0.5 * 0.08 * 0.1)
    assert (value, low, high) == pytest.approx((0.65, 0.65 - below, 0.65 + above))
    value, low, high = pool_values(rows, [1, -1], known)  # the second run's upper arm lowers the difference
    assert (value, low) == pytest.approx((0.1, 0.1 - np.sqrt(0.1**2 + 0.1**2 - 2 * 0.5 * 0.1 * 0.1)))
    assert high == pytest.approx(0.1 + np.sqrt(0.08**2 + 0.15**2 - 2 * 0.5 * 0.08 * 0.15))


def test_an_unknown_correlation_makes_the_interval_wide():
    rows = make_rows((0.7, 0.6, 0.78), (0.6, 0.45, 0.7))
    assert pool_values(rows, [0.5, 0.5])[1:] == pytest.approx((0.525, 0.74)), "the mean of the ends"
    assert pool_values(rows, [1, -1])[1] == pytest.approx(0.1 - np.hypot(0.1, 0.1))
    for weights in ([0.5, 0.5], [1, -1]):
        widths = [np.diff(pool_values(rows, weights, np.array([[1, r], [r, 1]]))[1:])[0] for r in (np.nan, 0.0, 0.4)]
        assert widths[0] >= max(widths[1:]) - 1e-12


def test_the_inverted_p_is_that_of_the_interval_that_begins_at_the_null():
    rows = make_rows((0.7, 0.6, 0.78), (0.6, 0.52, 0.67))
    for weights in ([1, -1], [-1, 1]):
        p_value = invert_interval(rows, weights)
        ends = pool_values(rows, weights, confidence=1 - 2 * min(p_value, 1 - p_value))[1:]
        assert min(map(abs, ends)) < 1e-6 and (p_value < 0.5) == (weights[0] > 0)
    alone = make_rows((0.7, 0.6, 0.78))
    assert invert_interval(alone, [1], null=0.6) == pytest.approx(0.025, abs=1e-6), "a 95 % interval has 2.5 % below it"
    assert invert_interval(alone, [1], null=0.78) == pytest.approx(0.975, abs=1e-6)
    assert invert_interval(alone, [1], null=0.7) == pytest.approx(0.5, abs=1e-3)


def test_the_p_value_of_a_mean_difference_is_that_of_students_t():
    one, far = make_rows((0.1, 0.0, 0.2)), make_rows((0.0, -0.1, 0.1))
    assert compute_mean_p(one) == pytest.approx(0.025), "the interval begins at 0"
    assert compute_mean_p(far) == 0.5
    two = pd.concat([one, one], ignore_index=True)
    assert compute_mean_p(two) == pytest.approx(0.025), "of unknown links, no smaller than one seed's"
    apart = compute_mean_p(two, np.eye(2))
    assert apart == pytest.approx(stats.t.sf(np.sqrt(2) * stats.t.ppf(0.975, 18), 18))
    assert apart < compute_mean_p(two, np.array([[1, 0.5], [0.5, 1]])) < 0.025
    assert np.isnan(compute_mean_p(make_rows((0.1, np.nan, np.nan))))


def test_ends_and_few_identities():
    none = make_rows((0.7, np.nan, np.nan), (0.6, 0.5, 0.7))
    assert np.isnan(pool_values(none, [0.5, 0.5])[1:]).all() and np.isnan(invert_interval(none, [1, -1]))
    right, wrong = make_rows((1, 0.74, 1)), make_rows((0, 0, 0.26))
    assert pool_values(right, [1.0])[1:] == pytest.approx((0.025 ** (1 / 10), 1))
    assert pool_values(wrong, [1.0])[1:] == pytest.approx((0, 1 - 0.025 ** (1 / 10)))
    assert 0 < invert_interval(right, [1.0], null=0.5) == pytest.approx(0.5**10, rel=1e-4), "ten pairs in order by chance"
    assert invert_interval(wrong, [1.0], null=0.5) == pytest.approx(1 - 0.5**10)
    assert invert_interval(right, [1.0], null=1 - 1e-9) == 0.5
    both = pd.concat([right, make_rows((0.6, 0.5, 0.7))])
    assert 0 < pool_values(both, [0.5, 0.5])[1] < 0.8 < pool_values(both, [0.5, 0.5])[2] <= 1
    assert invert_interval(make_rows((0.7, 0.6999, 0.7001), num_members=1000), [1.0], null=0.1) == 1e-12
    assert 0 < invert_interval(make_rows((0.9, 0.8, 1.0)), [1.0], null=0.5) < 1e-4


def test_a_joint_resample_is_the_metric_of_the_resampled_tables():
    first, second = draw_queries(6, 2, 1, seed=1), draw_queries(6, 3, 1, seed=2)
    second["identity"] = second["identity"].replace({"a00": "b03", "b03": "a00", "a01": "z"})  # other groups, other people
    samples = resample_together([first, second], num_resamples=15, seed=4)
    names = np.unique(np.concatenate([first["identity"], second["identity"]]))
    counts = np.random.default_rng(4).multinomial(len(names), np.full(len(names), 1 / len(names)), 15)
    for own, queries in zip(samples, (first, second), strict=True):
        for sample, count in zip(own, counts, strict=True):
            times = queries["identity"].map(dict(zip(names, count, strict=True)))
            drawn = queries.loc[np.repeat(queries.index, times)]
            assert sample == pytest.approx(compute_pooled_auc(drawn), abs=1e-12)


def test_runs_that_share_everybody_move_together_and_strangers_do_not():
    queries = draw_queries(12, effect=1)
    assert correlate_runs(queries, queries) == (24, pytest.approx(1))
    other = draw_queries(12, effect=1, seed=5)
    assert correlate_runs(queries, other.assign(identity=other["identity"] + "x")) == (0, 0.0)
    flipped = queries.assign(score=-queries["score"])
    assert correlate_runs(queries, flipped)[1] == pytest.approx(-1)
    assert correlate_runs(queries, draw_queries(12, effect=1000)) == (24, 0.0), "an AUC of 1 does not move"
    one = draw_queries(1)
    assert correlate_runs(one, one)[0] == 2


def test_the_joint_bootstrap_is_as_wide_as_that_of_one_run_where_seeds_are_copies():
    queries = draw_queries(15, effect=1)
    samples = resample_together([queries, queries], num_resamples=1000)
    assert np.nanstd(samples.mean(0)) == pytest.approx(resample_identities(queries, num_resamples=1000)[1].std(), rel=0.15)


def test_one_run_has_the_test_that_it_has_alone():
    queries = draw_queries(8, effect=0.3)
    alone = permute_identities(queries, num_permutations=500, seed=3)["p_value"]
    assert permute_runs([queries], num_permutations=500, seed=3)["p_value"] == alone
    with pytest.raises(ValueError, match="no runs"):
        permute_runs([])


def test_the_joint_test_on_paper():
    """Two runs of one identity a group, both right: of the 2 x 2 relabellings, one reaches the mean of 1, so p is 1/4."""
    runs = [draw_queries(1, photos=1, effect=1000, seed=seed) for seed in (1, 2)]
    assert permute_runs(runs, num_permutations=4000)["p_value"] == pytest.approx(0.25, abs=0.03)
    assert permute_runs([run.assign(score=-run["score"]) for run in runs], num_permutations=50)["p_value"] == 1
    equal = permute_runs([run.assign(score=0.0) for run in runs], num_permutations=50)
    assert equal == {"metric": "auc", "value": 0.5, "p_value": 1}


def test_permutations_in_blocks_are_the_same(monkeypatch):
    queries = draw_queries(6, effect=0.5)
    whole = permute_identities(queries, num_permutations=300)
    monkeypatch.setattr("ppe.statistics.permutation.BLOCK", 100)
    assert permute_identities(queries, num_permutations=300) == whole


def test_twice_the_mean_is_valid_however_p_values_depend_on_each_other():
    assert combine_p_values([0.2]) == 0.2 and combine_p_values([0.01, 0.03]) == pytest.approx(0.04)
    assert combine_p_values([0.9, 0.8]) == 1
    p = np.random.default_rng(0).random((20000, 3))
    opposed = np.where(p[:, 0] < 0.095, 0.095 - p[:, 0], p[:, 0])  # a plain mean would be significant twice as often
    for seeds in (np.tile(p[:, :1], 3), p, np.stack([p[:, 0], opposed], axis=1)):
        assert np.mean([combine_p_values(row) < 0.05 for row in seeds]) <= 0.05
    assert np.mean((p[:, 0] + opposed) / 2 < 0.05) > 1.5 * 0.05


def test_shared_identities_narrow_the_difference_of_nested_sizes():
    small, large = draw_queries(10, 4, 1, seed=1), draw_queries(20, 4, 1, seed=2)
    wide, narrow = compare_runs(small, large), compare_runs(small, large, correlation=0.4)
    assert narrow["value"] == wide["value"] and narrow["high"] - narrow["low"] < wide["high"] - wide["low"]
    assert abs(narrow["p_value"] - 0.5) > abs(wide["p_value"] - 0.5)
