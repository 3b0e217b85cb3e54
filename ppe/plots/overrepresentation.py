"""Figures of experiments with over-represented identities; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from ppe.plots.faces import plot_faces
from ppe.plots.style import MARK, MEMBER, OTHER

MEASURE_NAMES = {  # each is a share
    "match_share": "share of faces that match",
    "nearest": "share of control identities\nwith a lower score",
    "nearest_top_k": "share of control identities\nwith a lower score",
    "detected": "share of identities detected",
}
PEAK_COLOURS = {"an over-represented identity": MEMBER, "a false alarm": OTHER, "below the threshold": "#BBBBBB"}
TEST_NAMES = {"trend": "rank correlation", "contrast": "increase"}
"""What a test over data shares is about: ``trend`` and ``contrast`` of ``ppe.overrepresentation.data_share``."""
MIN_SHARE = 1e-4
"""Where a log axis begins: a share of 0 is drawn here."""


def plot_design(plan):
    """Draw the Latin square: the photos of each target in each generator's training set; colour is their share.

    plan : DataFrame of ``ppe.overrepresentation.latin_square.count_training_photos``.
    """
    num_photos = plan.pivot(index="target", columns="group", values="num_photos")
    shares = plan.pivot(index="target", columns="group", values="share")
    size = (3.2 + 0.55 * num_photos.shape[1], 1.2 + 0.36 * num_photos.shape[0])
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    sns.heatmap(
        shares, annot=num_photos, fmt="d", cmap="Oranges", linewidths=1, vmin=0, vmax=max(0.01, 1.3 * shares.to_numpy().max()),
        ax=axis, cbar_kws={"label": "data share"},
    )  # fmt: skip
    axis.set(title="Training photos of each target", xlabel="generator", ylabel="target")
    axis.tick_params(axis="y", rotation=0)
    return figure


def plot_data_shares(values, summary, measure, title="", chance=None, ceiling=None, is_log=False):
    """Draw a measure against the data share, one panel an embedder.

    Grey points are targets in one generator each; the orange line is their mean, with its interval where there is one; the grey
    band is the mean of as many control identities.

    Parameters
    ----------
    values : DataFrame embedder, measure, data_share, value.
    summary : DataFrame, rows of ``summarise_measures`` and ``compare_measures`` in ``ppe.overrepresentation``.
    measure : str, a key of ``MEASURE_NAMES``.
    title : str
    chance : float or None. Value by chance, dotted.
    ceiling : str or None. The measure whose mean is the green line.
    is_log : bool. Whether the axis of the measure is logarithmic, from ``MIN_SHARE`` on.
    """
    most = summary[(summary.measure == ceiling) & (summary.statistic == "mean")]
    values, summary = (table[table.measure == measure] for table in (values, summary))
    embedders, levels = list(dict.fromkeys(values.embedder)), sorted(values.data_share.unique())
    size = (1.5 + 4 * len(embedders), 3.8)
    figure, axes = plt.subplots(1, len(embedders), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, embedder in zip(axes.flat, embedders, strict=True):
        points, rows, bound = (table[table.embedder == embedder] for table in (values, summary, most))
        _draw_shares(axis, points, rows, bound, levels, MIN_SHARE if is_log else -np.inf)
        if chance is not None:
            axis.axhline(chance, color="black", linestyle=":", linewidth=1, label="chance")
        tested = rows[rows.statistic.isin(["trend", "contrast"])].sort_values("statistic")[:1]  # the contrast, if there is one
        notes = [f": {TEST_NAMES[row.statistic]} {row.value:.3g}, p = {row.p_value:.2g}" for row in tested.itertuples()]
        axis.set_title("".join([embedder, *notes]), fontsize=10)
        axis.set(xlabel="data share", yscale="log" if is_log else "linear")
        axis.set_xticks(range(len(levels)), [f"{level:.1%}" for level in levels])
        axis.set_xlim(-0.4, len(levels) - 0.6)
    axes.flat[0].set_ylabel(MEASURE_NAMES[measure], fontsize=9)
    drawn = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", fontsize=8, ncols=3)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _draw_shares(axis, points, rows, bound, levels, lowest):
    """One panel of ``plot_data_shares``: data shares in equal steps, so that 0 has a place, and values from ``lowest`` on."""
    place = {level: x for x, level in enumerate(levels)}
    means, control = (rows[rows.statistic == name].sort_values("data_share") for name in ("mean", "control"))
    if len(control):
        ends = control[["low", "high"]].clip(lower=lowest)
        band = {"color": "#DDDDDD", "zorder": 0, "label": "control identities, mean"}
        axis.fill_between(control.data_share.map(place), ends.low, ends.high, **band)
    shift = 0.16 * (points.groupby("data_share").cumcount() / max(1, points.groupby("data_share").size().max() - 1) - 0.5)
    grey = {"color": "#999999", "markersize": 3.5, "alpha": 0.7, "label": "a target in one generator"}
    axis.plot(points.data_share.map(place) + shift, points.value.clip(lower=lowest), "o", **grey)
    axis.plot(means.data_share.map(place), means.value.clip(lower=lowest), "o-", color=MEMBER, label="targets, mean")
    for row in means[means.low.notna()].itertuples():
        ends = [max(row.low, lowest), row.high]
        axis.plot([place[row.data_share]] * 2, ends, color=MEMBER, linewidth=4, alpha=0.35, solid_capstyle="butt")
    if len(bound):
        dashed = {"color": MARK, "linestyle": "--", "label": "training photos as generated"}
        axis.plot(bound.data_share.map(place), bound.value.clip(lower=lowest), **dashed)


def plot_peaks(peaks, threshold, title=""):
    """Draw the density peaks of each generator, and the threshold above which a peak raises an alarm (dotted).

    peaks : DataFrame of ``ppe.overrepresentation.density_scan.scan_experiment``; threshold : float.
    """
    kind = np.select([peaks.is_true, peaks.is_alarm], list(PEAK_COLOURS)[:2], list(PEAK_COLOURS)[2])
    groups = sorted(peaks.group.unique())
    figure, axis = plt.subplots(figsize=(4.5 + 0.5 * len(groups), 3.2), layout="constrained")
    for name, colour in PEAK_COLOURS.items():
        own = peaks[kind == name]
        axis.plot(own.group.map(groups.index), own.score.clip(lower=0.1), "o", color=colour, markersize=5, label=name)
        for row in own[own.is_true].itertuples():
            beside = {"xytext": (6, -3), "textcoords": "offset points", "fontsize": 7}
            axis.annotate(f"{row.data_share:.1%}", (groups.index(row.group), row.score), **beside)
    axis.axhline(np.nanmax([threshold, 0.1]), color="black", linestyle=":", linewidth=1.2, label="threshold")
    axis.set_xticks(range(len(groups)), groups)
    axis.set(title=title, xlabel="generator", ylabel="log likelihood ratio", yscale="log")
    axis.set_xlim(-0.5, len(groups) - 0.2)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_alarms(alarms, title=""):
    """Draw the false alarms of each generator, one bar for each embedder and calibration.

    alarms : DataFrame of ``ppe.overrepresentation.density_scan.count_alarms``, with embedder and calibration.
    """
    rows = alarms[alarms.statistic == "generator"]
    kinds = list(rows.groupby(["embedder", "calibration"], sort=False))
    figure, axis = plt.subplots(figsize=(4.8 + 0.5 * rows.group.nunique(), 2.6), layout="constrained")
    for number, ((embedder, calibration), own) in enumerate(kinds):
        label = f"{embedder}, calibrated on {calibration}"
        axis.bar(np.arange(len(own)) + 0.2 * (number - (len(kinds) - 1) / 2), own.value, 0.18, label=label)
    axis.set_xticks(range(rows.group.nunique()), sorted(rows.group.unique()))
    axis.set(title=title, xlabel="generator", ylabel="false alarms", ylim=(0, max(1, rows.value.max()) * 1.1))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_gallery(photos, faces, data_shares, title=""):
    """Draw a query photo of each target and the generated face nearest to it at each data share, one row a target.

    photos : uint8 [S, 3, H, H]; faces : uint8 [S, L, 3, H, H]; data_shares : sequence of float, L.
    """
    rows = [np.concatenate([photo[None], own]) for photo, own in zip(np.asarray(photos), np.asarray(faces), strict=True)]
    titles = (["photo"] + [f"{level:.1%}" for level in data_shares]) + [""] * ((len(rows) - 1) * (1 + len(data_shares)))
    return plot_faces(np.concatenate(rows), titles, columns=1 + len(data_shares), title=title)
