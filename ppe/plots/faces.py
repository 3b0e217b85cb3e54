"""Grids of faces and photos, and what a detector found in them; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter

from ppe.plots.style import OTHER


def plot_faces(faces, titles=None, columns=10, title="", side=1.05, row_titles=None):
    """Draw faces in a grid.

    Parameters
    ----------
    faces : array, Tensor or list, [N, 3, H, W], uint8, RGB; pixels are drawn as squares, without smoothing.
    titles : sequence of str or None. A short title above each face.
    columns : int. Faces a row.
    title : str. Of the whole figure.
    side : float, inches. Of a face.
    row_titles : sequence of str or None. A title left of each row.

    Returns
    -------
    matplotlib Figure.
    """
    rows = -(-len(faces) // columns)
    head = 0.3 * bool(title)
    margin = 0.2 + 0.08 * max(map(len, row_titles)) if row_titles else 0
    titled = sum(any(titles[row * columns : (row + 1) * columns]) for row in range(rows)) if titles is not None else 0
    size = (columns * side + margin, (rows + 0.18 * titled) * side + head)
    # The layout is named, since its distances are set below: a style sheet need not have asked for it.
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
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


def plot_landmarks(photos, landmarks=None):
    """Draw photos side by side, with their landmarks if there are any.

    Parameters
    ----------
    photos : list of ``ppe.datasets.photos.Photo``; why one cannot be read is written in its place.
    landmarks : array [N, 5, 2] or None. x and y in pixels of the photo; NaN where no face was found.

    Returns
    -------
    matplotlib Figure.
    """
    columns = max(1, len(photos))
    figure, axes = plt.subplots(1, columns, figsize=(1.5 * columns, 1.6), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    if not photos:
        axes[0, 0].text(0.5, 0.5, "none", ha="center", va="center")
    for number, (axis, photo) in enumerate(zip(axes.flat, photos, strict=False)):
        if photo.pixels is None:
            axis.text(0.5, 0.5, photo.reason, fontsize=7, ha="center", va="center", wrap=True)
            continue
        axis.imshow(photo.pixels)
        if landmarks is not None:
            axis.scatter(*np.transpose(landmarks[number]), s=10, color="#00FF66", edgecolor="black", linewidth=0.4)
    return figure


def plot_counts(table, column, title):
    """How many people have how many photos, or what became of the photos: a bar a value of ``column``."""
    figure, axis = plt.subplots(figsize=(6, 2.4), layout="constrained")
    counts = table[column].value_counts().sort_index()
    axis.barh([str(v) for v in counts.index], counts.to_numpy(), color=OTHER)
    axis.bar_label(axis.containers[0], padding=3)
    axis.set(title=title, xlabel="photos")
    axis.margins(x=0.12)
    axis.grid(axis="y", visible=False)
    return figure


def plot_detection(shares):
    """Share of faces in which the detector finds one: a Series by name (real, generated), in [0, 1]."""
    figure, axis = plt.subplots(figsize=(6, 0.4 * len(shares) + 0.9), layout="constrained")
    axis.barh(shares.index[::-1], shares[::-1], color=OTHER)
    axis.bar_label(axis.containers[0], fmt="{:.0%}", padding=3)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.set(title="The detector finds a face in", xlim=(0, 1.12))
    axis.grid(axis="y", visible=False)
    return figure
