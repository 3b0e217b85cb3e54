"""Dose and response: embeddings on a circle, and tables whose summary is known on paper."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from ppe.config import save_table
from ppe.overrepresentation.data_share import (
    ROW_COLUMNS,
    average_references,
    choose_baseline,
    collect_experiments,
    find_match_thresholds,
    find_onsets,
    list_rows,
    measure_matches,
    rank_targets,
    summarise_data_shares,
    summarise_measures,
)

DOSES = [0.0, 0.01, 0.03, 0.1]


def on_circle(*degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


def make_experiment(respond, num_identities=4):
    """Values of a Latin square; ``respond(person, group, dose)``."""
    cells = [(f"p{i}", f"r{r}", DOSES[(i + r) % 4]) for r in range(4) for i in range(num_identities)]
    rows = [(*cell, float(respond(*cell))) for cell in cells]
    return pd.DataFrame(rows, columns=["identity", "group", "data_share", "value"])


def test_references_are_averaged_per_person_and_sorted():
    people, means = average_references(on_circle(10, 100, 30, 80), ["b", "a", "b", "a"])
    assert people.tolist() == ["a", "b"]
    torch.testing.assert_close(means, on_circle(90, 20))


def test_every_other_crowd_sets_thresholds_and_none_does_both():
    choosing, judged = choose_baseline(["r3", "r0", "r2", "r1", "r4"])
    assert (choosing, judged) == (["r0", "r2", "r4"], ["r1", "r3"])


def test_a_threshold_lets_the_wanted_share_of_faces_through():
    faces = [on_circle(*range(0, 50)), on_circle(*range(50, 100))]  # degrees from the reference at 0
    threshold = find_match_thresholds(faces, on_circle(0), 0.1)
    matched = (torch.cat(faces) @ on_circle(0).T >= threshold[0]).double().mean()
    assert matched == pytest.approx(0.1, abs=0.011)
    assert threshold[0] == pytest.approx(np.cos(np.deg2rad(10)), abs=0.004)


def test_matches_are_the_share_of_faces_at_or_above_the_persons_own_threshold():
    plan = pd.DataFrame({"identity": ["a", "b"], "group": ["r0", "r0"], "data_share": [0.1, 0.0]})
    generated = {"r0": on_circle(0, 5, 40, 90)}
    values = measure_matches(generated, on_circle(0, 90), np.array(["a", "b"]), np.cos(np.deg2rad([10, 60])), plan)
    assert values.value.tolist() == [0.5, 0.5]
    assert values[["identity", "data_share"]].values.tolist() == [["a", 0.1], ["b", 0.0]]


def test_a_subject_that_the_gan_draws_ranks_above_everybody_and_an_absent_one_does_not():
    photos = pd.DataFrame({"identity": list("aabbnnmmkkll"), "part": ["target"] * 4 + ["control"] * 8})
    queries = on_circle(0, 2, 180, 182, 60, 62, 70, 72, 80, 82, 140, 142)
    plan = pd.DataFrame({"identity": ["a", "b"], "group": ["r0", "r0"], "data_share": [0.1, 0.0]})
    values = rank_targets({"r0": on_circle(1, 3, 90)}, queries, photos, plan, top_k=2)
    assert list(values) == ["nearest", "nearest_top_k"]
    first = values["nearest"].set_index("identity").value
    assert first["a"] == 1 and first["b"] == 0


def test_no_effect_of_the_dose_is_found_where_gans_differ_in_all_people_alike():
    values = make_experiment(lambda person, group, data_share: int(group[1]))
    table = summarise_data_shares(values, num_resamples=50)
    assert table.value[:4].nunique() == 1, "each dose meets each GAN once"
    assert table.p_value.dropna().min() > 0.4
    assert table.value.iloc[-1] == pytest.approx(0) and table.statistic.iloc[-1] == "trend"


def test_a_perfect_trend_is_1_and_as_unlikely_as_the_gans_can_make_it():
    table = summarise_data_shares(make_experiment(lambda person, group, data_share: data_share), num_resamples=50)
    trend = table[table.statistic == "trend"].iloc[0]
    assert trend.value == pytest.approx(1) and trend.p_value == pytest.approx(1 / 24)
    assert table.p_value[1:4].tolist() == [1 / 16] * 3, "a small dose is not held against a large one"
    assert table.data_share[:4].tolist() == DOSES and table.value[:4].tolist() == DOSES
    assert table.low.isna().all(), "four people have no interval"
    falling = summarise_data_shares(make_experiment(lambda person, group, data_share: -data_share))
    assert falling.value.iloc[-1] == pytest.approx(-1) and falling.p_value.iloc[-1] == 1


def test_exact_p_values_are_those_of_all_orders_counted_by_hand():
    rng = np.random.default_rng(0)
    values = make_experiment(lambda person, group, data_share: rng.random() + 3 * data_share)
    cells = values.pivot(index="identity", columns="data_share", values="value")
    flips = [np.mean(np.array(signs) * (cells[0.1] - cells[0.0])) for signs in itertools.product([1, -1], repeat=4)]
    p_value = np.mean(np.array(flips) >= flips[0] - 1e-12)
    table = summarise_data_shares(values).set_index("data_share")
    assert table.p_value[0.1] == pytest.approx(p_value)
    generators, data_share = (values.pivot(index="identity", columns="group", values=name).to_numpy() for name in ("value", "data_share"))
    trends = [np.mean([spearmanr(own[list(order)], levels)[0] for own, levels in zip(generators, data_share, strict=True)])
              for order in itertools.permutations(range(4))]  # fmt: skip
    assert table.p_value[table.statistic == "trend"].item() == pytest.approx(np.mean(np.array(trends) >= trends[0] - 1e-12))


def test_p_values_are_even_where_there_is_nothing():
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(200):
        shift = rng.normal(size=4)  # a GAN moves everybody
        values = make_experiment(lambda person, group, data_share, shift=shift: shift[int(group[1])] + rng.normal())
        p_values.append(summarise_data_shares(values, num_resamples=0).p_value.iloc[-1])
    assert 0.0 < np.mean(np.array(p_values) <= 0.1) < 0.17


def test_ten_people_have_an_interval_that_holds_the_mean():
    rng = np.random.default_rng(2)
    table = summarise_data_shares(make_experiment(lambda person, group, data_share: rng.random(), num_identities=12), num_resamples=400)
    means = table[table.statistic == "mean"]
    assert ((means.low < means.value) & (means.value < means.high)).all() and (means.num_identities == 12).all()


def test_degenerate_ends_are_numbers():
    only_zero = make_experiment(lambda person, group, data_share: 0).assign(data_share=0.0)
    table = summarise_data_shares(only_zero)
    assert table.statistic.tolist() == ["mean"] and table.value.tolist() == [0] and table.p_value.isna().all()
    one = make_experiment(lambda person, group, data_share: data_share, num_identities=1)
    assert summarise_data_shares(one).num_identities.eq(1).all()
    many = pd.concat([one.assign(group=one.group + str(k)) for k in range(3)])  # twelve GANs: random orders
    assert 0 < summarise_data_shares(many, num_permutations=50).p_value.iloc[-1] <= 1


def test_rows_hold_numbers_in_the_place_of_names_and_come_back_as_they_went(tmp_path):
    values = make_experiment(lambda person, group, data_share: data_share).assign(embedder="net", measure="match_share", calibration="")
    plan = values[["identity"]].drop_duplicates().assign(target=range(4))
    alarms = pd.DataFrame({"embedder": ["net"], "measure": ["false_alarms"], "calibration": ["generators"], "statistic": ["mean"],
                           "value": [0.25], "num_generators": [4]})  # fmt: skip
    settings = {"kind": "many", "kimg": 2.0, "seed": 3, "baseline": "none"}
    rows = list_rows(values, summarise_measures(values), alarms, plan, {"net": 0.95}, "sq", settings)
    assert list(rows.columns) == ROW_COLUMNS and rows.statistic.value_counts().to_dict() == {"person": 16, "mean": 5, "trend": 1}
    assert set(rows.person.dropna()) == set("0123") and not rows.isin(["p0", "p1"]).any().any()
    assert (rows.kind == "many").all() and (rows.embedder_auc == 0.95).all()
    save_table(rows, tmp_path / "sq.csv")
    pd.testing.assert_frame_equal(
        collect_experiments({"sq": tmp_path / "sq.csv"})[["value", "data_share", "p_value"]], rows[["value", "data_share", "p_value"]], rtol=1e-5
    )


def test_no_square_is_an_empty_table_and_a_missing_one_a_sentence(tmp_path):
    assert collect_experiments({}).empty and list(collect_experiments({}).columns) == ROW_COLUMNS
    with pytest.raises(FileNotFoundError, match="no rows of the squares .'a'.: make them with `dvc repro dose@a`"):
        collect_experiments({"a": tmp_path / "a.csv"})


def test_an_onset_is_where_half_are_found_from_there_on():
    def onset(*means):
        values = make_experiment(lambda person, group, data_share: means[DOSES.index(data_share)]).assign(embedder="net", measure="detected",
                                                                                         calibration="generators")  # fmt: skip
        return find_onsets(summarise_measures(values)).value.tolist()

    assert onset(0, 0, 0.5, 1) == [0.03] and onset(0, 1, 0.2, 1) == [0.1]
    assert onset(0, 1, 1, 0) == [] and onset(1, 1, 1, 1) == [0.01]
