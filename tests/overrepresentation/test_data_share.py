"""The leak as a function of data share: tables whose summary is known on paper."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from ppe.config import save_table
from ppe.overrepresentation.data_share import (
    ROW_COLUMNS,
    collect_experiments,
    find_onsets,
    list_rows,
    summarise_data_shares,
    summarise_measures,
    tabulate_detection,
)

DATA_SHARES = [0.0, 0.01, 0.03, 0.1]


def make_values(respond, num_identities=4):
    """Values of a Latin square; ``respond(identity, group, data_share)``."""
    cells = [(f"p{i}", f"r{r}", DATA_SHARES[(i + r) % 4]) for r in range(4) for i in range(num_identities)]
    rows = [(*cell, float(respond(*cell))) for cell in cells]
    return pd.DataFrame(rows, columns=["identity", "group", "data_share", "value"])


def test_no_effect_is_found_where_generators_differ_in_all_identities_alike():
    values = make_values(lambda identity, group, data_share: int(group[1]))
    table = summarise_data_shares(values, num_resamples=50)
    assert table.value[:4].nunique() == 1, "each data share meets each generator once"
    assert table.p_value.dropna().min() > 0.4
    assert table.value.iloc[-1] == pytest.approx(0) and table.statistic.iloc[-1] == "trend"


def test_a_perfect_trend_is_1_and_as_unlikely_as_the_generators_allow():
    table = summarise_data_shares(make_values(lambda identity, group, data_share: data_share), num_resamples=50)
    trend = table[table.statistic == "trend"].iloc[0]
    assert trend.value == pytest.approx(1) and trend.p_value == pytest.approx(1 / 24)
    assert table.p_value[1:4].tolist() == [1 / 16] * 3, "a small data share is compared with 0, not with a large one"
    assert table.data_share[:4].tolist() == DATA_SHARES and table.value[:4].tolist() == DATA_SHARES
    assert table.low.isna().all(), "four identities have no interval"
    falling = summarise_data_shares(make_values(lambda identity, group, data_share: -data_share))
    assert falling.value.iloc[-1] == pytest.approx(-1) and falling.p_value.iloc[-1] == 1


def test_exact_p_values_are_those_of_all_orders_counted_by_hand():
    rng = np.random.default_rng(0)
    values = make_values(lambda identity, group, data_share: rng.random() + 3 * data_share)
    cells = values.pivot(index="identity", columns="data_share", values="value")
    flips = [np.mean(np.array(signs) * (cells[0.1] - cells[0.0])) for signs in itertools.product([1, -1], repeat=4)]
    p_value = np.mean(np.array(flips) >= flips[0] - 1e-12)
    table = summarise_data_shares(values).set_index("data_share")
    assert table.p_value[0.1] == pytest.approx(p_value)
    value, data_share = (values.pivot(index="identity", columns="group", values=n).to_numpy() for n in ("value", "data_share"))
    trends = [np.mean([spearmanr(own[list(order)], levels)[0] for own, levels in zip(value, data_share, strict=True)])
              for order in itertools.permutations(range(4))]  # fmt: skip
    expected = np.mean(np.array(trends) >= trends[0] - 1e-12)
    assert table.p_value[table.statistic == "trend"].item() == pytest.approx(expected)


def test_p_values_are_uniform_without_an_effect():
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(200):
        shift = rng.normal(size=4)  # a generator moves all identities
        values = make_values(lambda identity, group, data_share, shift=shift: shift[int(group[1])] + rng.normal())
        p_values.append(summarise_data_shares(values, num_resamples=0).p_value.iloc[-1])
    assert 0.0 < np.mean(np.array(p_values) <= 0.1) < 0.17


def test_ten_identities_have_an_interval_that_contains_the_mean():
    rng = np.random.default_rng(2)
    values = make_values(lambda identity, group, data_share: rng.random(), num_identities=12)
    table = summarise_data_shares(values, num_resamples=400)
    means = table[table.statistic == "mean"]
    assert ((means.low < means.value) & (means.value < means.high)).all() and (means.num_identities == 12).all()


def test_degenerate_ends_are_numbers():
    only_zero = make_values(lambda identity, group, data_share: 0).assign(data_share=0.0)
    table = summarise_data_shares(only_zero)
    assert table.statistic.tolist() == ["mean"] and table.value.tolist() == [0] and table.p_value.isna().all()
    one = make_values(lambda identity, group, data_share: data_share, num_identities=1)
    assert summarise_data_shares(one).num_identities.eq(1).all()
    many = pd.concat([one.assign(group=one.group + str(k)) for k in range(3)])  # twelve generators: random orders
    assert 0 < summarise_data_shares(many, num_permutations=50).p_value.iloc[-1] <= 1


def test_rows_hold_pseudonyms_and_come_back_as_they_were_saved(tmp_path):
    named = {"embedder": "first", "measure": "match_share", "calibration": ""}
    values = make_values(lambda identity, group, data_share: data_share).assign(**named)
    plan = values[["identity"]].drop_duplicates().assign(target=range(4))
    alarms = pd.DataFrame({"embedder": ["first"], "measure": ["false_alarms"], "calibration": ["generators"],
                           "statistic": ["mean"], "value": [0.25], "num_generators": [4]})  # fmt: skip
    settings = {"kind": "many", "kimg": 2.0, "seed": 3, "baseline": "none"}
    rows = list_rows(values, summarise_measures(values), alarms, plan, {"first": 0.95}, "own", settings)
    assert list(rows.columns) == ROW_COLUMNS
    assert rows.statistic.value_counts().to_dict() == {"identity": 16, "mean": 5, "trend": 1}
    assert set(rows.pseudonym.dropna()) == set("0123") and not rows.isin(["p0", "p1"]).any().any()
    assert (rows.kind == "many").all() and (rows.embedder_auc == 0.95).all() and (rows.experiment == "own").all()
    save_table(rows, tmp_path / "own.csv")
    numbers = ["value", "data_share", "p_value"]
    pd.testing.assert_frame_equal(collect_experiments({"own": tmp_path / "own.csv"})[numbers], rows[numbers], rtol=1e-5)


def test_no_experiment_is_an_empty_table_and_a_missing_one_a_sentence(tmp_path):
    assert collect_experiments({}).empty and list(collect_experiments({}).columns) == ROW_COLUMNS
    with pytest.raises(FileNotFoundError, match="no rows of the experiments .'a'.: .* `dvc repro overrepresentation@a`"):
        collect_experiments({"a": tmp_path / "a.csv"})


def test_detection_is_tabulated_by_data_share():
    values = make_values(lambda identity, group, data_share: data_share > 0.02).assign(measure="detected", calibration="cohort")
    summary = summarise_measures(pd.concat([values.assign(embedder=name) for name in "ab"]), num_resamples=0)
    alarms = pd.DataFrame({"embedder": ["a"], "calibration": ["cohort"], "statistic": ["precision"], "value": [0.5]})
    table = tabulate_detection(pd.concat([summary, find_onsets(summary)]), alarms)
    assert list(table.columns) == ["0.0%", "1.0%", "3.0%", "10.0%", "onset", "precision"]
    assert table.loc[("a", "cohort")].tolist() == [0, 0, 1, 1, 0.03, 0.5] and np.isnan(table.precision.iloc[1])


def test_an_onset_is_where_half_are_detected_from_there_on():
    def onset(*means):
        named = {"embedder": "first", "measure": "detected", "calibration": "generators"}
        values = make_values(lambda identity, group, data_share: means[DATA_SHARES.index(data_share)]).assign(**named)
        return find_onsets(summarise_measures(values)).value.tolist()

    assert onset(0, 0, 0.5, 1) == [0.03] and onset(0, 1, 0.2, 1) == [0.1]
    assert onset(0, 1, 1, 0) == [] and onset(1, 1, 1, 1) == [0.01]
