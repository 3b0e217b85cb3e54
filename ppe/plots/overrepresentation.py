"""The tables of squares to figures; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from ppe.plots.faces import plot_faces
from ppe.plots.style import MEMBER, OTHER

MEASURE_NAMES = {  # each a share, of what is named first
    "match_share": "faces that match the person",
    "nearest": "control identities below (identity)",
    "nearest_top_k": "control identities below (nearest_top_k)",
    "detected": "people discovered",
}
PLACE_COLOURS = {"a person who stands out": MEMBER, "a false alarm": "#CC79A7", "below the threshold": "#BBBBBB"}
MIN_SHARE = 1e-4


def plot_design(plan):
    """Who was shown to which GAN how often: a cell a subject and GAN, with the photos that were counted.

    plan : DataFrame of ``ppe.overrepresentation.latin_square.count_shown``.
    """
    cells = plan.pivot(index="target", columns="group", values="num_photos")
    data_shares = plan.pivot(index="target", columns="group", values="share")
    figure, axis = plt.subplots(figsize=(3.2 + 0.55 * cells.shape[1], 1.2 + 0.36 * cells.shape[0]))
    sns.heatmap(
        data_shares, annot=cells, fmt="d", cmap="Oranges", linewidths=1, vmin=0, vmax=max(0.01, 1.3 * data_shares.to_numpy().max()), ax=axis,
        cbar_kws={"label": "share of the data"},
    )  # fmt: skip
    axis.set(title="Photos of each subject in each GAN's training set", xlabel="GAN", ylabel="target")
    axis.tick_params(axis="y", rotation=0)
    return figure


def plot_data_shares(values, summary, measure, title="", chance=None, ceiling=None, is_log=False):
    """A measure against the dose, a panel a net: grey, each person in one GAN; the line, the mean; bars, where people are enough;
    the grey band, null people in the subjects' places.

    values : DataFrame embedder, measure, dose, value; summary : rows of ``ppe.overrepresentation.data_share.summarise_measures``; chance : float, dotted;
    ceiling : str, the measure whose mean is the green line.
    """
    most = summary[(summary.measure == ceiling) & (summary.statistic == "mean")]
    values, summary = (table[table.measure == measure] for table in (values, summary))
    embedders, data_shares = list(dict.fromkeys(values.embedder)), sorted(values.data_share.unique())
    peak = {data_share: x for x, data_share in enumerate(data_shares)}  # equal steps: near to a log axis, and dose 0 has a place
    figure, axes = plt.subplots(1, len(embedders), figsize=(1.5 + 4 * len(embedders), 3.3), sharey=True, squeeze=False)
    for axis, embedder in zip(axes.flat, embedders, strict=True):
        points, rows = values[values.embedder == embedder], summary[summary.embedder == embedder]
        means, null = (rows[rows.statistic == name].sort_values("data_share") for name in ("mean", "control"))
        if len(null):
            ends = null[["low", "high"]].clip(lower=MIN_SHARE) if is_log else null[["low", "high"]]
            axis.fill_between(null.data_share.map(peak), ends.low, ends.high, color="#DDDDDD", zorder=0)
        shift = 0.16 * (points.groupby("data_share").cumcount() / max(1, points.groupby("data_share").size().max() - 1) - 0.5)
        shown = points.value.clip(lower=MIN_SHARE) if is_log else points.value
        axis.plot(points.data_share.map(peak) + shift, shown, "o", color="#999999", markersize=3.5, alpha=0.7)
        axis.plot(means.data_share.map(peak), means.value.clip(lower=MIN_SHARE) if is_log else means.value, "o-", color=MEMBER)
        for row in means[means.low.notna()].itertuples():
            ends = [max(row.low, MIN_SHARE), row.high] if is_log else [row.low, row.high]
            axis.plot([peak[row.data_share]] * 2, ends, color=MEMBER, linewidth=4, alpha=0.35, solid_capstyle="butt")
        bound = most[most.embedder == embedder]
        axis.plot(bound.data_share.map(peak), bound.value.clip(lower=MIN_SHARE) if is_log else bound.value, "--", color="#009E73")
        if chance is not None:
            axis.axhline(chance, color="black", linestyle=":", linewidth=1)
        tested = rows[rows.statistic.isin(["trend", "contrast"])].sort_values("statistic")[:1]  # the contrast, where there is one
        note = f": {tested.statistic.iloc[0]} {tested.value.iloc[0]:.3g}, p = {tested.p_value.iloc[0]:.2g}" if len(tested) else ""
        axis.set(title=f"{embedder}{note}", xlabel="dose: share of the data", yscale="log" if is_log else "linear")
        axis.set_xticks(range(len(data_shares)), [f"{data_share:.1%}" for data_share in data_shares])
        axis.set_xlim(-0.4, len(data_shares) - 0.6)
    axes.flat[0].set_ylabel(MEASURE_NAMES[measure], fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def plot_peaks(peaks, threshold, title=""):
    """The densest places of each GAN, by how much too dense they are, and the threshold of the crowds that set it (dotted).

    places : DataFrame of ``ppe.overrepresentation.density_scan.scan_experiment``: group, score, is_alarm, is_true.
    """
    kind = np.select([peaks.is_true, peaks.is_alarm], list(PLACE_COLOURS)[:2], list(PLACE_COLOURS)[2])
    groups = sorted(peaks.group.unique())
    figure, axis = plt.subplots(figsize=(4.5 + 0.5 * len(groups), 3.2))
    for name, colour in PLACE_COLOURS.items():
        own = peaks[kind == name]
        axis.plot(own.group.map(groups.index), own.score.clip(lower=0.1), "o", color=colour, markersize=5, label=name)
        for row in own[own.is_true].itertuples():
            axis.annotate(f"{row.data_share:.1%}", (groups.index(row.group), row.score), xytext=(6, -3), textcoords="offset points",
                          fontsize=7)  # fmt: skip
    axis.axhline(max(threshold, 0.1), color=OTHER, linestyle=":", linewidth=1.2)
    axis.set_xticks(range(len(groups)), groups)
    axis.set(title=title, xlabel="GAN", ylabel="too dense (log likelihood ratio)", yscale="log")
    axis.set_xlim(-0.5, len(groups) - 0.2)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_alarms(alarms, title=""):
    """False alarms of each GAN, a bar each: rows "gan" of ``ppe.overrepresentation.density_scan.count_alarms`` with embedder and reference."""
    rows = alarms[alarms.statistic == "generator"]
    kinds = list(rows.groupby(["embedder", "calibration"], sort=False))
    figure, axis = plt.subplots(figsize=(4.8 + 0.5 * rows.group.nunique(), 2.6))
    for number, ((embedder, reference), own) in enumerate(kinds):
        axis.bar(np.arange(len(own)) + 0.2 * (number - len(kinds) / 2), own.value, 0.18, label=f"{embedder}, against {reference}")
    axis.set_xticks(range(rows.group.nunique()), sorted(rows.group.unique()))
    axis.set(title=title, xlabel="GAN", ylabel="false alarms", ylim=(0, max(1, rows.value.max()) * 1.1))
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_gallery(photos, faces, data_shares, title=""):
    """Each subject's unseen photo and the generated face nearest to it at each dose, a row a subject.

    photos : uint8 [S, 3, H, W]; faces : uint8 [S, len(doses), 3, H, W]; doses : sequence of float.
    """
    rows = [np.concatenate([photo[None], own]) for photo, own in zip(np.asarray(photos), np.asarray(faces), strict=True)]
    titles = (["photo"] + [f"{data_share:.1%}" for data_share in data_shares]) + [""] * ((len(rows) - 1) * (1 + len(data_shares)))
    return plot_faces(np.concatenate(rows), titles, columns=1 + len(data_shares), title=title)
