"""Leak against quality."""

import matplotlib.pyplot as plt
import numpy as np

from ppe.plots.style import NEUTRAL

BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""Of a name, which may lie on the bar of another point."""
LEAK = "AUC of nearest on unseen photos"
MARKERS = {"fastgan": "o", "stylegan2": "s", "edm": "D"}
COLOURS = {"fastgan": "tab:blue", "stylegan2": "tab:purple", "edm": "tab:orange"}


def plot_tradeoff(table, title):
    """Draw each run as a point: its leak against the distance of its faces from real ones.

    Parameters
    ----------
    table : DataFrame of ``ppe.claims.tradeoff.compare_defences``.
    title : str

    Returns
    -------
    matplotlib Figure. To the left are better faces, at the bottom is less leak. Filled: no defence. The bar is the 95 % interval,
        and in brackets stands the share of faces in which a detector finds a face.
    """
    figure, axis = plt.subplots(figsize=(8, 4.6), layout="constrained")
    farthest = table.kernel_distance.max()
    for row in table.itertuples():
        is_plain, colour = row.defence == "none", COLOURS.get(row.generator, NEUTRAL)
        error = [[row.auc - row.auc_low], [row.auc_high - row.auc]]
        axis.errorbar(row.kernel_distance, row.auc, error, fmt=MARKERS.get(row.generator, "^"), color=colour, alpha=0.9,
                      markerfacecolor=colour if is_plain else "white", markersize=7, elinewidth=0.8)
        found = "" if np.isnan(row.detected_share) else f" ({100 * row.detected_share + 1e-9:.0f} %)"
        name = (row.generator if is_plain else row.defence) + found
        is_last = row.kernel_distance == farthest  # its name would leave the axes
        axis.annotate(name, (row.kernel_distance, row.auc), xytext=(-7 if is_last else 7, 5), textcoords="offset points",
                      ha="right" if is_last else "left", color=colour, fontsize=9, bbox=BEHIND)
    axis.axhline(0.5, linestyle=":", color=NEUTRAL)
    _scale_quality(axis)
    quality = "kernel distance from unseen photos (small: good faces); in brackets: faces that a detector finds"
    axis.set(xlabel=quality, ylabel=LEAK, title=title)
    return figure


def plot_training_paths(table, title):
    """Draw the leak of each generator against the distance of its faces from real ones, over its training.

    Parameters
    ----------
    table : DataFrame of ``ppe.claims.tradeoff.trace_training``, one run a generator.
    title : str

    Returns
    -------
    matplotlib Figure. A line goes from an early snapshot, at the right, to the last one. Bands are 95 % intervals.
    """
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for run, part in table.groupby("run", sort=False):
        generator = part.generator.iloc[0]
        look = {"color": COLOURS.get(generator, NEUTRAL), "marker": MARKERS.get(generator, "^")}
        axis.plot(part.kernel_distance, part.auc, label=run, **look)
        axis.fill_between(part.kernel_distance, part.auc_low, part.auc_high, color=look["color"], alpha=0.12)
        for row in part.itertuples():
            place = (row.kernel_distance, row.auc)
            axis.annotate(f"{row.kimg:g}", place, xytext=(3, -11), textcoords="offset points", fontsize=8)
    axis.axhline(0.5, linestyle=":", color=NEUTRAL)
    _scale_quality(axis)
    axis.invert_xaxis()
    axis.set(xlabel="kernel distance from unseen photos (to the right: better faces)", ylabel=LEAK, title=title)
    axis.legend(title="numbers are kimg", fontsize=8)
    return figure


def _scale_quality(axis):
    """Distances differ by a factor of a hundred; the estimate is unbiased, so that it may fall below 0."""
    axis.set_xscale("symlog", linthresh=0.05)
    axis.set_xticks([0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5], [0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    axis.set_xticks([], minor=True)
    low, high = axis.dataLim.intervalx
    axis.set_xlim(min(0.0, low) - 0.005, high * 1.3)
