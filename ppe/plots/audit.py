"""Figures of an audit's report, as SVG text; nothing is computed here but layout."""

import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator, PercentFormatter

from ppe.plots.style import MARK, MEMBER, NEUTRAL, OTHER


def plot_people(queries, flagged=()):
    """Draw the score of each control person and of each person.

    queries : DataFrame identity, is_member (bool), score (large = more exposed). flagged : names that are marked.
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.6), layout="constrained")
    people, controls = queries[queries.is_member], queries[~queries.is_member]
    axis.hist(controls.score, bins=np.histogram_bin_edges(queries.score, 30), color=OTHER, alpha=0.35)
    heights = np.zeros(len(people))
    marked = people.identity.isin(set(flagged)).to_numpy()
    for chosen, shape, label in ((~marked, "o", "person"), (marked, "D", "person who stands out")):
        if chosen.any():
            axis.plot(people.score[chosen], heights[chosen], shape, color=MEMBER, markersize=7, alpha=0.75, clip_on=False,
                      label=label, zorder=3)  # fmt: skip
    axis.set(xlabel="score: right is more exposed", ylabel="control people")
    axis.legend(frameon=False, fontsize=8)
    return figure


def plot_power(table, power, is_named=True):
    """Draw the share of planted people who are found, by the share of the faces that are theirs, with its interval.

    table : DataFrame of ``ppe.audit.power.measure_power``. power : float, the share that counts as enough.
    is_named : bool
        Whether one person alone can be named; where not, the curve of those who are named would be 0 whatever the faces show.
    """
    figure, axis = plt.subplots(figsize=(7.2, 2.8), layout="constrained")
    if is_named:
        reach = np.abs(table[["low", "high"]].to_numpy().T - table.power.to_numpy())
        axis.errorbar(table.share, table.power, reach, color=MEMBER, marker="o", capsize=3, label="named by the audit")
    axis.plot(
        table.share, table.alone, color=NEUTRAL, marker="s", linestyle="--", markersize=4, label="p ≤ 0.05, if asked about alone"
    )
    axis.axhline(power, color=MARK, linestyle=":", linewidth=1)
    axis.set_xscale("log")
    axis.set(
        xlabel="share of the generated faces that are photos of one person", ylabel="planted people found", ylim=(-0.04, 1.04)
    )
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    axis.set_xticks(table.share)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.legend(frameon=False, fontsize=8, loc="best")
    return figure


def plot_roc(roc, num_controls):
    """Draw the ROC curve on a log axis that ends where the controls do, at one control in ``num_controls``.

    roc : DataFrame fpr, tpr (``ppe.statistics.metrics.compute_roc``).
    """
    figure, axis = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    least = 1 / num_controls
    shown = np.clip(roc.fpr, least / 2, 1)
    axis.step(shown, roc.tpr, where="post", color=MEMBER)
    chance = np.geomspace(least, 1, 50)
    axis.plot(chance, chance, color="black", linestyle=":", linewidth=1)
    axis.set_xscale("log")
    axis.set(xlim=(least, 1), ylim=(-0.02, 1.02), xlabel="share of controls at or above a score", ylabel="share of people")
    return figure


def write_svg(figure):
    """A figure as SVG, without its date, so that the same figure gives the same text; the figure is closed."""
    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "ppe", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return buffer.getvalue()
