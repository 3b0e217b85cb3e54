"""Scores are drawn: an effect of the person, shared by its photos and by both GANs, plus one of the photo."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ppe.metrics import (
    METRICS,
    bootstrap_people,
    compare_attacks,
    compare_ceiling,
    compare_halves,
    compare_sizes,
    compute_auc,
    compute_average_precision,
    compute_frechet_distance,
    compute_roc,
    compute_tpr_at_fpr,
    permute_often,
    permute_people,
    resample_people,
)


def draw_queries(num_people=12, photos=4, effect=0.5, seed=0, halves="ab", unequal=False, digits=None):
    """Draw the queries of two groups of people under each half's GAN; ``effect`` is what membership adds."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame({"identity": [f"{g}{i:02}" for g in "ab" for i in range(num_people)]})
    people["of_person"] = rng.normal(size=len(people))
    counts = rng.integers(1, photos + 1, len(people)) if unequal else photos
    table = people.loc[np.repeat(people.index, counts)]
    table = pd.concat([table.assign(half=half) for half in halves], ignore_index=True)
    table["is_member"] = table["identity"].str[0] == table["half"]
    table["score"] = table.pop("of_person") + effect * table["is_member"] + rng.normal(size=len(table))
    return table.round({"score": digits}) if digits is not None else table


def auc_of_halves(queries):
    return np.mean([roc_auc_score(part["is_member"], part["score"]) for _, part in queries.groupby("half")])


# ---- one set of scores ----


def test_auc_by_hand():
    is_member = np.array([True, True, False, False])
    assert compute_auc([4.0, 2, 3, 1], is_member) == 0.75
    assert compute_auc([4.0, 3, 3, 1], is_member) == 0.875  # a tie is half a pair
    assert compute_auc([4.0, 3, 2, 1], is_member) == 1
    assert compute_auc([1.0, 2, 3, 4], is_member) == 0
    assert compute_auc([7.0, 7, 7, 7], is_member) == 0.5


@pytest.mark.parametrize("digits", [None, 0])
def test_negated_scores_give_one_minus_auc(digits):
    queries = draw_queries(digits=digits)
    score, is_member = queries["score"], queries["is_member"]
    assert compute_auc(-score, is_member) == pytest.approx(1 - compute_auc(score, is_member), abs=1e-12)
    negated = queries.assign(score=-score)
    assert resample_people(negated)[0] == pytest.approx(1 - resample_people(queries)[0], abs=1e-12)


def test_agreement_with_scikit_learn():
    queries = draw_queries(digits=1)
    score, is_member = queries["score"], queries["is_member"]
    assert compute_auc(score, is_member) == roc_auc_score(is_member, score)
    assert compute_average_precision(score, is_member) == average_precision_score(is_member, score)
    roc = compute_roc(score, is_member)
    assert list(roc.columns) == ["fpr", "tpr", "threshold"]
    np.testing.assert_array_equal(roc.to_numpy().T, roc_curve(is_member, score, drop_intermediate=False))
    assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(compute_auc(score, is_member), abs=1e-12)


def test_tpr_at_fpr_is_never_interpolated():
    score = np.array([9.0, 7, 5, 8, 4, 3, 2, 1, 0, -1, -2, -3, -4])
    is_member = np.arange(13) < 3  # ten non-members: thresholds at FPR 0, 0.1, 0.2 ...
    assert compute_tpr_at_fpr(score, is_member, 0.1, 10) == 1
    assert compute_tpr_at_fpr(score, is_member, 0.19, 10) == 1
    score[4] = 6  # now the third member costs a second non-member
    assert compute_tpr_at_fpr(score, is_member, 0.1, 10) == 2 / 3
    assert compute_tpr_at_fpr(score, is_member, 0.19, 10) == 2 / 3
    assert compute_tpr_at_fpr(score, is_member, 0.2, 10) == 1


def test_tpr_at_fpr_counts_a_tie_as_an_alarm():
    score, is_member = np.array([5.0, 5, 5, *range(-8, 0)]), np.arange(11) < 1  # the member ties with two of ten
    assert compute_tpr_at_fpr(score, is_member, 0.1, 10) == 0
    assert compute_tpr_at_fpr(score, is_member, 0.2, 10) == 1


@pytest.mark.parametrize(("fpr", "enough"), [(0.1, 10), (0.01, 100), (0.001, 1000)])
def test_people_not_photos_resolve_a_low_fpr(fpr, enough):
    queries = draw_queries(num_people=50, photos=20)
    score, is_member = queries["score"], queries["is_member"]
    assert compute_tpr_at_fpr(score, is_member, fpr, enough) >= 0
    assert np.isnan(compute_tpr_at_fpr(score, is_member, fpr, enough - 1))


def test_one_class_is_nan():
    for is_member in ([True], [False], [True, True]):
        score = np.zeros(len(is_member))
        assert np.isnan(compute_auc(score, is_member)) and np.isnan(compute_average_precision(score, is_member))
        assert np.isnan(compute_tpr_at_fpr(score, is_member, 0.1, 100)) and compute_roc(score, is_member).empty


def test_wrong_scores_are_refused():
    for score, is_member, sentence in (
        ([np.nan, 1], [True, False], "1 of 2 scores are not finite"),
        ([1.0], [True, False], "lists of one length"),
        ([1.0, 2], [1, 0], "is_member is int64, but bool is needed"),
    ):
        with pytest.raises(ValueError, match=sentence):
            compute_auc(score, is_member)
    with pytest.raises(ValueError, match="fpr=1"):
        compute_tpr_at_fpr([1.0], [True], 1, 10)


# ---- resampling people ----


@pytest.mark.parametrize("halves", ["ab", "a"])
@pytest.mark.parametrize("metric", METRICS[:3])
def test_a_resample_is_the_metric_of_the_resampled_table(metric, halves):
    queries = draw_queries(num_people=11, unequal=True, digits=1, halves=halves)
    value, samples = resample_people(queries, metric, num_resamples=20, seed=3)
    compute = {
        "auc": compute_auc,
        "average_precision": compute_average_precision,
        "tpr_at_fpr_1e-1": lambda score, is_member: compute_tpr_at_fpr(score, is_member, 0.1, 11),
    }[metric]

    def compute_pooled(table):
        return np.mean([compute(part["score"], part["is_member"]) for _, part in table.groupby("half")])

    assert value == pytest.approx(compute_pooled(queries), abs=1e-12)
    rng = np.random.default_rng(3)
    people = np.unique(queries["identity"])  # those of group a come first
    counts = np.concatenate([rng.multinomial(11, np.full(11, 1 / 11), 20) for _ in "ab"], axis=1)
    for sample, count in zip(samples, counts, strict=True):
        times = queries["identity"].map(dict(zip(people, count, strict=True)))
        assert sample == pytest.approx(compute_pooled(queries.loc[np.repeat(queries.index, times)]), abs=1e-12)


def test_halves_are_averaged_never_concatenated():
    queries = draw_queries()
    moved = queries.assign(score=queries["score"] + 100 * (queries["half"] == "b"))  # GAN b's scores are larger
    assert resample_people(moved)[0] == pytest.approx(auc_of_halves(queries), abs=1e-12)
    np.testing.assert_allclose(resample_people(moved)[1], resample_people(queries)[1], atol=1e-12)


def test_order_of_rows_does_not_matter_and_the_seed_does():
    queries = draw_queries(unequal=True)
    shuffled = queries.sample(frac=1, random_state=0)
    for metric in METRICS[:3]:
        row = bootstrap_people(queries, metric, num_resamples=50)
        assert bootstrap_people(shuffled, metric, num_resamples=50) == pytest.approx(row, abs=1e-12)
        assert bootstrap_people(queries, metric, num_resamples=50) == row
        assert bootstrap_people(queries, metric, num_resamples=50, seed=1) != row


def test_both_gans_are_resampled_together():
    # What makes a person score high under both GANs lifts one half's AUC and lowers the other's: it cancels if joint.
    rng = np.random.default_rng(0)
    queries = draw_queries(num_people=30, effect=0)
    of_person = {identity: 5 * rng.normal() for identity in np.unique(queries["identity"])}
    queries["score"] = queries["identity"].map(of_person) + 0.01 * rng.normal(size=len(queries))
    spread = {half: resample_people(part)[1].std() for half, part in queries.groupby("half")}
    assert resample_people(queries)[1].std() < 0.05 * min(spread.values())


def test_more_photos_of_the_same_people_do_not_buy_confidence():
    queries = draw_queries(num_people=12, photos=1)
    row, copied = (bootstrap_people(pd.concat([queries] * n, ignore_index=True)) for n in (1, 10))
    assert copied == pytest.approx(row, abs=1e-9)


def test_interval_covers_and_says_what_it_should():
    effect, num_people, photos = 1.0, 15, 3
    truth = stats.norm.cdf(effect / 2)  # difference of two scores: variance 2 x (1 + 1)
    rows = [bootstrap_people(draw_queries(num_people, photos, effect, seed), num_resamples=200) for seed in range(150)]
    covered = np.mean([row["low"] <= truth <= row["high"] for row in rows])
    print(f"covered {covered:.3f} of {len(rows)}, width {np.mean([row['high'] - row['low'] for row in rows]):.3f}")
    assert stats.binomtest(int(covered * len(rows)), len(rows), 0.95).pvalue > 0.001
    assert all(0 < row["low"] < row["value"] < row["high"] < 1 for row in rows)
    assert list(rows[0]) == ["metric", "value", "low", "high", "num_members", "num_non_members"]


def test_photos_of_trained_people_against_their_unseen_photos():
    train, unseen = draw_queries(seed=1), draw_queries(seed=2)
    train["score"] += 10 * pd.factorize(train["identity"])[0] + 1.0  # people far apart, their train photos a little higher
    unseen["score"] += 10 * pd.factorize(unseen["identity"])[0]
    queries = pd.concat([train.assign(is_member=True), unseen.assign(is_member=False)], ignore_index=True)
    queries = queries[queries["identity"].str[0] == queries["half"]]  # photo_given_person: both roles in one half
    row = bootstrap_people(queries)
    within = queries.groupby(["half", "identity"]).apply(lambda p: roc_auc_score(p["is_member"], p["score"]))
    assert row["value"] == pytest.approx(within.mean(), abs=1e-12), "photos of two people are never compared"
    assert row["low"] < row["value"] < row["high"] and row["value"] > auc_of_halves(queries) + 0.1
    assert permute_people(queries, num_permutations=500)["p_value"] == 1 / 501
    nothing = queries.assign(score=np.random.default_rng(0).normal(size=len(queries)))
    assert permute_people(nothing, num_permutations=500)["p_value"] > 0.02


# ---- the ends ----


@pytest.mark.parametrize("num_people", [10, 20, 40])
def test_all_right_and_all_wrong_give_a_one_sided_bound(num_people):
    right = draw_queries(num_people, effect=1000)
    bound = stats.binomtest(num_people, num_people, alternative="greater").proportion_ci(0.95).low  # Clopper-Pearson
    for metric in ("auc", "tpr_at_fpr_1e-1"):
        row = bootstrap_people(right, metric, num_resamples=50)
        assert row["value"] == row["high"] == 1 and row["low"] == pytest.approx(bound, abs=1e-12)
        row = bootstrap_people(right.assign(score=-right["score"]), metric, num_resamples=50)
        assert row["value"] == row["low"] == 0 and row["high"] == pytest.approx(1 - bound, abs=1e-12)
    assert permute_people(right, num_permutations=200)["p_value"] == 1 / 201
    assert permute_people(right.assign(score=-right["score"]), num_permutations=200)["p_value"] > 0.95
    assert bootstrap_people(right, "average_precision")["value"] == pytest.approx(1, abs=1e-12)
    assert np.isnan(bootstrap_people(right, "average_precision")["low"])


@pytest.mark.filterwarnings("error")
def test_equal_scores_few_people_and_one_person_do_not_crash():
    equal = draw_queries().assign(score=3.0)
    row = bootstrap_people(equal)
    assert row["value"] == 0.5 and np.isnan([row["low"], row["high"]]).all()
    assert permute_people(equal, num_permutations=50)["p_value"] == 1
    few = bootstrap_people(draw_queries(num_people=9))
    assert 0 < few["value"] < 1 and np.isnan([few["low"], few["high"]]).all() and few["num_members"] == 9
    for queries in (draw_queries(num_people=1), draw_queries(num_people=1, photos=1)):
        assert 0 <= bootstrap_people(queries)["value"] <= 1
        assert compare_halves(queries, METRICS, num_resamples=20, num_permutations=20)["low"].isna().all()
    alone = draw_queries(num_people=1).query("identity == 'a00'")  # a member for GAN a, a non-member for GAN b
    table = compare_halves(alone, METRICS, num_resamples=20, num_permutations=20)
    assert table[["value", "low", "high", "p_value"]].isna().all(axis=None)
    assert table.query("half == 'pooled'")["num_members"].eq(0).all()


def test_low_fpr_is_not_reported_below_its_resolution():
    queries = draw_queries(num_people=99, photos=2, halves="a")
    assert np.isfinite(bootstrap_people(queries, "tpr_at_fpr_1e-1", num_resamples=10)["value"])
    assert np.isnan(bootstrap_people(queries, "tpr_at_fpr_1e-2", num_resamples=10)["value"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda q: q.drop(columns="score"), r"no column \['score'\]"),
        (lambda q: q.assign(is_member=q["is_member"].astype(int)), "is_member is int64"),
        (lambda q: q.assign(score=np.inf), "scores are not finite"),
        (lambda q: q.assign(identity=q["identity"].where(q.index > 0)), "row without an identity"),
        (lambda q: q.query("half == 'a' or identity != 'a00'"), "3 different sets of roles"),
        (lambda q: q.head(0), "empty"),
    ],
)
def test_wrong_queries_are_refused_with_a_sentence(change, sentence):
    for judge in (bootstrap_people, permute_people):
        with pytest.raises(ValueError, match=sentence):
            judge(change(draw_queries()))


def test_unknown_names_and_numbers_are_refused():
    with pytest.raises(ValueError, match="metric='AUC' is not one of"):
        bootstrap_people(draw_queries(), "AUC")
    with pytest.raises(ValueError, match="confidence=95"):
        bootstrap_people(draw_queries(), confidence=95)


# ---- permutation ----


@pytest.mark.parametrize("seed", range(8))
def test_a_permuted_value_is_the_auc_of_the_relabelled_table(seed):
    queries = draw_queries(num_people=2, photos=2, unequal=True, digits=1, effect=1, seed=seed)
    people = np.unique(queries["identity"])
    observed, reached = auc_of_halves(queries), []
    for members in [set(people[[i, j]]) for i in range(4) for j in range(i)]:  # all six ways to name two of four as a
        is_in_a = queries["identity"].isin(members)
        reached.append(auc_of_halves(queries.assign(is_member=is_in_a == (queries["half"] == "a"))) >= observed - 1e-9)
    row = permute_people(queries, num_permutations=20_000)
    assert row["value"] == pytest.approx(observed, abs=1e-12)
    assert row["p_value"] == pytest.approx(np.mean(reached), abs=0.015)


@pytest.mark.parametrize("halves", ["ab", "a"])
def test_p_values_are_uniform_under_the_null(halves):
    p_values = [
        permute_people(draw_queries(10, 3, 0, seed, halves, unequal=True), num_permutations=199, seed=seed)["p_value"]
        for seed in range(300)
    ]
    print(f"share under 0.05: {np.mean(np.array(p_values) <= 0.05):.3f}")
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert stats.binomtest(int(np.sum(np.array(p_values) <= 0.05)), 300, 0.05).pvalue > 0.001


def test_a_leak_has_a_small_p_value():
    assert permute_people(draw_queries(num_people=20, effect=2), num_permutations=999)["p_value"] == 0.001


# ---- tables ----


def test_compare_halves_is_a_row_a_half_and_the_mean():
    queries = draw_queries(num_people=13, effect=1)
    table = compare_halves(queries, ("auc", "tpr_at_fpr_1e-1"), num_resamples=100, num_permutations=100)
    columns = ["half", "metric", "value", "low", "high", "p_value", "num_members", "num_non_members"]
    assert list(table.columns) == columns and len(table) == 6
    for _, rows in table.groupby("metric"):
        value = rows.set_index("half")["value"]
        assert value["pooled"] == pytest.approx((value["a"] + value["b"]) / 2, abs=1e-12)
    assert table["num_members"].eq(13).all() and table["num_non_members"].eq(13).all()
    assert table[table["metric"] == "auc"]["p_value"].notna().all()
    assert table[table["metric"] != "auc"]["p_value"].isna().all()


def test_one_generator_for_both_halves_is_judged_half_by_half():
    one = draw_queries(effect=0).query("half == 'a'")
    mirror = one.assign(half="b", is_member=~one["is_member"])
    both = pd.concat([one, mirror], ignore_index=True)
    assert resample_people(both)[0] == pytest.approx(0.5, abs=1e-12)  # whatever the generator does
    table = compare_halves(both, pooled=False, num_resamples=100, num_permutations=100).set_index("half")
    assert list(table.index) == ["a", "b"]
    assert table["value"].sum() == pytest.approx(1, abs=1e-12)
    assert table.loc["a", "low"] == pytest.approx(1 - table.loc["b", "high"], abs=1e-9)


def test_difference_of_attacks_is_paired():
    first = draw_queries(num_people=20, effect=1)
    rng = np.random.default_rng(5)
    second = first.assign(score=first["score"] + 0.2 * rng.normal(size=len(first)))
    row = compare_attacks(first, second)
    assert row["metric"] == "auc_difference"
    assert row["value"] == pytest.approx(auc_of_halves(first) - auc_of_halves(second), abs=1e-12)
    unpaired = compare_sizes(first, second)
    assert row["high"] - row["low"] < 0.5 * (unpaired["high"] - unpaired["low"])
    back = compare_attacks(second, first)
    assert (back["low"], back["high"]) == pytest.approx((-row["high"], -row["low"]), abs=1e-12)
    same = compare_attacks(first, first)
    assert same["value"] == 0 and np.isnan(same["low"])
    with pytest.raises(ValueError, match="differ in the column 'identity'"):
        compare_attacks(first, second.sort_values(["half", "is_member"]))


def test_difference_of_sizes_adds_the_two_uncertainties():
    small, large = draw_queries(10, 4, 2, seed=1), draw_queries(40, 4, 0.5, seed=2)
    row, one, two = compare_sizes(small, large), bootstrap_people(small), bootstrap_people(large)
    assert row["value"] == one["value"] - two["value"]
    assert row["low"] < row["value"] < row["high"]
    widths = [r["high"] - r["low"] for r in (one, two)]
    assert max(widths) < row["high"] - row["low"] < sum(widths)
    assert (row["num_members"], row["num_non_members"]) == (10, 10)
    assert np.isnan(compare_sizes(draw_queries(9), large)["low"])
    all_right = compare_sizes(draw_queries(10, 4, 1000), large)
    assert np.isfinite(all_right["low"]) and all_right["high"] == pytest.approx(1 - two["low"], abs=1e-12)


def test_speed_of_two_thousand_resamples():
    queries = draw_queries(num_people=50, photos=10)
    seconds = {}
    for metric in METRICS[:3]:
        start = time.perf_counter()
        bootstrap_people(queries, metric, num_resamples=2000)
        seconds[metric] = time.perf_counter() - start
    print({metric: f"{value:.2f} s" for metric, value in seconds.items()})
    assert seconds["auc"] < 2 and max(seconds.values()) < 12  # 500 resamples of the others in 3 s


# ---- Fréchet ----


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


# ---- a share of the ceiling, and the permutation control ----


def test_a_leak_is_a_share_of_its_ceiling():
    queries = draw_queries(effect=1.0)
    ceiling = queries.assign(score=queries.score + 3 * queries.is_member)
    row = compare_ceiling(queries, ceiling, num_resamples=300)
    expected = (auc_of_halves(queries) - 0.5) / (auc_of_halves(ceiling) - 0.5)
    assert row["metric"] == "leak_share" and row["value"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"]
    assert compare_ceiling(queries, queries, num_resamples=300)["value"] == pytest.approx(1)
    nothing = compare_ceiling(queries, queries.assign(score=0.0), num_resamples=50)
    assert np.isnan(nothing["value"]) and np.isnan(nothing["low"]), "a ceiling at chance is no ceiling"


def test_shuffled_labels_are_found_as_often_as_the_level_says(monkeypatch):
    queries = draw_queries(effect=3.0)
    settings = {"num_shuffles": 100, "num_permutations": 99, "num_resamples": 100}
    share, misses = permute_often(queries, **settings)
    assert share["metric"] == "permuted_share" and share["value"] <= 0.12 and share["low"] <= 0.05 <= share["high"]
    assert misses["metric"] == "permuted_misses" and misses["value"] <= 0.12
    assert share == permute_often(queries, **settings)[0], "a function of the seed"

    def shuffle_photos(queries, *, num_permutations, seed):
        rng, score = np.random.default_rng(seed), queries["score"]
        values = [roc_auc_score(rng.permutation(queries["is_member"]), score) for _ in range(num_permutations)]
        reached = np.sum(np.array(values) >= roc_auc_score(queries["is_member"], score))
        return {"p_value": (1 + reached) / (1 + num_permutations)}

    monkeypatch.setattr("ppe.metrics.permute_people", shuffle_photos)
    alike = draw_queries(effect=0.0, halves="a", photos=8)
    alike = alike.assign(score=alike.groupby("identity")["score"].transform("mean"))
    wrong = permute_often(alike, **{**settings, "num_permutations": 39})[0]
    assert wrong["value"] > 0.12, "a test whose unit is the photo is found out"
