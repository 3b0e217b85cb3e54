"""Faces and tables to figures; nothing is computed here but layout. With ``ppe.plots.attacks`` the only importer of
matplotlib and seaborn.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import PercentFormatter

from ppe.config.params import write_whole

MEMBER, OTHER = "#D55E00", "#0072B2"


def use_style(path):
    """Read the study's style sheet (a path) for every figure that follows."""
    plt.style.use(path)


def save_figure(figure, path):
    """Write a figure as PNG, by a temporary name; the same figure gives the same bytes."""
    with write_whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def plot_faces(faces, titles=None, columns=10, title="", side=1.05, row_titles=None):
    """A grid of faces, uint8 [N, 3, H, W], with an optional short title above each or a title for each row."""
    rows = -(-len(faces) // columns)
    head = 0.3 * bool(title)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * side, rows * side * (1.18 if titles else 1) + head), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, face) in enumerate(zip(axes.flat, np.asarray(faces), strict=False)):
        axis.imshow(face.transpose(1, 2, 0), interpolation="nearest")
        if titles is not None:
            axis.set_title(titles[i], fontsize=7, loc="center", pad=2)
        if row_titles is not None and i % columns == 0:
            axis.text(-0.12, 0.5, row_titles[i // columns], transform=axis.transAxes, ha="right", va="center", fontsize=9)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    return figure


def plot_landmarks(photos, landmarks):
    """Photos, a list of uint8 [H, W, 3], with their five landmarks [N, 5, 2] in pixels (NaN: none)."""
    figure, axes = plt.subplots(1, len(photos), figsize=(1.5 * len(photos), 1.6), squeeze=False)
    for axis, photo, points in zip(axes.flat, photos, landmarks, strict=True):
        axis.imshow(photo)
        axis.scatter(*points.T, s=10, color="#00FF66", edgecolor="black", linewidth=0.4)
        axis.axis("off")
    return figure


def plot_counts(table, column, title):
    """How many people have how many photos, or what became of the photos: a bar a value of ``column``."""
    figure, axis = plt.subplots(figsize=(6, 2.4))
    counts = table[column].value_counts().sort_index()
    axis.barh([str(v) for v in counts.index], counts.to_numpy(), color=OTHER)
    axis.bar_label(axis.containers[0], padding=3)
    axis.set(title=title, xlabel="photos")
    axis.margins(x=0.12)
    axis.grid(axis="y", visible=False)
    return figure


def plot_verification(pairs, summary):
    """Same-person and other-person cosines of each net, and the ROC, on people that no net saw.

    pairs : DataFrame embedder, resolution, score, is_same, and fpr, tpr in a second table ``summary`` with auc.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
    data = pairs.assign(pair=np.where(pairs.is_same, "same person", "other person"))
    sns.histplot(
        data, x="score", hue="pair", hue_order=["same person", "other person"], palette=[MEMBER, OTHER],
        bins=40, stat="density", common_norm=False, element="step", alpha=0.35, ax=left,
    )  # fmt: skip
    left.set(title="Two unseen photos: one person or two?", xlabel="cosine of the embeddings", ylabel="density")
    for (embedder, resolution, auc), roc in summary.groupby(["embedder", "resolution", "auc"]):
        right.plot(roc.fpr, roc.tpr, label=f"{embedder}, {resolution} px: AUC {auc:.3f}")
    right.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    right.set(title="Verification on people that no net saw", xlabel="false positive rate", ylabel="true positive rate")
    right.legend(loc="lower right", fontsize=8)
    return figure


def plot_truth(pairs, correlation):
    """Pairs of drawn people: distance of their parameters against distance of their faces (parameter_, embedding_distance)."""
    figure, axis = plt.subplots(figsize=(6, 3.2))
    axis.hexbin(pairs.parameter_distance, pairs.embedding_distance, gridsize=40, cmap="Blues", mincnt=1)
    decile = pd.qcut(pairs.parameter_distance, 10)
    means = pairs.groupby(decile, observed=True).mean()
    axis.plot(means.parameter_distance, means.embedding_distance, "o-", color=MEMBER, label="mean of each tenth")
    axis.set(xlabel="distance of the people's parameters", ylabel="1 - cosine of their faces")
    axis.set_title(f"Do people who are drawn alike look alike to the net? (rank correlation {correlation:.2f}; 0: no)")
    axis.legend(loc="lower right", fontsize=8)
    return figure


def plot_losses(losses):
    """Losses of the GANs over training, and what else the GAN minimises or steers.

    losses : DataFrame group, images and the columns of ``ppe.generators.training.loop.LOSSES``.
    """
    figure, axes = plt.subplots(1, 3, figsize=(11, 3), sharex=True)
    data = losses.assign(kimg=losses.images / 1000)
    panels = [("loss_generator", "Generator", "loss"), ("loss_discriminator", "Discriminator", "loss")]
    redraws = losses.loss_redraw.any()
    panels.append(("loss_redraw", "Redrawing what it saw", "L1") if redraws else ("p", "Steered augmentation", "p"))
    for axis, (column, title, ylabel) in zip(axes, panels, strict=True):
        sns.lineplot(data, x="kimg", y=column, hue="group", ax=axis, legend=axis is axes[0], linewidth=1.2)
        axis.set(title=title, xlabel="thousand real faces shown", ylabel=ylabel)
    axes[0].legend(title="GAN")
    return figure


def plot_curve(curves, xlabel, ylabel, title):
    """A line a name: ``curves`` is name -> list of numbers, one a step."""
    figure, axis = plt.subplots(figsize=(6, 2.6))
    for name, values in curves.items():
        axis.plot(pd.Series(values).rolling(10, min_periods=1).mean(), label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axis.legend()
    return figure


def plot_detection(shares):
    """Share of faces in which the detector finds one: a Series by name (real, generated), in [0, 1]."""
    figure, axis = plt.subplots(figsize=(6, 0.4 * len(shares) + 0.9))
    axis.barh(shares.index[::-1], shares[::-1], color=OTHER)
    axis.bar_label(axis.containers[0], fmt="{:.0%}", padding=3)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.set(title="The detector finds a face in", xlim=(0, 1.12))
    axis.grid(axis="y", visible=False)
    return figure


def tabulate_params(settings):
    """A mapping as a one-column table, for the cell that shows what is used."""
    return pd.DataFrame({"value": {name: str(value) for name, value in settings.items()}})
