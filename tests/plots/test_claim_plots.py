"""Figures of several runs: nothing is cut off."""

import pandas as pd
import pytest

from ppe.plots.claims import plot_evidence, plot_rocs

LINES = [("none", "a"), ("none", "b"), *((name, "a") for name in
         ("negative_control", "untrained", "memorisation_ceiling", "held_out_ceiling"))]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_legend_of_the_roc_curves_fits_below_them(count):
    runs = [f"run-{number}" for number in range(count)]
    curves = pd.DataFrame([{"run": run, "control": control, "member_group": group, "fpr": rate, "tpr": rate}
                           for run in runs for control, group in LINES for rate in (0.0, 0.5, 1.0)])  # fmt: skip
    figure = plot_rocs(curves, dict.fromkeys(runs, 0.1))
    figure.canvas.draw()
    legend, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert whole.x0 <= legend.x0 and legend.x1 <= whole.x1 and whole.y0 <= legend.y0
    assert len(figure.legends[0].get_texts()) == len(LINES) + 1


def test_a_square_and_single_targets_have_names_of_their_own():
    row = {"claim": "C4", "comparison": "many", "dataset": "mine", "generator": "fastgan", "resolution": 32, "identities": "10",
           "measure": "difference of match_share", "value": 0.1, "low": 0.0, "high": 0.2, "verdict": "supported",
           "reason": ""}  # fmt: skip
    rows = pd.DataFrame([row | {"runs": runs} for runs in ("many none", "single none")])
    labels = [text.get_text() for text in plot_evidence(rows, "mine").axes[0].get_yticklabels()]
    assert sorted(labels) == ["mine fastgan 32 px: many, identities: 10", "mine fastgan 32 px: single, identities: 10"]
