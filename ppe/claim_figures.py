"""The claims' tables to figures; nothing is computed here but layout. With ``ppe.figures`` and ``ppe.attack_figures`` the
only importer of matplotlib.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

VERDICT_COLOURS = {
    "supported": "#00693E", "not supported": "#B00020", "not resolved": "#B07000", "not measured": "#666666", "shown": "#999999",
}  # fmt: skip
SWEEP_TITLES = {
    "equal kimg": "More people, equal kimg", "equal epochs": "More people, equal epochs",
    "photos": "More photos of the same people",
}  # fmt: skip


def plot_evidence(claims, title=""):
    """Each piece of evidence for C1 (AUC) and C2 (difference of two AUCs) with its interval, coloured by its verdict.

    claims : DataFrame of ``judge_claims``. Hollow: too few people for an interval.
    """
    panels = [("C1", "AUC (0.5, dotted, is chance)", 0.5), ("C2", "difference of AUC (0, dotted, is none)", 0.0)]
    panels = [panel for panel in panels if ((claims.claim == panel[0]) & claims.value.notna()).any()]
    heights = [max(2, int((claims.claim == claim).sum())) for claim, _, _ in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 0.3 * sum(heights) + 1.1 * len(panels)), height_ratios=heights, squeeze=False
    )
    for axis, (claim, xlabel, null) in zip(axes.flat, panels, strict=True):
        part = claims[(claims.claim == claim) & claims.value.notna()]
        for i, row in enumerate(part.itertuples()):
            colour, has_interval = VERDICT_COLOURS[row.verdict], np.isfinite(row.low)
            if has_interval:
                axis.plot([row.low, row.high], [i, i], color=colour, linewidth=3, alpha=0.4, solid_capstyle="butt")
            axis.plot(row.value, i, "o", color=colour, markerfacecolor=colour if has_interval else "white")
        sizes = [f"{r.people} people x {r.photos} photos, {r.kimg} kimg" for r in part.itertuples()]
        names = [f"{r.dataset} {r.gan} {r.resolution} px: {size}" for r, size in zip(part.itertuples(), sizes, strict=True)]
        axis.set_yticks(range(len(part)), names, fontsize=8)
        axis.set_ylim(len(part) - 0.4, -0.6)
        axis.axvline(null, color="black", linestyle=":", linewidth=1)
        axis.set(xlabel=xlabel, title=claim)
    drawn = claims[claims.claim.isin([claim for claim, _, _ in panels]) & claims.value.notna()]
    for verdict, colour in VERDICT_COLOURS.items():
        if (drawn.verdict == verdict).any():
            axes.flat[0].plot([], [], "o", color=colour, label=verdict)
    axes.flat[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


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
            places = table.x * shift * (1 + 0.02 * table.groupby("x").cumcount())  # bars of seeds side by side
            points = axis.errorbar(places, table.value, yerr=reach, fmt="o", capsize=3, label=line)
            means = table.groupby("x").value.mean()
            axis.plot(means.index * shift, means, color=points[0].get_color(), linewidth=1)
        axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
        ticks = sorted(part.x.unique())
        axis.set(xscale="log", title=SWEEP_TITLES[kind], xlim=(min(ticks) * 0.7, max(ticks) * 1.4))
        axis.set_xlabel("training photos of each person" if kind == "photos" else "people in the training set")
        axis.xaxis.set_major_locator(FixedLocator(ticks))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels([f"{tick:g}" for tick in ticks])
        axis.legend(fontsize=7)
    axes.flat[0].set_ylabel("AUC, pooled over two GANs")
    return figure
