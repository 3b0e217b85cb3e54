"""Figures of experiments are drawn from tables, also from their degenerate ends."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ppe.overrepresentation.data_share import summarise_measures
from ppe.overrepresentation.density_scan import count_alarms
from ppe.overrepresentation.latin_square import plan_data_shares
from ppe.overrepresentation.placebo_test import compare_measures
from ppe.plots import overrepresentation as plots
from ppe.plots.style import use_style

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def _style(root):
    """The study's look, for these tests alone: the next file of this process draws in matplotlib's own."""
    with plt.rc_context():
        use_style(root / "ppe.mplstyle")
        yield
    plt.close("all")


@pytest.fixture
def plan():
    plan = plan_data_shares(kind="many", num_overrepresented=3, num_rotations=3, data_shares=[0.0, 0.05, 0.1], num_photos=100)
    return plan.assign(share=plan.num_photos / 100)


def test_the_design_writes_the_photos_into_the_cells(plan):
    axis = plots.plot_design(plan).axes[0]
    assert [text.get_text() for text in axis.texts] == ["0", "5", "10", "5", "10", "0", "10", "0", "5"]


@pytest.mark.parametrize("is_log", [False, True])
def test_a_data_share_has_its_place_and_an_embedder_its_panel(plan, is_log):
    named = {"measure": "match_share", "calibration": ""}
    own = plan.assign(identity=plan.target.astype(str), value=plan.data_share, **named)
    values = pd.concat([own.assign(embedder=embedder) for embedder in ("one", "two")])
    figure = plots.plot_data_shares(values, summarise_measures(values), "match_share", "title", chance=0.001, is_log=is_log)
    assert len(figure.axes) == 2
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.0%", "5.0%", "10.0%"]
    assert figure.axes[0].get_title("left").startswith("one: rank correlation 1, p = ")
    controls = values.drop_duplicates(["embedder", "group"]).assign(identity="n", value=0.002)
    summary = pd.concat([summarise_measures(values), compare_measures(values, controls, num_draws=20)])
    figure = plots.plot_data_shares(values, summary, "match_share", "title", is_log=is_log)
    assert figure.axes[0].get_title("left").startswith("one: increase 0.1, p = ")
    named = [text.get_text() for text in figure.legends[0].texts]
    assert named == ["control identities, mean", "a target in one generator", "targets, mean"]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1] == 0.002).all() and set(band[:, 0]) == {0, 1, 2}
    none = values.assign(data_share=0.0)
    plots.plot_data_shares(none, summarise_measures(none), "match_share", is_log=is_log)


def test_peaks_are_coloured_by_what_they_are():
    peaks = pd.DataFrame({"group": list("aab"), "score": [90.0, 5.0, 30.0], "data_share": [0.1, np.nan, np.nan],
                           "is_alarm": [True, False, True], "is_true": [True, False, False],
                           "identity": list("pxx")})  # fmt: skip
    axis = plots.plot_peaks(peaks, 20.0).axes[0]
    assert [len(line.get_xdata()) for line in axis.lines[:3]] == [1, 1, 1]
    assert [text.get_text() for text in axis.texts] == ["10.0%"]
    plots.plot_peaks(peaks.iloc[:0], peaks.iloc[:0].score.max()).canvas.draw()  # no peak, so no threshold: NaN
    alarms = count_alarms(peaks, ["a", "b"]).assign(embedder="first", calibration="generators")
    assert len(plots.plot_alarms(alarms).axes[0].patches) == 2


def test_the_gallery_has_a_photo_and_a_face_for_each_data_share():
    photos, faces = np.zeros((2, 3, 8, 8), np.uint8), np.zeros((2, 3, 3, 8, 8), np.uint8)
    assert len(plots.plot_gallery(photos, faces, [0, 0.05, 0.1]).axes[0].images) == 8
