"""Figures of the attack: names of rows, one mark a number, and what is hollow."""

import numpy as np
import pandas as pd
import pytest

from ppe.plots import attacks as plots

ROW = {
    "attack": "nearest", "calibration": "", "embedder": "net", "membership": "identity_membership", "control": "none",
    "member_group": "pooled", "value": 0.8, "low": 0.7, "high": 0.9,
}  # fmt: skip
NO_INTERVAL = {"low": np.nan, "high": np.nan}


def read_labels(axis):
    return [text.get_text() for text in axis.get_yticklabels()]


def find_points(axis):
    return [line for line in axis.lines if line.get_marker() == "o"]


def test_scores_have_a_panel_for_each_generator():
    queries = pd.DataFrame({"member_group": ["a", "b"] * 4, "is_member": [True, True, False, False] * 2, "score": np.arange(8.0)})
    figure = plots.plot_scores(queries, "unseen photos")
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == ["generator A", "generator B"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["member", "non-member"]


def test_controls_are_named_from_top_to_bottom():
    negative = {"control": "negative_control", "member_group": "a"}
    rows = pd.DataFrame([ROW, ROW | negative, ROW | {"control": "held_out_ceiling"}])
    axis = plots.plot_controls(rows).axes[0]
    assert read_labels(axis) == [
        "the attack", "negative control (reference generator), group A", "held-out ceiling (other unseen photos)",
    ]  # fmt: skip
    assert axis.yaxis_inverted()


def test_a_row_without_an_interval_is_a_hollow_point():
    axis = plots.plot_intervals(pd.DataFrame([ROW, ROW | NO_INTERVAL]), ["enough", "too few"]).axes[0]
    assert [point.get_markerfacecolor() == "white" for point in find_points(axis)] == [False, True]
    assert len(axis.lines) == 1 + 2 + 1, "one bar, two points, chance"


def test_an_attack_is_named_once_with_three_memberships():
    names = ("identity_membership", "image_membership", "photo_given_identity")
    rows = [{**ROW, "membership": m, "attack": a} for a in ("nearest", "density_ratio") for m in names]
    table = pd.DataFrame(rows)
    table["calibration"] = table.attack.map({"nearest": "", "density_ratio": "reference_generator"})
    without = table.iloc[:3].assign(attack="pixel", embedder="", **NO_INTERVAL)
    figure = plots.plot_memberships(pd.concat([table, table.assign(embedder="other"), without]))
    placed = dict(zip(figure.axes[0].get_yticks(), read_labels(figure.axes[0]), strict=True))
    assert [placed[height] for height in sorted(placed)] == [
        "face model", "nearest", "face model, calibrated", "density ratio (reference generator)",
        "rivals: no face model", "pixel",
    ]  # fmt: skip
    assert len(figure.axes) == 2
    points = [find_points(axis) for axis in figure.axes]
    assert [len(part) for part in points] == [9, 6], "an attack without an embedder is in the first panel"
    assert sum(point.get_markerfacecolor() == "white" for point in points[0]) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(plots.MEMBERSHIP_NAMES.values())


def test_growth_has_a_tick_for_every_number():
    rows = pd.DataFrame([{**ROW, "size": 10}, {**ROW, "size": 1000}])
    axis = plots.plot_growth(rows, "size", "faces", is_log=True).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["10", "1,000"]


def test_the_training_curve_has_a_point_for_every_snapshot():
    rows = pd.DataFrame([
        {**ROW, "kimg": kimg, "metric": metric, "versus": versus}
        for kimg in (2.0, 0.0, 1.0)
        for metric, versus in (("auc", ""), ("effective_identities", ""), *(("kernel_gap", name) for name in plots.GAP_STYLES))
    ])  # fmt: skip
    figure = plots.plot_training_curve(rows, "a run")
    lines = [find_points(axis) for axis in figure.axes]
    assert [len(part) for part in lines] == [1, 2, 1]
    assert all(line.get_xdata().tolist() == [0, 1, 2] for part in lines for line in part)
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["training photos", "members"]


def test_bars_of_attacks_and_seeds_do_not_overlap():
    rows = pd.DataFrame([
        {**ROW, "attack": attack, "membership": membership, "generator": "fastgan", "num_identities": size, "seed": seed}
        for attack in ("nearest", "pixel") for membership in ("identity_membership", "image_membership")
        for size in (10, 40) for seed in (1, 2, 3)
    ])  # fmt: skip
    axis = plots.plot_sizes(rows).axes[0]
    places = np.concatenate([line.get_xdata() for line in find_points(axis)]).astype(float)
    assert len(set(places.round(6))) == 12 and np.exp(np.log(places).mean()) == pytest.approx(20)
    assert places.min() > 8 and places.max() < 50


def test_a_table_shows_the_interval_where_there_is_one():
    rows = pd.DataFrame([ROW, ROW | NO_INTERVAL]).assign(level="photo", aggregate="", p_value=0.0312, num_members=9)
    table = plots.tabulate_auc(rows)
    assert table.auc.tolist() == ["0.80 [0.70, 0.90]", "0.80"] and table.p_value.tolist() == ["0.0312"] * 2
    assert table.identities.tolist() == [9, 9]


def test_a_failed_control_is_red_for_every_embedder():
    for is_sound in (True, False):
        text = plots.show_verdict(True, 0.002, 0.01, is_sound).data
        assert "#B00020" in text and "FAILED" in text and "p = 0.002" in text and "no evidence" in text
    text = plots.show_verdict(False, 0.5, 0.01).data
    assert "#00693E" in text and "passed" in text
    assert "No verdict" in plots.show_verdict(False, 0.5, 0.01, False).data
