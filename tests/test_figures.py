"""Figures hold what a reader needs: names of rows, one mark a number."""

import pandas as pd

from ppe.figures import plot_attacks


def test_rows_of_the_attack_figure_are_named_in_words():
    row = {"attack": "identity", "membership": "identity", "control": "none", "half": "pooled"}
    row |= {"value": 0.8, "low": 0.7, "high": 0.9}
    rows = pd.DataFrame([{**row, "level": "photo", "aggregate": ""}, {**row, "level": "person", "aggregate": "mean"}])
    labels = [text.get_text() for text in plot_attacks(rows).axes[0].get_yticklabels()]
    assert labels == [
        "identity, unseen photos of members, per person (mean)",
        "identity, unseen photos of members, per photo",
    ]
