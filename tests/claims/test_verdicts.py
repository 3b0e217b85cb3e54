"""Verdicts that can be read off the numbers: which test supports a claim, which interval speaks against it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from synthetic_queries import draw_queries
from synthetic_rows import RULES, USUAL, judge, make_difference, make_experiment, make_run

from ppe.attacks.selection import restore_queries
from ppe.claims.combinations import choose_cells, judge_cells
from ppe.claims.evidence import EXPLORATORY, VERDICTS, describe_evidence, list_sweeps
from ppe.claims.overrepresentation import judge_data_shares
from ppe.claims.summary import join_claims
from ppe.evaluation.collection import name_sweep
from ppe.evaluation.tables import RUN_COLUMNS
from ppe.statistics.permutation import permute_runs


@pytest.mark.parametrize(
    ("interval", "p_value", "verdict", "reason"),
    [
        ((0.7, 0.6, 0.8), 0.049, "supported", "above 0.5"), ((0.7, 0.6, 0.8), 0.05, "inconclusive", "above 0.5"),
        ((0.55, 0.45, 0.65), 0.049, "supported", "contains 0.5 and reaches 0.55"),
        ((0.55, 0.45, 0.65), 0.2, "inconclusive", "contains 0.5 and reaches 0.55"),
        ((0.52, 0.49, 0.549), 0.2, "not supported", "ends below 0.55"), ((0.52, 0.49, 0.55), 0.2, "inconclusive", "reaches 0.55"),
        ((0.51, 0.501, 0.52), 0.01, "supported", "a small effect"), ((0.8, np.nan, np.nan), 0.01, "supported", "no interval"),
        ((0.8, np.nan, np.nan), 0.06, "inconclusive", "no interval"), ((0.7, np.nan, np.nan), np.nan, "inconclusive", "no test"),
    ],
)  # fmt: skip
def test_the_test_decides_and_the_interval_says_how_large(interval, p_value, verdict, reason):
    table = judge(make_run("one", interval, p_value=p_value))
    row = table[table.claim == "C1"].iloc[0]
    assert row.verdict == verdict and reason in row.reason and row.what_would_change
    assert row.p_adjusted == pytest.approx(p_value, nan_ok=True), "alone, p is its own correction"
    assert set(table.verdict) <= set(VERDICTS) and set(table.claim) == {"C1", "C2", "C3", "C4"}
    assert (table.verdict[table.claim.isin(["C2", "C3", "C4"])] == "not measured").all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 0}, "tuning"), ({"control_p": 0.005}, "control failed"),
        ({"embedder_auc": 0.8}, "no embedder reaches an AUC of 0.9"), ({"uneven": True}, "differ in training photos"),
    ],
)  # fmt: skip
def test_a_run_with_an_excuse_is_shown_and_not_judged(change, reason):
    table = judge(make_run("one", (0.9, 0.8, 0.95), **change))
    row = table[table.claim == "C1"].iloc[0]
    assert row.verdict == "shown" and reason in row.reason
    assert (table.verdict != "supported").all()


def test_verdicts_are_corrected_for_their_number_and_not_for_what_is_shown():
    """Holm by hand: of 0.02, 0.001 and 0.03 the corrected values are 2 x 0.02, 3 x 0.001 and, since it grows, 0.04 again."""
    runs = [make_run(f"kimg{i}", (0.7, 0.6, 0.8), p_value=p, kimg=float(i)) for i, p in enumerate((0.02, 0.001, 0.03), 1)]
    tuning = make_run("tuning", (0.7, 0.6, 0.8), seed=0, p_value=0.0001)
    first = judge(*runs, tuning).query("claim == 'C1'").set_index("runs")
    assert first.p_adjusted.to_dict() == pytest.approx(
        {"kimg1": 0.04, "kimg2": 0.003, "kimg3": 0.04, "tuning": np.nan}, nan_ok=True)  # fmt: skip
    assert first.verdict.to_dict() == {**dict.fromkeys(("kimg1", "kimg2", "kimg3"), "supported"), "tuning": "shown"}
    runs[0] = make_run("kimg1", (0.52, 0.49, 0.54), p_value=0.03, kimg=1.0)
    first = judge(*runs).query("claim == 'C1'").set_index("runs")
    assert first.verdict.to_dict() == {"kimg1": "not supported", "kimg2": "supported", "kimg3": "inconclusive"}


def test_the_page_corrects_over_all_studies_and_may_weaken_a_verdict():
    tables = {str(i): judge(make_run(f"run{i}", (0.6, 0.52, 0.7), p_value=0.03, kimg=float(i + 1))) for i in range(2)}
    assert all((table.query("claim == 'C1'").verdict == "supported").all() for table in tables.values())
    joined = join_claims(tables, RULES.alpha).query("claim == 'C1'")
    assert joined.p_adjusted.tolist() == pytest.approx([0.06, 0.06]) and (joined.verdict == "inconclusive").all()
    alike = {str(i): judge(make_run("same", (0.6, 0.52, 0.7), p_value=0.03)) for i in range(2)}
    joined = join_claims(alike, RULES.alpha).query("claim == 'C1'")
    assert joined.p_adjusted.tolist() == [0.03], "one run that stands in two studies is one verdict"


def test_with_scores_the_permutation_test_is_made_anew_and_jointly_over_seeds():
    hidden = {f"s{seed}": hide(draw_queries(12, effect=0.15, seed=seed)) for seed in (1, 2)}
    runs = [make_run(f"s{seed}", (0.6, 0.5, 0.7), p_value=0.9, seed=seed) for seed in (1, 2)]
    row = judge(*runs, scores=hidden).iloc[0]
    tables = [restore_queries(own) for own in hidden.values()]
    alone = [permute_runs([table], num_permutations=RULES.num_permutations)["p_value"] for table in tables]
    assert row.p_value == permute_runs(tables, num_permutations=RULES.num_permutations)["p_value"] < 2 * np.mean(alone)
    assert judge(runs[0], scores=hidden).iloc[0].p_value == alone[0]
    without = judge(*runs, scores={"s1": hidden["s1"]}).iloc[0]
    assert without.p_value == 1 and judge(runs[0]).iloc[0].p_value == 0.9, "of rows alone: twice the mean"


def hide(queries):
    """Queries as committed scores."""
    hidden = queries.assign(pseudonym=queries.identity, group=queries.identity.str[0], face_set=queries.member_group)
    return hidden.assign(embedder="first", attack="nearest")[["pseudonym", "group", "face_set", "embedder", "attack", "score"]]


@pytest.mark.parametrize(("correlation", "share"), [(0.0, np.sqrt(0.525)), (0.5, np.sqrt(0.775)), (1.0, 1.0), (None, 1.0)])
def test_the_interval_of_two_seeds_is_as_wide_as_they_share_identities(correlation, share):
    """Two alike intervals of correlation r: the mean's is sqrt((1 + r) / 2) of one. A rounded r is 0.05 larger, unknown is 1."""
    runs = [make_run("one", (0.6, 0.5, 0.7)), make_run("two", (0.6, 0.5, 0.7), seed=2)]
    shared = pd.DataFrame([{"run": "one", "versus": "two", "embedder": "first", "num_shared": 6, "bound": 0.3,
                            "correlation": correlation}]) if correlation is not None else None  # fmt: skip
    row = judge(*runs, shared=shared).iloc[0]
    assert (row.low, row.high) == pytest.approx((0.6 - 0.1 * share, 0.6 + 0.1 * share))
    assert ("two seeds share 6 identities" in row.reason) == (correlation is not None) != ("unknown which" in row.reason)
    assert "mean of seeds 1: 0.60, 2: 0.60, standard deviation 0.00" in row.reason and row.spread == 0


def test_the_reason_ends_with_what_another_sound_embedder_found():
    run = make_run("one", (0.7, 0.6, 0.8))
    head = run[run.metric == "auc"].iloc[:1]
    others = [head.assign(embedder="sound", value=0.55, low=0.45, high=0.65), head.assign(embedder="weak", embedder_auc=0.8)]
    row = judge(run, *others).iloc[0]
    assert row.verdict == "supported" and "; by the embedder sound: 0.55 [0.45, 0.65], p = 0.0001; " in row.reason
    assert "one training, seed 1" in row.reason and "weak" not in row.reason


def test_seeds_are_shown_and_their_mean_is_judged_no_narrower_than_one():
    runs = [make_run("one", (0.7, 0.6, 0.8)), make_run("two", (0.6, 0.5, 0.7), 0.02, seed=2)]
    runs.append(make_run("none", (0.9, 0.8, 1), seed=0))
    table = judge(*runs)
    first = table[table.claim == "C1"]
    assert list(first.verdict) == ["supported", "shown", "shown", "shown"]
    assert first[["value", "low", "high"]].iloc[0].tolist() == pytest.approx([0.65, 0.55, 0.75])
    assert first.runs.iloc[0] == "one two"


def test_the_second_claim_is_judged_on_the_ends_of_a_series_that_have_an_interval():
    sizes = {5: "five", 10: "ten", 20: "twenty", 40: "forty"}
    none = (0.8, np.nan, np.nan)
    rows = pd.concat([make_run(name, none if n == 5 else (0.9 - n / 100, 0.85 - n / 100, 0.95 - n / 100), num_identities=n)
                      for n, name in sizes.items()])  # fmt: skip
    pairs = [make_difference(rows, first, "forty", "equal kimg") for first in ("five", "ten", "twenty")]
    table = judge(rows, *pairs)
    growth = table[table.claim == "C2"].set_index("identities")
    assert growth.verdict.to_dict() == {"5 against 40": "shown", "10 against 40": "supported", "20 against 40": "shown"}
    row = growth.loc["10 against 40"]
    reach = np.hypot(0.05, 0.05)  # two alike arms of runs that are not known to share anybody
    assert (row.value, row.low, row.high) == pytest.approx((0.3, 0.3 - reach, 0.3 + reach)) and row.p_value < 1e-4
    table = judge(rows, make_difference(rows, "ten", "forty", "photos"))
    assert table[table.claim == "C2"].verdict.tolist() == ["shown"], "more photos are no verdict on more identities"
    rows = pd.concat([make_run("ten", (0.51, 0.49, 0.53)), make_run("forty", (0.5, 0.48, 0.52), num_identities=40)])
    table = judge(rows, make_difference(rows, "ten", "forty", "equal kimg"))
    assert table[table.claim == "C2"].verdict.tolist() == ["not supported"]


def test_differences_of_several_seeds_are_pooled():
    rows = pd.concat([make_run(f"{n}-{s}", (auc, auc - 0.1, auc + 0.1), num_identities=n, seed=s)
                      for n, auc in ((10, 0.7), (40, 0.6)) for s in (1, 2)])  # fmt: skip
    pairs = [make_difference(rows, f"10-{s}", f"40-{s}", "equal kimg") for s in (1, 2)]
    table = judge(rows, *pairs)
    growth = table[table.claim == "C2"]
    assert growth.runs.tolist() == ["10-1 40-1 10-2 40-2", "10-1 40-1", "10-2 40-2"]
    assert growth.verdict.tolist()[1:] == ["shown", "shown"]
    assert growth.low.tolist() == pytest.approx([0.1 - np.hypot(0.1, 0.1)] * 3), "of unknown links, no narrower than one seed"
    known = [{"run": a, "versus": b, "embedder": "first", "num_shared": 0, "bound": 0.0, "correlation": 0.0}
             for a, b in itertools.combinations(rows.run.unique(), 2)]  # fmt: skip
    growth = judge(rows, *pairs, shared=pd.DataFrame(known)).query("claim == 'C2'")
    assert growth.low.iloc[0] == pytest.approx(0.1 - np.hypot(0.1, 0.1) / np.sqrt(2))
    assert growth.p_value.iloc[0] < growth.p_value.iloc[1]


def test_a_pair_with_a_failed_run_is_no_evidence():
    rows = pd.concat([make_run("ten", (0.7, 0.6, 0.8)), make_run("forty", (0.5, 0.4, 0.6), num_identities=40, control_p=0.001)])
    table = judge(rows, make_difference(rows, "ten", "forty", "equal kimg"))
    assert table[table.claim == "C2"].verdict.tolist() == ["shown"]


def test_the_third_claim_needs_every_cell_two_data_sets_and_two_generators():
    def add(generator, dataset, interval, **other):
        return make_run(f"{generator}-{dataset}-{len(other)}", interval, generator=generator, dataset=dataset, **other)

    good, wide = (0.7, 0.6, 0.8), (0.55, 0.45, 0.65)
    one = judge(add("fastgan", "d", good), add("fastgan", "e", good))
    assert one[one.claim == "C3"].verdict.tolist() == ["not measured"]
    both = judge(add("fastgan", "d", good), add("stylegan2", "e", good), add("fastgan", "d", wide, num_identities=40))
    assert both[both.claim == "C3"].verdict.tolist() == ["supported"], "of a cell the fewest identities count"
    some = judge(add("fastgan", "d", good), add("stylegan2", "e", wide))
    assert some[some.claim == "C3"].verdict.tolist() == ["inconclusive"]
    assert "supported: d fastgan 32 px" in some[some.claim == "C3"].reason.iloc[0]
    few = add("fastgan", "f", (0.7, np.nan, np.nan), num_identities=5)
    unable = judge(add("fastgan", "d", good), add("stylegan2", "e", good), few).query("claim == 'C3'").iloc[0]
    assert unable.verdict == "supported" and unable.measure == "share of 2 combinations that support C1"
    assert unable.reason.endswith("not counted, with too few identities for an interval: f fastgan 32 px")
    apart = {name: judge(part) for name, part in (("x", add("fastgan", "d", good)), ("y", add("stylegan2", "e", good)))}
    joined = join_claims(apart, RULES.alpha)
    assert joined[joined.claim == "C3"].verdict.tolist() == ["supported"]
    assert joined[joined.claim == "C4"].shape[0] == 1, "what no study measured has one row"
    assert len(choose_cells(joined)) == 2 and len(judge_cells(joined)) == 1


@pytest.mark.parametrize(
    ("experiment", "verdict"),
    [
        (make_experiment(), "supported"), (make_experiment(p_value=0.2), "inconclusive"),
        (make_experiment(p_value=0.2, contrast=(0.01, -0.02, 0.049)), "not supported"),
        (make_experiment(p_value=0.2, contrast=(0.01, -0.02, 0.051)), "inconclusive"),
        (make_experiment(num_identities=1), "shown"), (make_experiment(embedder_auc=0.8), "shown"),
        (make_experiment(kind="none"), "not measured"),
        (make_experiment().query("measure == 'match_share'").assign(measure="nearest"), "shown"),
        (make_experiment().iloc[:0], "not measured"), (None, "not measured"),
    ],
)  # fmt: skip
def test_the_fourth_claim_is_judged_against_control_identities_and_a_generator_that_copies(experiment, verdict):
    row = judge_data_shares(experiment, RULES).iloc[0]
    assert row.claim == "C4" and row.verdict == verdict and row.reason
    if verdict == "supported":
        assert (row.value, row.low, row.high, row.comparison, row.identities) == (0.3, 0.2, 0.4, "many", "5")
        reason = "0.31 at a data share of 10.0%, 0.01 at 0.0%; p = 0.002 against 24 control identities"
        reason += "; a generator that copies its training photos: 0.5"
        reason += "; it grew for 4 of 5 identities (by -0.1 to 0.6), and one identity makes up 40% of the sum"
        assert row.measure == "difference of match_share" and row.reason == reason


def test_of_experiments_without_an_overrepresented_identity_the_false_alarms_are_shown():
    keys = {"kind": "none", "measure": "false_alarms", "statistic": "share", "num_generators": 8}
    none = make_experiment("none", "none").iloc[:1].assign(**keys, calibration="cohort", value=0.25, low=0.03, high=0.65)
    table = judge_data_shares(pd.concat([none, make_experiment()]), RULES)
    assert table.measure.tolist() == ["difference of match_share", "false_alarms, calibrated on cohort"]
    alarms = table.iloc[1]
    assert (alarms.verdict, alarms.value, alarms.low, alarms.high) == ("shown", 0.25, 0.03, 0.65)
    assert alarms.reason == "2 of 8 generators without an over-represented identity"


def test_a_verdict_on_data_with_which_the_rule_was_chosen_is_exploratory():
    rows = pd.concat([make_run("ten", (0.7, 0.6, 0.8)), make_run("forty", (0.5, 0.4, 0.6), num_identities=40)])
    rows = pd.concat([rows, make_difference(rows, "ten", "forty", "equal kimg")])
    for claims in (["C1"], ["C2", "C4"], []):
        table = judge(rows, experiments=make_experiment(), exploratory={"d": claims, "e": ["C1", "C2", "C4"]})
        judged = table[table.verdict.isin(["supported", "inconclusive"])]
        assert set(judged.claim[judged.reason.str.endswith(EXPLORATORY)]) == set(claims)
        assert set(judged.claim) == {"C1", "C2", "C4"}
        assert not table.reason[table.verdict == "shown"].str.contains(EXPLORATORY).any()


def test_the_name_of_a_data_set_decides_nothing():
    for name in ("lfw", "synthetic", "mine"):
        rows, experiments = make_run("ten", (0.7, 0.6, 0.8), dataset=name), make_experiment().assign(dataset=name)
        for claims in ([], ["C1", "C4"]):
            table = judge(rows, experiments=experiments, exploratory={name: claims})
            assert set(table.claim[table.reason.str.contains(EXPLORATORY)]) == set(claims), name


def test_the_reason_of_the_fourth_claim_gives_two_other_tests():
    tests = make_experiment().query("statistic == 'mean'").iloc[1:]
    rows = pd.concat([make_experiment(), tests.assign(statistic="trend", p_value=0.31), tests.assign(p_value=0.19)])
    reason = judge_data_shares(rows, RULES).reason.iloc[0]
    assert "; paired by identity p = 0.19; trend over all data shares p = 0.31" in reason


def test_each_experiment_and_measure_has_a_row():
    means = make_experiment().query("statistic == 'mean'")
    detected = means.assign(measure="detected", calibration="generators")
    experiments = pd.concat([make_experiment(), detected, make_experiment("again", "repeated", p_value=0.3)])
    table = judge_data_shares(experiments, RULES)
    assert table.runs.tolist() == ["many none", "many none", "again none"]
    assert table.measure.tolist() == [
        "difference of match_share", "detected, calibrated on generators", "difference of match_share",
    ]  # fmt: skip
    assert table.verdict.tolist() == ["supported", "shown", "inconclusive"]
    joined = join_claims({"one": judge(make_run("one", (0.7, 0.6, 0.8)), experiments=experiments)}, RULES.alpha)
    assert joined[joined.claim == "C4"].verdict.tolist() == ["supported", "shown", "inconclusive"]


def test_a_sweep_is_named_after_the_one_thing_that_grows():
    def name(**change):
        return name_sweep(USUAL, USUAL | change)

    assert name(num_identities=40) == "equal kimg"
    assert name(num_identities=40, kimg=128.0) == "equal epochs"
    assert name(num_identities=40, kimg=64.0) == ""
    assert name(max_train_photos=50) == "photos" and name(train_photos=2, max_train_photos=2) == "photos"
    assert name() == name(seed=2) == name(num_identities=40, seed=2) == ""
    assert set(USUAL) == set(RUN_COLUMNS)


def test_a_curve_holds_runs_that_differ_in_one_thing():
    changes = {
        "ten": {}, "ten-2": {"seed": 2}, "forty": {"num_identities": 40}, "long": {"num_identities": 40, "kimg": 128.0},
        "one": {"max_train_photos": 1, "train_photos": 1},
    }  # fmt: skip
    rows = pd.concat([make_run(name, (0.7, 0.6, 0.8), **change) for name, change in changes.items()])
    sweeps = list_sweeps(describe_evidence(rows, RULES))
    found = {kind: set(part.run) - {"ten", "ten-2"} for kind, part in sweeps.groupby("sweep")}
    assert found == {"equal kimg": {"forty"}, "equal epochs": {"long"}, "photos": {"one"}}
    assert list(list_sweeps(describe_evidence(rows[rows.run == "ten"], RULES)).run) == []
