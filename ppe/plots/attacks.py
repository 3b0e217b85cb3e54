"""Figures and tables of the attack's results; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import HTML
from matplotlib.ticker import FixedLocator, NullLocator

from ppe.plots.faces import plot_faces
from ppe.plots.style import GENERATORS, IMAGE, MARK, MEMBER, NEUTRAL, OTHER, PHOTO

MEMBERSHIP_NAMES = {
    "identity_membership": "identity membership (unseen photos)",
    "image_membership": "image membership (training photos)",
    "photo_given_identity": "photo given identity",
}
MEMBERSHIP_COLOURS = {"identity_membership": MEMBER, "image_membership": IMAGE, "photo_given_identity": PHOTO}
ATTACK_KINDS = {
    **dict.fromkeys(("pixel", "surroundings", "colour_histogram", "general"), "rivals: no face model"),
    **dict.fromkeys(("inner_face", "nearest_surroundings", "nearest_inner_face"), "a part of the picture"),
    **dict.fromkeys(("discriminator", "denoising_loss"), "access to the generator's training"),
    **dict.fromkeys(("learned", "fused"), "several scores"),
}
"""Attack -> its heading among all attacks; all others use a face model, and maybe a calibration set."""
CONTROL_NAMES = {
    "none": "the attack",
    "negative_control": "negative control (reference generator)",
    "untrained": "control: untrained generators",
    "memorisation_ceiling": "memorisation ceiling (training photos)",
    "held_out_ceiling": "held-out ceiling (other unseen photos)",
}
CONTROL_STYLES = {
    "negative_control": {"color": NEUTRAL, "linewidth": 0.9},
    "untrained": {"color": "#BBBBBB", "linewidth": 0.9},
    "memorisation_ceiling": {"color": MARK, "linewidth": 0.9},
    "held_out_ceiling": {"color": MARK, "linewidth": 0.9, "linestyle": "--"},
}
GAP_STYLES = {"photos: unseen minus train": ("training photos", IMAGE), "people: others minus unseen": ("members", MEMBER)}
"""``versus`` of a kernel gap -> what is memorised, and its colour."""
AUC_LABEL = "AUC (0.5, dotted, is chance)"


def plot_scores(queries, title="", xlabel="score: cosine to the nearest generated face"):
    """Draw the scores of members and non-members, one panel a generator.

    queries : DataFrame member_group, is_member, score.
    """
    member_groups, edges = sorted(queries.member_group.unique()), np.histogram_bin_edges(queries.score, 24)
    size = (4.8 * len(member_groups), 3)
    figure, axes = plt.subplots(1, len(member_groups), figsize=size, squeeze=False, sharex=True, layout="constrained")
    for axis, member_group in zip(axes.flat, member_groups, strict=True):
        part = queries[queries.member_group == member_group]
        data = part.assign(role=np.where(part.is_member, "member", "non-member"))
        sns.histplot(
            data, x="score", hue="role", hue_order=["member", "non-member"], palette=[MEMBER, OTHER],
            bins=edges, stat="density", common_norm=False, element="step", alpha=0.35, ax=axis,
        )  # fmt: skip
        axis.set(title=GENERATORS[member_group][0], xlabel=xlabel, ylabel="density")
        axis.get_legend().set_title("")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def plot_nearest(query, generated, cosines, title=""):
    """Draw a query photo, uint8 [3, H, H], and the generated faces nearest to it, uint8 [n, 3, H, H], with their cosines."""
    faces = np.concatenate([np.asarray(query)[None], np.asarray(generated)])
    return plot_faces(faces, ["query photo", *(f"{cosine:.2f}" for cosine in cosines)], columns=len(faces), title=title)


def plot_triples(query, generated, training, scores, title):
    """Draw query photo, nearest generated face and nearest training photo, one column an identity: three uint8 [N, 3, H, H]."""
    faces = np.concatenate([np.asarray(query), np.asarray(generated), np.asarray(training)])
    titles = [f"{score:.2f}" for score in scores] + [""] * (2 * len(scores))
    names = ["query photo", "nearest\ngenerated face", "nearest\ntraining photo"]
    return plot_faces(faces, titles, columns=len(scores), title=title, row_titles=names)


def plot_intervals(rows, names, title="", colours=MEMBER):
    """Draw AUCs with their 95 % intervals, one line a row, from top to bottom; hollow where there is no interval.

    Parameters
    ----------
    rows : DataFrame value, low, high.
    names : sequence of str, one a row.
    title : str
    colours : str or sequence of str. One for all rows, or one a row.
    """
    colours = [colours] * len(rows) if isinstance(colours, str) else list(colours)
    figure, axis = plt.subplots(figsize=(8.5, 0.3 * len(rows) + 1), layout="constrained")
    for y, (row, colour) in enumerate(zip(rows.itertuples(), colours, strict=True)):
        _draw_interval(axis, row, y, colour)
    axis.axvline(0.5, color="black", linestyle=":", linewidth=1)
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set(title=title, xlabel=AUC_LABEL, xlim=(_find_left(rows), 1.02))
    return figure


def plot_controls(rows, title=""):
    """Draw ``nearest`` with its controls and ceilings, by member group and pooled: AUC rows of one run and one embedder."""
    groups = ["" if row.member_group == "pooled" else f", group {row.member_group.upper()}" for row in rows.itertuples()]
    names = [CONTROL_NAMES[control] + group for control, group in zip(rows.control, groups, strict=True)]
    colours = [MEMBER if control == "none" else CONTROL_STYLES[control]["color"] for control in rows.control]
    return plot_intervals(rows, names, title, colours)


def plot_memberships(rows, title=""):
    """Draw every attack under the three memberships, one panel an embedder; hollow where there is no interval.

    rows : DataFrame, pooled AUC rows per photo. Attacks without an embedder are in the first panel.
    """
    rows = rows.assign(order=rows.membership.map(list(MEMBERSHIP_NAMES).index), key=[_name_attack(r) for r in rows.itertuples()])
    place, headings = _place_attacks(rows)
    embedders = [name for name in dict.fromkeys(rows.embedder) if name]
    size = (3 + 3.6 * len(embedders), 0.3 * (len(place) + len(headings)) + 1.2)
    figure, axes = plt.subplots(1, len(embedders), figsize=size, sharey=True, sharex=True, squeeze=False, layout="constrained")
    panel = dict(zip([*embedders, ""], [*axes.flat, axes.flat[0]], strict=True))
    for row in rows.itertuples():
        y, colour = place[row.key] + 0.24 * (row.order - 1), MEMBERSHIP_COLOURS[row.membership]
        _draw_interval(panel[row.embedder], row, y, colour, linewidth=2.5, markersize=4.5)
    for axis, embedder in zip(axes.flat, embedders, strict=True):
        axis.axvline(0.5, color="black", linestyle=":", linewidth=1)
        axis.set_yticks([*place.values(), *headings.values()], [*place, *headings], fontsize=8)
        plt.setp(axis.get_yticklabels()[len(place) :], fontweight="bold")
        axis.set(title=embedder, xlabel=AUC_LABEL, xlim=(_find_left(rows), 1.02))
    axes.flat[0].invert_yaxis()
    handles = [plt.Line2D([], [], marker="o", linestyle="", color=MEMBERSHIP_COLOURS[name]) for name in MEMBERSHIP_NAMES]
    figure.legend(handles, MEMBERSHIP_NAMES.values(), fontsize=8, loc="outside lower center", ncols=min(3, 1 + len(embedders)))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _place_attacks(rows):
    """Heights of attacks and of the headings above their kinds: two dicts, text -> int, from top to bottom."""
    named = rows[["attack", "calibration", "key"]].drop_duplicates("key")
    kinds = named.attack.map(ATTACK_KINDS).fillna(named.calibration.map(lambda name: "face model" + ", calibrated" * bool(name)))
    place, headings = {}, {}
    for kind, part in named.groupby(kinds, sort=False):
        headings[kind] = len(place) + len(headings)
        place |= {key: number for number, key in enumerate(part.key, len(place) + len(headings))}
    return place, headings


def plot_growth(rows, column, xlabel, title="", is_log=False):
    """Draw AUC against a number in ``column``, one line an embedder, with its interval as a band."""
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for embedder, part in rows.groupby("embedder", sort=False):
        part = part.sort_values(column)
        line = axis.plot(part[column], part.value, "o-", label=embedder)[0]
        axis.fill_between(part[column], part.low, part.high, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
    if is_log:
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
    ticks = sorted(rows[column].unique())
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.set(xlabel=xlabel, ylabel="AUC", title=title)
    axis.legend(fontsize=8)
    return figure


def plot_training_curve(rows, title=""):
    """Draw the leak over training (AUC with its interval), memorisation, and the number of identities nearest to the faces.

    rows : DataFrame of ``ppe.evaluation.training_curve.judge_snapshots``, member group ``pooled``, with a column kimg.
    """
    rows = rows.sort_values("kimg")
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
    leak = rows[rows.metric == "auc"]
    axes[0].plot(leak.kimg, leak.value, "o-", color=MEMBER)
    axes[0].fill_between(leak.kimg, leak.low, leak.high, color=MEMBER, alpha=0.15, linewidth=0)
    axes[0].axhline(0.5, color="black", linestyle=":", linewidth=1)
    axes[0].set(title="Leak", ylabel="AUC")
    for versus, (label, colour) in GAP_STYLES.items():
        gap = rows[(rows.metric == "kernel_gap") & (rows.versus == versus)]
        axes[1].plot(gap.kimg, gap.value, "o-", color=colour, label=label)
    axes[1].axhline(0, color="black", linestyle=":", linewidth=1)
    axes[1].set(title="Memorisation (0: untrained)", ylabel="gap of kernel distances")
    axes[1].legend(fontsize=8)
    identities = rows[rows.metric == "effective_identities"]
    axes[2].plot(identities.kimg, identities.value, "o-", color=NEUTRAL)
    axes[2].set(title="Identities nearest to the faces", ylabel="effective number of identities", ylim=(0, None))
    for axis in axes:
        axis.set_xlabel("kimg (thousand training images)")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def plot_sizes(rows):
    """Draw AUC against the number of identities, for identity and image membership; a line joins the means over seeds.

    rows : DataFrame, pooled AUC rows per photo of ``ppe.evaluation.collection.choose_sizes``. A run without a bar has too few
    identities for an interval.
    """
    figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), sharey=True, layout="constrained")
    for axis, membership in zip(axes, ("identity_membership", "image_membership"), strict=True):
        lines = list(rows[rows.membership == membership].groupby(["generator", "embedder", "attack"], sort=False))
        num_seeds = max((table.groupby("num_identities").size().max() for _, table in lines), default=1)
        for k, ((generator, embedder, attack), table) in enumerate(lines):
            table = table.sort_values(["num_identities", "seed"])
            seeds = table.groupby("num_identities").seed
            step = (k - (len(lines) - 1) / 2) * (num_seeds + 1) + seeds.cumcount() - (seeds.transform("size") - 1) / 2
            x = table.num_identities * 1.02**step  # bars of lines and seeds are side by side
            label = f"{generator}, {attack}" + (f" ({embedder})" if embedder else "")
            reach = np.stack([table.value - table.low, table.high - table.value]).clip(0)
            points = axis.errorbar(x, table.value, yerr=reach, fmt="o", capsize=3, label=label)
            means = table.groupby("num_identities").value.mean()
            axis.plot(x.groupby(table.num_identities).mean(), means, color=points[0].get_color(), linewidth=1)
        axis.axhline(0.5, color="black", linestyle=":", linewidth=1)
        sizes = sorted(rows.num_identities.unique())
        axis.set(xscale="log", xlabel="identities in the training set", title=MEMBERSHIP_NAMES[membership].capitalize())
        axis.xaxis.set_major_locator(FixedLocator(sizes))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticklabels([str(size) for size in sizes])
        axis.set_xlim(min(sizes) * 0.7, max(sizes) * 1.4)
    axes[0].set_ylim(min(0.4, axes[0].get_ylim()[0]), max(0.6, axes[0].get_ylim()[1]))  # one point must not fill the axis
    axes[0].set_ylabel("AUC, pooled over two generators")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def tabulate_auc(rows):
    """Make a table to read: AUC with its interval as text, one row an attack."""
    interval = [f"{r.value:.2f}" + (f" [{r.low:.2f}, {r.high:.2f}]" if np.isfinite(r.low) else "") for r in rows.itertuples()]
    table = rows[["attack", "embedder", "membership", "level", "aggregate", "control", "member_group"]].assign(auc=interval)
    return table.assign(p_value=rows.p_value.map("{:.4f}".format), identities=rows.num_members).reset_index(drop=True)


def show_verdict(failed, p_value, control_p, is_sound=True):
    """Show the negative control in a sentence: red where it failed, grey where no embedder is sound, else green.

    A failed control is red also where no embedder is sound, since it is the worse result.
    """
    numbers = f"(p = {p_value:.3f}; the control fails below {control_p})"
    if failed:
        colour, text = "#B00020", "Negative control FAILED: the reference generator separates group A from group B"
        numbers += ". The numbers of this run are no evidence of a leak"
    elif not is_sound:
        colour, text = NEUTRAL, "No verdict: no face recognition model is sound at this resolution"
    else:
        colour, text = "#00693E", "Negative control passed: no sign that the reference generator separates group A from group B"
    return HTML(f'<p style="color:{colour};font-weight:bold">{text} {numbers}.</p>')


def _draw_interval(axis, row, y, colour, linewidth=3, markersize=None):
    """Draw one AUC as a point, hollow where there is no interval, and its interval as a bar."""
    has_interval = np.isfinite(row.low)
    if has_interval:
        axis.plot([row.low, row.high], [y, y], color=colour, linewidth=linewidth, alpha=0.4, solid_capstyle="butt")
    axis.plot(row.value, y, "o", color=colour, markerfacecolor=colour if has_interval else "white", markersize=markersize)


def _find_left(rows):
    """Where the axis of an AUC begins: at 0.3, or left of the lowest value."""
    return min(0.3, rows[["value", "low"]].min(axis=None) - 0.03)


def _name_attack(row):
    calibration = {"reference_generator": " (reference generator)", "cohort": " (cohort)"}.get(row.calibration, "")
    return row.attack.replace("_", " ") + calibration
