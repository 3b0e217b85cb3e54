"""Leak against quality."""

import matplotlib.pyplot as plt
import numpy as np

from ppe.plots.style import FAMILIES, NEUTRAL

LEAK = "AUC of nearest\non unseen photos"
LINEAR = 0.05
"""Kernel distance below which its axis is linear."""
OTHER_FAMILY = ("^", NEUTRAL)


def plot_tradeoff(table, title):
    """Draw a row for each run: its leak, what the defence changed, and the quality of its faces.

    Parameters
    ----------
    table : DataFrame of ``ppe.claims.tradeoff.compare_defences``.
    title : str

    Returns
    -------
    matplotlib Figure with four panels. From the left: less leak; more protection; better faces; and from the right: better faces.
        Filled: no defence. Bars are 95 % intervals; a change has none where the runs' scores are not here.
    """
    places = np.arange(len(table))[::-1]
    figure, axes = plt.subplots(1, 4, figsize=(11, 1.5 + 0.34 * len(table)), layout="constrained", sharey=True)
    for place, row in zip(places, table.itertuples(), strict=True):
        marker, colour = FAMILIES.get(row.generator, OTHER_FAMILY)
        look = {"color": colour, "marker": marker, "markerfacecolor": colour if row.defence == "none" else "white"}
        _draw_interval(axes[0], place, row.auc, row.auc_low, row.auc_high, look)
        _draw_interval(axes[1], place, row.change, row.change_low, row.change_high, look)
        axes[2].plot(row.kernel_distance, place, markersize=7, **look)
        axes[3].plot(100 * row.detected_share, place, markersize=7, **look)
    names = [f"{row.generator}, no defence" if row.defence == "none" else row.defence for row in table.itertuples()]
    axes[0].set_yticks(places, names)
    axes[0].axvline(0.5, linestyle=":", color=NEUTRAL)
    axes[1].axvline(0, linestyle=":", color=NEUTRAL)
    _scale_quality(axes[2])
    axes[2].tick_params(axis="x", labelrotation=90)
    axes[3].set_xlim(-5, 105)
    labels = ("leak: " + LEAK, "change of this AUC\n(left: protects)", "kernel distance\n(left: better faces)",
              "faces that a detector finds, %\n(right: better faces)")  # fmt: skip
    for axis, label in zip(axes, labels, strict=True):
        axis.set_xlabel(label)
    figure.suptitle(title)
    return figure


def _draw_interval(axis, place, value, low, high, look):
    axis.plot([low, high], [place, place], color=look["color"], linewidth=1)
    axis.plot(value, place, markersize=7, **look)


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
        marker, colour = FAMILIES.get(part.generator.iloc[0], OTHER_FAMILY)
        axis.plot(part.kernel_distance, part.auc, label=run, marker=marker, color=colour)
        axis.fill_between(part.kernel_distance, part.auc_low, part.auc_high, color=colour, alpha=0.12)
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
    axis.set_xscale("symlog", linthresh=LINEAR)
    axis.set_xticks([0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5], [0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    axis.set_xticks([], minor=True)
    low, high = axis.dataLim.intervalx
    axis.set_xlim(low / 1.4 if low > LINEAR else min(0.0, low) - 0.005, high * 1.3)
