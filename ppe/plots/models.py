"""Training curves and the verification of face recognition models; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from ppe.plots.style import MEMBER, OTHER


def plot_verification(pairs, summary):
    """Same-person and other-person cosines of each net, and the ROC, on people that no net saw.

    pairs : DataFrame embedder, resolution, score, is_same, and fpr, tpr in a second table ``summary`` with auc.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
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
    figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
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
    figure, axes = plt.subplots(1, 3, figsize=(11, 3), sharex=True, layout="constrained")
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
    figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
    for name, values in curves.items():
        axis.plot(pd.Series(values).rolling(10, min_periods=1).mean(), label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axis.legend()
    return figure
