"""Figures of the attack hold what a reader needs: names of rows, one mark a number."""

import numpy as np
import pandas as pd

from ppe.plots.attacks import plot_controls, plot_growth, plot_intervals, plot_memberships, show_verdict

ROW = {"attack": "nearest", "calibration": "", "embedder": "net", "membership": "identity_membership", "control": "none", "member_group": "pooled"}
ROW |= {"value": 0.8, "low": 0.7, "high": 0.9}


def test_controls_are_named_in_words_from_top_to_bottom():
    rows = pd.DataFrame([ROW, {**ROW, "control": "negative_control", "member_group": "a"}, {**ROW, "control": "held_out_ceiling"}])
    axis = plot_controls(rows).axes[0]
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels == [
        "the attack", "control: GAN c, who saw other people, half a", "ceiling: their other unseen photos as generated",
    ]  # fmt: skip
    assert axis.yaxis_inverted()


def test_too_few_people_is_a_hollow_point_without_a_bar():
    rows = pd.DataFrame([ROW, {**ROW, "low": np.nan, "high": np.nan}])
    axis = plot_intervals(rows, ["enough", "too few"]).axes[0]
    points = [line for line in axis.lines if line.get_marker() == "o"]
    assert [p.get_markerfacecolor() for p in points][1] == "white" and len(axis.lines) == 1 + 2 + 1  # bar, points, chance


def test_an_attack_stands_once_with_three_memberships():
    names = ("identity_membership", "image_membership", "photo_given_identity")
    rows = [{**ROW, "membership": m, "attack": a} for a in ("nearest", "pixel") for m in names]
    table = pd.DataFrame(rows).assign(calibration=["", "", "", "reference_generator", "reference_generator", "reference_generator"])
    without = table.iloc[:3].assign(attack="mine", embedder="")
    figure = plot_memberships(pd.concat([table, table.assign(embedder="other"), without]))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["nearest", "pixel, against the reference generator", "mine"] and len(figure.axes) == 2
    points = [sum(line.get_marker() == "o" for line in axis.lines) for axis in figure.axes]
    assert points == [9, 6], "an attack without an embedder stands in the first panel"


def test_growth_has_a_tick_for_every_number():
    rows = pd.DataFrame([{**ROW, "size": 10}, {**ROW, "size": 100}])
    axis = plot_growth(rows, "size", "faces", is_log=True, notes={10: "1 s", 100: "9 s"}).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["10\n1 s", "100\n9 s"]


def test_a_failed_control_is_red_whatever_the_net():
    for is_sound in (True, False):
        text = show_verdict(True, 0.002, 0.01, is_sound).data
        assert "#B00020" in text and "FAILED" in text and "p = 0.002" in text and "no evidence" in text
    assert "#00693E" in show_verdict(False, 0.5, 0.01).data and "passed" in show_verdict(False, 0.5, 0.01).data
    assert "No verdict" in show_verdict(False, 0.5, 0.01, False).data
