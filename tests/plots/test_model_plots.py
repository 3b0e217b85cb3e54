"""Figures of what is trained: a panel of each loss, whatever it is called."""

import pandas as pd

from ppe.plots.models import plot_losses


def test_losses_of_a_trainer_of_ones_own_have_a_panel_each():
    """Before, all generators were trained, and then a column was missing."""
    rows = [(group, images, 1.0, 2.0) for group in "abc" for images in (0, 100)]
    figure = plot_losses(pd.DataFrame(rows, columns=["group", "images", "loss_pixels", "loss_divergence"]))
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == ["loss pixels", "loss divergence"]
    alone = plot_losses(pd.DataFrame([row[:3] for row in rows], columns=["group", "images", "loss_pixels"]))
    assert [axis.get_title(loc="left") or axis.get_title() for axis in alone.axes] == ["loss pixels"]
