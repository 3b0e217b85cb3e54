"""What several runs show side by side, and the claims' tables, to figures; nothing is computed here but layout. With
``ppe.plots.style``, ``ppe.plots.attacks`` and ``ppe.plots.overrepresentation`` the only importer of matplotlib.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from ppe.plots.attacks import CONTROL_NAMES, CONTROL_STYLES

VERDICT_COLOURS = {
    "supported": "#00693E", "not supported": "#B00020", "not resolved": "#B07000", "not measured": "#666666", "shown": "#999999",
}  # fmt: skip
SWEEP_TITLES = {
    "equal kimg": "More people, equal kimg", "equal epochs": "More people, equal epochs",
    "photos": "More photos of the same people",
}  # fmt: skip
ATTACK_STYLES = {"a": {"color": "#D55E00", "linewidth": 1.8}, "b": {"color": "#D55E00", "linewidth": 1.8, "linestyle": "--"}}
UNITS = {
    "C1": ("AUC (0.5, dotted, is chance)", 0.5), "C2": ("difference of AUC (0, dotted, is none)", 0.0),
    "C4": ("generated faces that match the person, more in a hundred (0, dotted, is none)", 0.0),
}  # fmt: skip
"""Claim -> what its evidence is measured in, and where there is none."""
PANELS = 4
LOWEST_RATE = 5e-3
"""Runs side by side, and where the log-log panels of ``plot_rocs`` begin."""


def plot_rocs(curves, resolved):
    """ROC of every run, a column a run: linear above, log-log below; orange the two GANs, grey controls, green ceilings.

    curves : DataFrame run, control, half, fpr, tpr. resolved : dict, run -> smallest FPR that its people resolve (1 / n); the
    log-log panel is shaded below it, where it says nothing.
    """
    runs = list(curves.run.unique())
    columns, lines = min(PANELS, len(runs)), -(-len(runs) // PANELS)
    figure, axes = plt.subplots(2 * lines, columns, figsize=(2.9 * columns, 5.4 * lines + 0.6), squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    for number, run in enumerate(runs):
        pair = [axes[2 * (number // PANELS) + line, number % PANELS] for line in (0, 1)]
        for axis in pair:
            axis.set_visible(True)
            for (control, member_group), roc in curves[curves.run == run].groupby(["control", "member_group"], sort=False):
                is_attack = control == "none"
                label = f"the attack, GAN {member_group}" if is_attack else CONTROL_NAMES[control]
                style = ATTACK_STYLES[member_group] if is_attack else CONTROL_STYLES[control]
                axis.step(roc.fpr, roc.tpr, where="post", label=label, **style, zorder=3 if is_attack else 2)
            chance = np.geomspace(LOWEST_RATE, 1, 50)
            axis.plot(chance, chance, color="black", linestyle=":", linewidth=1, label="chance")
        pair[0].set_title(run, fontsize=8)
        pair[0].set(xlim=(-0.02, 1), ylim=(0, 1.02))
        pair[1].set(xscale="log", yscale="log", xlim=(LOWEST_RATE, 1), ylim=(LOWEST_RATE, 1.05), xlabel="false positive rate")
        pair[1].axvspan(LOWEST_RATE, resolved[run], color="#F2F2F2", zorder=0)
        if number % PANELS == 0:
            for axis in pair:
                axis.set_ylabel("true positive rate")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", fontsize=8, ncols=min(4, 2 * columns))
    return figure


def plot_evidence(claims, title=""):
    """Each piece of evidence for C1 (AUC), C2 (difference of two AUCs) and C4 (difference of two shares of generated faces) with
    its interval, coloured by its verdict.

    claims : DataFrame of ``judge_claims``. Hollow: too few people for an interval.
    """
    has_unit = claims.value.notna() & ((claims.claim != "C4") | claims.measure.str.startswith("difference"))
    panels = [(name, label, null, claims[has_unit & (claims.claim == name)]) for name, (label, null) in UNITS.items()]
    panels = [panel for panel in panels if len(panel[-1])]
    heights = [max(2, len(part)) for *_, part in panels]
    size = (9, 0.3 * sum(heights) + 1.1 * len(panels))
    figure, axes = plt.subplots(len(panels), 1, figsize=size, height_ratios=heights, squeeze=False)
    for axis, (claim, xlabel, null, part) in zip(axes.flat, panels, strict=True):
        scale = 100 if claim == "C4" else 1
        for i, row in enumerate(part.itertuples()):
            colour, has_interval = VERDICT_COLOURS[row.verdict], np.isfinite(row.low)
            if has_interval:
                ends = [scale * row.low, scale * row.high]
                axis.plot(ends, [i, i], color=colour, linewidth=3, alpha=0.4, solid_capstyle="butt")
            axis.plot(scale * row.value, i, "o", color=colour, markerfacecolor=colour if has_interval else "white")
        axis.set_yticks(range(len(part)), [_name_evidence(row) for row in part.itertuples()], fontsize=8)
        axis.set_ylim(len(part) - 0.4, -0.6)
        axis.axvline(null, color="black", linestyle=":", linewidth=1)
        axis.set(xlabel=xlabel, title=claim)
    drawn = pd.concat([part for *_, part in panels])
    for verdict, colour in VERDICT_COLOURS.items():
        if (drawn.verdict == verdict).any():
            axes.flat[0].plot([], [], "o", color=colour, label=verdict)
    axes.flat[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _name_evidence(row):
    """What a line of ``plot_evidence`` is of, in words: a mean over runs says so, and one of its runs has that run's name."""
    if row.claim == "C4":
        end = ": a GAN that copies" if row.measure.endswith("ceiling") else ""
        note = " (exploratory)" if "exploratory" in row.reason else ""
        return f"{row.dataset} {row.generator} {row.resolution} px: {row.comparison}, people tested: {row.people}{end}{note}"
    if row.reason == "one of several seeds":
        return row.runs.replace(" ", " against ")
    num_seeds = len(row.runs.split()) // (2 if row.claim == "C2" else 1)
    seeds = f", mean of {num_seeds} seeds" if num_seeds > 1 else ""
    return f"{row.dataset} {row.generator} {row.resolution} px: {row.people} people x {row.photos} photos, {row.kimg} kimg{seeds}"


def plot_sweeps(sweeps):
    """AUC against people (or photos a person), a panel a sweep: each run with its interval, a line through the seeds' means.

    sweeps : DataFrame of ``list_sweeps``. A run without a bar has too few people for an interval.
    """
    kinds = [kind for kind in SWEEP_TITLES if (sweeps.sweep == kind).any()]
    figure, axes = plt.subplots(1, len(kinds), figsize=(4.2 * len(kinds) + 1, 3.4), sharey=True, squeeze=False)
    for axis, kind in zip(axes.flat, kinds, strict=True):
        part = sweeps[sweeps.sweep == kind]
        for k, (line, table) in enumerate(part.groupby("line", sort=False)):
            shift = 1 + 0.03 * k
            reach = np.nan_to_num(np.stack([table.value - table.low, table.high - table.value])).clip(0)
            peaks = table.x * shift * (1 + 0.02 * table.groupby("x").cumcount())  # bars of seeds side by side
            points = axis.errorbar(peaks, table.value, yerr=reach, fmt="o", capsize=3, label=line)
            means = table.groupby("x").value.mean()
            axis.plot(means.index * shift, means, color=points[0].get_color(), linewidth=1)
        axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
        ticks = sorted(part.x.unique())
        axis.set(xscale="log", title=SWEEP_TITLES[kind], xlim=(min(ticks) * 0.7, max(ticks) * 1.4))
        axis.set_xlabel("training photos of each person" if kind == "photos" else "people in the training set")
        axis.xaxis.set_major_locator(FixedLocator(ticks))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels([f"{tick:g}" for tick in ticks])
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.2))
    axes.flat[0].set_ylabel("AUC, pooled over two GANs")
    return figure
