"""The attack's tables to figures; nothing is computed here but layout. With ``ppe.plots.style`` the only importer of matplotlib
and seaborn.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import HTML
from matplotlib.ticker import FixedLocator, NullLocator

from ppe.plots.faces import plot_faces
from ppe.plots.style import MEMBER, OTHER

MEMBERSHIP_NAMES = {
    "identity_membership": "unseen photos of members",
    "image_membership": "training photos themselves",
    "photo_given_identity": "which photos of one person",
}
MEMBERSHIP_COLOURS = {"identity_membership": MEMBER, "image_membership": "#CC79A7", "photo_given_identity": "#009E73"}
CONTROL_NAMES = {
    "none": "the attack",
    "negative_control": "control: GAN c, who saw other people",
    "untrained": "control: untrained generators",
    "memorisation_ceiling": "ceiling: training photos as generated",
    "held_out_ceiling": "ceiling: their other unseen photos as generated",
}
CONTROL_STYLES = {
    "negative_control": {"color": "#666666", "linewidth": 0.9},
    "untrained": {"color": "#BBBBBB", "linewidth": 0.9},
    "memorisation_ceiling": {"color": "#009E73", "linewidth": 0.9},
    "held_out_ceiling": {"color": "#009E73", "linewidth": 0.9, "linestyle": "--"},
}


def plot_scores(queries, title, xlabel="score: cosine to the nearest generated face"):
    """Scores of members and non-members, a panel a half; ``queries``: half, is_member, score."""
    member_groups, edges = sorted(queries.member_group.unique()), np.histogram_bin_edges(queries.score, 24)
    figure, axes = plt.subplots(1, len(member_groups), figsize=(4.8 * len(member_groups), 3), squeeze=False, sharex=True)
    for axis, member_group in zip(axes.flat, member_groups, strict=True):
        part = queries[queries.member_group == member_group]
        data = part.assign(person=np.where(part.is_member, "member", "non-member"))
        sns.histplot(
            data, x="score", hue="person", hue_order=["member", "non-member"], palette=[MEMBER, OTHER],
            bins=edges, stat="density", common_norm=False, element="step", alpha=0.35, ax=axis,
        )  # fmt: skip
        axis.set(title=f"{title}: GAN {member_group}", xlabel=xlabel, ylabel="density")
        axis.get_legend().set_title("")
    return figure


def plot_nearest(query, generated, cosines, title=""):
    """A query photo, uint8 [3, H, H], and the generated faces nearest to it, uint8 [n, 3, H, H], each with its cosine."""
    faces = np.concatenate([np.asarray(query)[None], np.asarray(generated)])
    return plot_faces(faces, ["the photo", *(f"{cosine:.2f}" for cosine in cosines)], columns=len(faces), title=title)


def plot_triples(query, generated, training, scores, title):
    """Query / nearest generated / the member's nearest training photo, a column a person: three uint8 [N, 3, H, W]."""
    faces = np.concatenate([np.asarray(query), np.asarray(generated), np.asarray(training)])
    titles = [f"{s:.2f}" for s in scores] + [""] * (2 * len(scores))
    names = ["query photo", "nearest\ngenerated", "nearest\ntraining photo"]
    return plot_faces(faces, titles, columns=len(scores), title=title, row_titles=names)


def plot_roc(curves, title="", resolved=None):
    """ROC, linear and log-log: a line a run and half; controls grey, the ceiling green, chance dotted.

    curves : DataFrame run, control, half, fpr, tpr. resolved : smallest FPR that the people resolve (1 / n); the shaded
    part of the log-log panel below it says nothing.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.4))
    colours = dict(zip(curves.run.unique(), plt.rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    for axis in axes:
        for (run, control, member_group), roc in curves.groupby(["run", "control", "member_group"], sort=False):
            is_attack = control == "none"
            style = {"color": colours[run], "linestyle": "-" if member_group == "a" else "--"} if is_attack else CONTROL_STYLES[control]
            label = f"{run}, GAN {member_group}" if is_attack else CONTROL_NAMES[control]
            axis.step(roc.fpr, roc.tpr, where="post", label=label, **style, zorder=3 if is_attack else 2)
        axis.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="chance")
        axis.set(xlabel="false positive rate", ylabel="true positive rate")
    axes[0].set_title(title or "Linear: is there a leak?")
    axes[1].set(title="Log-log: whom can one be sure of?", xscale="log", yscale="log", xlim=(5e-3, 1), ylim=(5e-3, 1.05))
    x = np.geomspace(5e-3, 1, 50)
    axes[1].plot(x, x, color="black", linestyle=":", linewidth=1)
    if resolved:
        axes[1].axvspan(5e-3, resolved, color="#F2F2F2", zorder=0)
        axes[1].text(resolved * 0.9, 7e-3, "too few people\nto resolve", ha="right", fontsize=8, color="#666666")
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes[0].legend(unique.values(), unique.keys(), loc="lower right", fontsize=7)
    return figure


def plot_intervals(rows, names, title="", colours=MEMBER, legend=None):
    """AUC with its 95 % interval, a line a row, from top to bottom; chance dotted, a hollow point where people are too few.

    rows : DataFrame value, low, high. names : one a row. colours : one for all, or one a row. legend : name -> colour.
    """
    colours = [colours] * len(rows) if isinstance(colours, str) else list(colours)
    figure, axis = plt.subplots(figsize=(8.5, 0.3 * len(rows) + 1))
    for i, (row, colour) in enumerate(zip(rows.itertuples(), colours, strict=True)):
        has_interval = np.isfinite(row.low)
        if has_interval:
            axis.plot([row.low, row.high], [i, i], color=colour, linewidth=3, alpha=0.4, solid_capstyle="butt")
        axis.plot(row.value, i, "o", color=colour, markerfacecolor=colour if has_interval else "white")
    axis.axvline(0.5, color="black", linestyle=":", linewidth=1)
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.invert_yaxis()
    left = min(0.3, rows[["value", "low"]].min(axis=None) - 0.03)
    axis.set(title=title, xlabel="AUC (0.5, dotted, is chance)", xlim=(left, 1.02))
    for name, colour in (legend or {}).items():
        axis.plot([], [], "o", color=colour, label=name)
    if legend:
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_controls(rows, title=""):
    """The identity attack, its controls and its ceilings, per half and pooled: AUC rows of one run and one embedder."""
    colours = {"none": MEMBER, "negative_control": "#666666", "untrained": "#999999"}
    names = [CONTROL_NAMES[r.control] + ("" if r.member_group == "pooled" else f", half {r.member_group}") for r in rows.itertuples()]
    return plot_intervals(rows, names, title, [colours.get(control, "#009E73") for control in rows.control])


def plot_memberships(rows, title=""):
    """Every attack under the three memberships, a panel an embedder: pooled AUC rows per photo.

    Attacks that use no embedder stand in the first panel.
    """
    rows = rows.assign(order=rows.membership.map(list(MEMBERSHIP_NAMES).index), key=[_name_attack(r) for r in rows.itertuples()])
    peak = {key: number for number, key in enumerate(dict.fromkeys(rows.key))}
    embedders = [name for name in dict.fromkeys(rows.embedder) if name]
    figure, axes = plt.subplots(
        1, len(embedders), figsize=(3 + 3.6 * len(embedders), 0.4 * len(peak) + 1.2), sharey=True, sharex=True, squeeze=False
    )
    panel = dict(zip([*embedders, ""], [*axes.flat, axes.flat[0]], strict=True))
    for row in rows.itertuples():
        y, colour, axis = peak[row.key] + 0.24 * (row.order - 1), MEMBERSHIP_COLOURS[row.membership], panel[row.embedder]
        if np.isfinite(row.low):
            axis.plot([row.low, row.high], [y, y], color=colour, linewidth=2.5, alpha=0.4, solid_capstyle="butt")
        axis.plot(row.value, y, "o", color=colour, markersize=4.5, label=MEMBERSHIP_NAMES[row.membership])
    for axis, embedder in zip(axes.flat, embedders, strict=True):
        axis.axvline(0.5, color="black", linestyle=":", linewidth=1)
        axis.set_yticks(range(len(peak)), list(peak), fontsize=8)
        left = min(0.3, rows[["value", "low"]].min(axis=None) - 0.03)
        axis.set(title=embedder, xlabel="AUC (0.5, dotted, is chance)", xlim=(left, 1.02))
    axes.flat[0].invert_yaxis()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), fontsize=8, loc="outside lower center", ncols=3)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def plot_growth(rows, column, xlabel, title="", is_log=False, notes=None):
    """AUC against a number in ``column``, a line an embedder with its interval; ``notes`` (x -> text) stand below the axis."""
    figure, axis = plt.subplots(figsize=(7, 3.2))
    for embedder, part in rows.groupby("embedder", sort=False):
        part = part.sort_values(column)
        line = axis.plot(part[column], part.value, "o-", label=embedder)[0]
        axis.fill_between(part[column], part.low, part.high, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
    ticks = sorted(rows[column].unique())
    if is_log:
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
    labels = [f"{tick:,}" + (f"\n{notes[tick]}" if notes else "") for tick in ticks]
    axis.set_xticks(ticks, labels)
    axis.set(xlabel=xlabel, ylabel="AUC", title=title)
    axis.legend(fontsize=8)
    return figure


def plot_training_curve(rows, title=""):
    """A GAN over its training: AUC with its interval, what it remembers, and how many people its faces are nearest to.

    rows : DataFrame of ``ppe.evaluation.training_curve.judge_snapshot``, half ``pooled``, with a column kimg.
    """
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2))
    leak = rows[rows.metric == "auc"].sort_values("kimg")
    axes[0].plot(leak.kimg, leak.value, "o-", color=MEMBER)
    axes[0].fill_between(leak.kimg, leak.low, leak.high, color=MEMBER, alpha=0.15, linewidth=0)
    axes[0].axhline(0.5, color="black", linestyle=":", linewidth=1)
    axes[0].set(title="Leak: unseen photos of members", ylabel="AUC")
    gap = rows[rows.metric == "kernel_gap"].sort_values("kimg")
    names = {"photos: unseen minus train": "the training photos", "people: others minus unseen": "the people"}
    for (versus, label), colour in zip(names.items(), ("#CC79A7", MEMBER), strict=True):
        part = gap[gap.versus == versus]
        axes[1].plot(part.kimg, part.value, "o-", color=colour, label=label)
    axes[1].axhline(0, color="black", linestyle=":", linewidth=1)
    axes[1].set(title="Memory, against the untrained net", ylabel="gap of kernel distances")
    axes[1].legend(fontsize=8)
    people = rows[rows.metric == "effective_identities"].sort_values("kimg")
    axes[2].plot(people.kimg, people.value, "o-", color="#666666")
    axes[2].set(title="Whom the faces are nearest to", ylabel="effective number of people", ylim=(0, None))
    for axis in axes:
        axis.set_xlabel("thousand real faces shown")
    figure.suptitle(title)
    return figure


def plot_sizes(rows):
    """AUC against the number of people in the training set: identity and image membership, photo level, pooled."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), sharey=True)
    for axis, membership in zip(axes, ("identity_membership", "image_membership"), strict=True):
        part = rows[rows.membership == membership]
        for k, ((gan, embedder, attack), table) in enumerate(part.groupby(["generator", "embedder", "attack"], sort=False)):
            shift = 1 + 0.03 * (k - 0.5)
            table = table.sort_values(["num_identities", "seed"])
            x = table.num_identities * shift * (1 + 0.02 * table.groupby("num_identities").cumcount())  # seeds side by side
            label = f"{gan}, {attack}" + (f" ({embedder})" if embedder else "")
            reach = np.stack([table.value - table.low, table.high - table.value]).clip(0)
            points = axis.errorbar(x, table.value, yerr=reach, fmt="o", capsize=3, label=label)
            means = table.groupby("num_identities").value.mean()
            axis.plot(means.index * shift, means, color=points[0].get_color(), linewidth=1)
        axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
        sizes = sorted(rows.num_identities.unique())
        axis.set(xscale="log", xlabel="people in the training set", title=f"Queries: {MEMBERSHIP_NAMES[membership]}")
        axis.xaxis.set_major_locator(FixedLocator(sizes))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels([str(s) for s in sizes])
        axis.set_xlim(min(sizes) * 0.7, max(sizes) * 1.4)
    axes[0].set_ylabel("AUC, pooled over two GANs")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _name_attack(row):
    calibration = {"reference_generator": ", against the reference generator", "cohort": ", against the cohort"}.get(row.calibration, "")
    return row.attack.replace("_", " ") + calibration


def tabulate_auc(rows):
    """A small table to read: AUC with its interval as text, a row an attack."""
    interval = [
        f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" if np.isfinite(r.low) else f"{r.value:.2f}" for r in rows.itertuples()
    ]
    table = rows[["attack", "embedder", "membership", "level", "aggregate", "control", "member_group"]].assign(auc=interval)
    return table.assign(p_value=rows.p_value.map("{:.4f}".format), people=rows.num_members).reset_index(drop=True)


def show_verdict(failed, p_value, control_p, is_sound=True):
    """The judged control in a sentence, red where it failed, grey where no face net is good enough for a verdict.

    A failed control is red also where the net is weak: it is the worse news.
    """
    numbers = f"(p = {p_value:.3f}; the control fails below {control_p})"
    if failed:
        colour, text = "#B00020", "Control FAILED: GAN c, who saw nobody of either half, tells the halves apart"
        numbers += ". This run's numbers are no evidence of a leak"
    elif not is_sound:
        colour, text = "#666666", "No verdict: no face net tells people apart well enough at this resolution"
    else:
        colour, text = "#00693E", "Control passed: no sign that GAN c, who saw nobody of either half, tells the halves apart"
    return HTML(f'<p style="color:{colour};font-weight:bold">{text} {numbers}.</p>')
