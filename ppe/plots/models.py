"""Training curves and the verification of face recognition models; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from ppe.plots.style import GENERATORS, MEMBER, NEUTRAL, OTHER


def plot_verification(pairs, curves):
    """Draw the cosines of same-person and other-person pairs, and the ROC curve of each embedder.

    Parameters
    ----------
    pairs : DataFrame, a row per pair: embedder, resolution, score (cosine, large = same person), is_same (bool). The histogram
        shows the first embedder at the first resolution.
    curves : DataFrame, a row per point of a curve: embedder, resolution, auc, fpr, tpr.

    Returns
    -------
    matplotlib Figure.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    embedder, resolution = pairs[["embedder", "resolution"]].iloc[0]
    own = pairs[(pairs.embedder == embedder) & (pairs.resolution == resolution)]
    sns.histplot(
        own.assign(pair=np.where(own.is_same, "same person", "different people")), x="score", hue="pair",
        hue_order=["same person", "different people"], palette=[MEMBER, OTHER], bins=40, stat="density", common_norm=False,
        element="step", alpha=0.35, ax=left,
    )  # fmt: skip
    left.get_legend().set_title(None)
    left.set(title=f"Pairs of photos, {embedder} at {resolution} px", xlabel="cosine of the embeddings", ylabel="density")
    for (embedder, resolution, auc), roc in curves.groupby(["embedder", "resolution", "auc"]):
        right.plot(roc.fpr, roc.tpr, label=f"{embedder}, {resolution} px: AUC {auc:.3f}")
    right.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1, label="guessing: AUC 0.5")
    right.set(title="ROC curve of each embedder", xlabel="false positive rate", ylabel="true positive rate")
    right.legend(loc="lower right", fontsize=8)
    return figure


def plot_truth(pairs):
    """Draw, for pairs of synthetic people, how far their faces are apart against how far their parameters are.

    Parameters
    ----------
    pairs : DataFrame, a row per pair of people: parameter_distance, embedding_distance (both small = alike). No rows: the
        figure says that nothing was measured.

    Returns
    -------
    matplotlib Figure.
    """
    if pairs.empty:
        return _write_note("Not measured: these people were photographed, and no such numbers are known.")
    figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
    axis.hexbin(pairs.parameter_distance, pairs.embedding_distance, gridsize=40, cmap="Blues", mincnt=1, vmin=0)
    means = pairs.groupby(pd.qcut(pairs.parameter_distance, 10), observed=True).mean()
    axis.plot(means.parameter_distance, means.embedding_distance, "o-", color=MEMBER, label="mean of each tenth of the pairs")
    axis.set(xlabel="distance of the people's parameters", ylabel="1 - cosine of their faces")
    axis.set_title("Do people with similar parameters have similar embeddings?")
    axis.legend(loc="best", fontsize=8)
    return figure


def plot_losses(losses):
    """Losses of the generators over training, and what else their trainer minimises, steers or watches.

    Parameters
    ----------
    losses : DataFrame, a row per group and logged interval: group (a, b or c), images and the columns of
        ``LOSSES`` of ``ppe.generators.training.gan`` or ``diffusion``.

    Returns
    -------
    matplotlib Figure. Of a GAN: the losses of generator and discriminator, and the reconstruction error of FastGAN, L1 of
    pixels in [-1, 1], small = good, or the augmentation probability p of StyleGAN2, in [0, 1]. Of a diffusion model: the
    denoising loss, and the norm of its gradient. Of a trainer with other ``LOSSES``: a panel each.
    """
    if "loss_denoising" in losses:
        panels = [("loss_denoising", "Denoising", "weighted squared error"), ("gradient_norm", "Gradient", "norm")]
    elif "loss_generator" not in losses:
        panels = [(column, column.replace("_", " "), "mean") for column in losses if column not in ("group", "images")]
    else:
        panels = [("loss_generator", "Generator", "loss"), ("loss_discriminator", "Discriminator", "loss")]
        third = ("loss_redraw", "Reconstruction by the discriminator", "L1 error")
        panels.append(third if losses.loss_redraw.any() else ("p", "Strength of augmentation", "p"))
    size = (11 * len(panels) / 3, 3)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharex=True, layout="constrained", squeeze=False)
    axes, names = axes[0], {group: name for group, (name, _) in GENERATORS.items()}
    data = losses.assign(kimg=losses.images / 1000, name=losses.group.map(names))
    for axis, (column, title, ylabel) in zip(axes, panels, strict=True):
        sns.lineplot(data, x="kimg", y=column, hue="name", palette=dict(GENERATORS.values()), ax=axis, legend=axis is axes[0],
                     linewidth=1.2)
        axis.set(title=title, xlabel="training photos shown (kimg)", ylabel=ylabel)
    axes[0].legend(title=None, fontsize=8)
    return figure


def plot_curve(curves, xlabel, ylabel, title):
    """Draw one panel per name, since losses of different kinds have different scales; a point is the mean of up to ten numbers.

    Parameters
    ----------
    curves : dict, name -> list of float, one a step. Empty: the figure says that nothing was trained.
    xlabel, ylabel, title : str. A panel is titled with both the title and the name.

    Returns
    -------
    matplotlib Figure.
    """
    if not curves:
        return _write_note(f"{title}: nothing was trained.")
    size = (4.4 * len(curves), 2.6)
    figure, axes = plt.subplots(1, len(curves), figsize=size, squeeze=False, layout="constrained")
    for axis, (name, values) in zip(axes.flat, curves.items(), strict=True):
        axis.plot(pd.Series(values).rolling(10, min_periods=1).mean(), color=NEUTRAL)
        axis.set(xlabel=xlabel, ylabel=ylabel, title=f"{title}: {name}")
    return figure


def _write_note(text):
    """A figure that holds a sentence, where there is nothing to draw."""
    figure, axis = plt.subplots(figsize=(6, 0.4), layout="constrained")
    axis.axis("off")
    axis.text(0, 0.5, text, va="center")
    return figure
