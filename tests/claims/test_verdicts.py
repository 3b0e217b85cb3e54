"""Verdicts that can be read off the numbers: which interval supports a claim, which speaks against it, which is inconclusive."""

import numpy as np
import pandas as pd
import pytest
from synthetic_rows import RULES, USUAL, judge, make_difference, make_experiment, make_run

from ppe.claims.evidence import EXPLORATORY, VERDICTS, describe_evidence, list_sweeps
from ppe.claims.overrepresentation import judge_data_shares
from ppe.claims.summary import join_claims
from ppe.claims.verdicts import _pool_seeds, choose_cells, judge_cells
from ppe.evaluation.collection import name_sweep
from ppe.evaluation.tables import RUN_COLUMNS


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.7, 0.6, 0.8), "supported"), ((0.52, 0.49, 0.54), "not supported"), ((0.55, 0.45, 0.65), "inconclusive"),
        ((0.51, 0.501, 0.52), "supported"), ((0.7, np.nan, np.nan), "inconclusive"),
        ((0.6, 0.505, 0.7), "inconclusive"), ((0.6, 0.507, 0.7), "supported"), ((0.5, 0.45, 0.549), "inconclusive"),
    ],
)  # fmt: skip
def test_an_interval_has_one_verdict_on_the_first_claim(interval, verdict):
    table = judge(make_run("one", interval))
    row = table[table.claim == "C1"].iloc[0]
    assert row.verdict == verdict and row.reason and row.what_would_change
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


def test_an_end_that_other_random_numbers_could_move_over_its_bound_is_on_the_edge():
    """The margin is two standard errors of a quantile: about 95 % of the ends of repeated bootstraps lie within it."""
    reason = judge(make_run("one", (0.6, 0.505, 0.7))).reason.iloc[0]
    assert reason.startswith("on the edge: the interval begins at 0.5050")
    draws = np.random.default_rng(1).normal(size=(500, 2000))
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    within = np.abs(low - low.mean()) <= RULES.draw_error * (high - low)
    assert 0.93 <= within.mean() <= 0.98


@pytest.mark.parametrize(
    ("p_values", "verdict", "pooled"),
    [
        ([0.017], "supported", 0.017), ([0.019], "inconclusive", 0.019), ([0.001, 0.016], "supported", 0.017),
        ([0.001, 0.018], "inconclusive", 0.019), ([0.9, 0.8], "inconclusive", 1.0),
    ],
)  # fmt: skip
def test_where_there_is_no_interval_a_permutation_test_decides(p_values, verdict, pooled):
    few = [make_run(f"few{s}", (0.8, np.nan, np.nan), p_value=p, seed=s, num_identities=8) for s, p in enumerate(p_values, 1)]
    row = judge(*few).iloc[0]
    assert (row.verdict, row.p_value) == (verdict, pytest.approx(pooled)) and f"p = {pooled:.4f}" in row.reason
    row = judge(make_run("some", (0.6, 0.45, 0.7), p_value=0.001)).iloc[0]
    assert row.verdict == "inconclusive" and np.isnan(row.p_value), "an interval takes precedence"
    other = few[0][few[0].metric == "auc"].iloc[:1].assign(embedder="sound", p_value=0.5)
    assert judge(few[0], other).iloc[0].reason.endswith("by the embedder sound: 0.80, inconclusive")


def test_the_pooled_p_of_seeds_is_valid_however_they_depend_on_each_other():
    """Without a leak, no more is supported than the level allows: by seeds that agree, that are independent, and that oppose each
    other, so that a plain mean would support twice as often."""
    p, max_p = np.random.default_rng(0).random((20000, 3)), RULES.max_p
    opposed = np.where(p[:, 0] < 1.9 * max_p, 1.9 * max_p - p[:, 0], p[:, 0])
    for seeds in (np.tile(p[:, :1], 3), p, np.stack([p[:, 0], opposed], axis=1)):
        assert np.mean([_pool_seeds(row) < max_p for row in seeds]) <= max_p
    assert np.mean((p[:, 0] + opposed) / 2 < max_p) > 1.5 * max_p


def test_the_reason_ends_with_what_another_sound_embedder_found():
    run = make_run("one", (0.7, 0.6, 0.8))
    head = run[run.metric == "auc"].iloc[:1]
    others = [head.assign(embedder="sound", value=0.55, low=0.45, high=0.65), head.assign(embedder="weak", embedder_auc=0.8)]
    row = judge(run, *others).iloc[0]
    assert row.verdict == "supported" and row.reason.endswith("; by the embedder sound: 0.55 [0.45, 0.65], inconclusive")
    assert "one training, seed 1" in row.reason and "weak" not in row.reason


def test_seeds_are_shown_and_their_mean_is_judged_no_narrower_than_one():
    runs = [make_run("one", (0.7, 0.6, 0.8)), make_run("two", (0.6, 0.5, 0.7), seed=2), make_run("none", (0.9, 0.8, 1), seed=0)]
    table = judge(*runs)
    first = table[table.claim == "C1"]
    assert list(first.verdict) == ["supported", "shown", "shown", "shown"]
    assert first[["value", "low", "high"]].iloc[0].tolist() == pytest.approx([0.65, 0.55, 0.75])
    assert first.runs.iloc[0] == "one two"


def test_the_second_claim_is_judged_on_the_ends_of_a_series_that_have_an_interval():
    sizes = {5: "five", 10: "ten", 20: "twenty", 40: "forty"}
    rows = pd.concat([make_run(name, (0.7, 0.6, 0.8), num_identities=n) for n, name in sizes.items()])
    pairs = [make_difference(rows, first, second, interval, "equal kimg") for first, second, interval in (
        ("five", "forty", (0.3, np.nan, np.nan)), ("ten", "forty", (0.2, 0.1, 0.3)), ("twenty", "forty", (0.0, -0.1, 0.1)),
    )]  # fmt: skip
    table = judge(rows, *pairs)
    growth = table[table.claim == "C2"].set_index("identities")
    assert growth.verdict.to_dict() == {"5 against 40": "shown", "10 against 40": "supported", "20 against 40": "shown"}
    table = judge(rows, make_difference(rows, "ten", "forty", (0.01, -0.03, 0.04), "equal kimg"))
    assert table[table.claim == "C2"].verdict.tolist() == ["not supported"]
    table = judge(rows, make_difference(rows, "ten", "forty", (0.2, 0.1, 0.3), "photos"))
    assert table[table.claim == "C2"].verdict.tolist() == ["shown"], "more photos are no verdict on more identities"


def test_a_pair_with_a_failed_run_is_no_evidence():
    rows = pd.concat([make_run("ten", (0.7, 0.6, 0.8)), make_run("forty", (0.5, 0.4, 0.6), num_identities=40, control_p=0.001)])
    table = judge(rows, make_difference(rows, "ten", "forty", (0.2, 0.1, 0.3), "equal kimg"))
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
    apart = {name: judge(part) for name, part in (("x", add("fastgan", "d", good)), ("y", add("stylegan2", "e", good)))}
    joined = join_claims(apart)
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
    rows = pd.concat([rows, make_difference(rows, "ten", "forty", (0.2, 0.1, 0.3), "equal kimg")])
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
    joined = join_claims({"one": judge(make_run("one", (0.7, 0.6, 0.8)), experiments=experiments)})
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
