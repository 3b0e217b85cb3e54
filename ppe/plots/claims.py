"""Figures of several runs side by side, and of the evidence for the claims; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from ppe.plots.attacks import CONTROL_NAMES, CONTROL_STYLES
from ppe.plots.style import MEMBER

VERDICT_COLOURS = {
    "supported": "#00693E", "appearance": "#6A8A00", "not supported": "#B00020", "inconclusive": "#B07000",
    "not measured": "#666666", "shown": "#999999",
}  # fmt: skip
SWEEP_TITLES = {
    "equal kimg": "More identities, equal kimg", "equal epochs": "More identities, equal epochs",
    "photos": "More photos of the same identities",
}  # fmt: skip
ATTACK_STYLES = {"a": {"color": MEMBER, "linewidth": 1.8}, "b": {"color": MEMBER, "linewidth": 1.8, "linestyle": "--"}}
UNITS = {
    "C1": ("AUC (0.5, dotted, is chance)", 0.5, 0.1), "C2": ("difference of AUC (0, dotted, is none)", 0.0, 0.1),
    "C4": ("increase in matching faces, percentage points (0, dotted, is none)", 0.0, 0.2),
}  # fmt: skip
"""Claim -> the label of its axis, the value without a leak, and how far to both sides of it the axis goes at least."""
PANELS = 4  # runs side by side in ``plot_rocs``
LOWEST_RATE = 5e-3  # where its log-log panels begin


def plot_rocs(curves, resolved):
    """Draw the ROC of every run, one column each: linear above, log-log below; controls grey, ceilings green.

    Parameters
    ----------
    curves : DataFrame run, control, member_group, fpr, tpr.
    resolved : dict, run -> float
        The smallest false positive rate that its identities resolve (1 / n). The log-log panel is shaded below it.
    """
    runs = list(curves.run.unique())
    columns, lines = min(PANELS, len(runs)), -(-len(runs) // PANELS)
    size = (2.9 * columns, 5.4 * lines + 0.6)
    figure, axes = plt.subplots(2 * lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_visible(False)
    for number, run in enumerate(runs):
        pair = [axes[2 * (number // PANELS) + line, number % PANELS] for line in (0, 1)]
        for axis in pair:
            axis.set_visible(True)
            for (control, member_group), roc in curves[curves.run == run].groupby(["control", "member_group"], sort=False):
                is_attack = control == "none"
                label = f"the attack, group {member_group.upper()}" if is_attack else CONTROL_NAMES[control]
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
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", fontsize=8, ncols=columns)
    return figure


def plot_evidence(claims, title=""):
    """Draw each piece of evidence with its interval, coloured by its verdict; hollow where there is no interval.

    C1 is an AUC, C2 a difference of two AUCs, C4 a difference of two shares of generated faces. C3 has no panel.

    claims : DataFrame of ``ppe.claims.verdicts.judge_claims``.
    """
    has_unit = claims.value.notna() & ((claims.claim != "C4") | claims.measure.str.startswith("difference"))
    panels = [(name, *unit, claims[has_unit & (claims.claim == name)]) for name, unit in UNITS.items()]
    panels = [panel for panel in panels if len(panel[-1])]
    heights = [max(2, len(part)) for *_, part in panels]
    size = (9, 0.3 * sum(heights) + 1.1 * len(panels))
    figure, axes = plt.subplots(len(panels), 1, figsize=size, height_ratios=heights, squeeze=False, layout="constrained")
    for axis, (claim, xlabel, null, reach, part) in zip(axes.flat, panels, strict=True):
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
        low, high = axis.get_xlim()
        axis.set(xlabel=xlabel, title=claim, xlim=(min(low, null - reach), max(high, null + reach)))
    drawn = pd.concat([part for *_, part in panels])
    for verdict, colour in VERDICT_COLOURS.items():
        if (drawn.verdict == verdict).any():
            axes.flat[0].plot([], [], "o", color=colour, label=verdict)
    axes.flat[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _name_evidence(row):
    """The label of a line of ``plot_evidence``; a mean over runs says so, and one of its runs has that run's name."""
    note = " (exploratory)" if "exploratory" in row.reason else ""
    if row.claim == "C4":
        end = ": training photos as generated" if row.measure.endswith("ceiling") else ""
        experiment = row.runs.split()[0]  # and its baseline; a comparison alone does not tell a square from `single`
        return f"{row.dataset} {row.generator} {row.resolution} px: {experiment}, identities: {row.identities}{end}{note}"
    if row.reason == "one of several seeds":
        return row.runs.replace(" ", " against ")
    num_seeds = len(row.runs.split()) // (2 if row.claim == "C2" else 1)
    seeds = f", mean of {num_seeds} seeds" if num_seeds > 1 else ""
    size = f"{row.identities} identities x {row.photos} photos, {row.kimg} kimg"
    return f"{row.dataset} {row.generator} {row.resolution} px: {size}{seeds}{note}"


def plot_sweeps(sweeps):
    """Draw AUC against identities, or photos of each, one panel a sweep; a line joins the means over seeds.

    sweeps : DataFrame of ``ppe.claims.evidence.list_sweeps``. A run without a bar has too few identities for an interval.
    """
    kinds = [kind for kind in SWEEP_TITLES if (sweeps.sweep == kind).any()]
    size = (4.2 * len(kinds) + 1, 3.4)
    figure, axes = plt.subplots(1, len(kinds), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, kind in zip(axes.flat, kinds, strict=True):
        part = sweeps[sweeps.sweep == kind]
        for k, (line, table) in enumerate(part.groupby("line", sort=False)):
            shift = 1 + 0.03 * k
            reach = np.nan_to_num(np.stack([table.value - table.low, table.high - table.value])).clip(0)
            places = table.x * shift * (1 + 0.02 * table.groupby("x").cumcount())  # bars of seeds side by side
            points = axis.errorbar(places, table.value, yerr=reach, fmt="o", capsize=3, label=line)
            means = table.groupby("x").value.mean()
            axis.plot(means.index * shift, means, color=points[0].get_color(), linewidth=1)
        axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
        ticks = sorted(part.x.unique())
        axis.set(xscale="log", title=SWEEP_TITLES[kind], xlim=(min(ticks) * 0.7, max(ticks) * 1.4))
        axis.set_xlabel("training photos of each identity" if kind == "photos" else "identities in the training set")
        axis.xaxis.set_major_locator(FixedLocator(ticks))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels([f"{tick:g}" for tick in ticks])
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.2))
    axes.flat[0].set_ylabel("AUC, pooled over two generators")
    return figure
