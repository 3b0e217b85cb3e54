"""Grids of faces and photos, and what a detector found in them; nothing is computed here but layout."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter

from ppe.plots.style import OTHER

GAP, TITLE_HEIGHT = 0.02, 0.18
"""Of a grid of faces, in sides of a face: half the distance of two, and the room for titles above a row."""


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
    titles = list(titles) if titles is not None else [""] * len(faces)
    lines = [slice(start, start + columns) for start in range(0, len(faces), columns)]
    heads = [TITLE_HEIGHT * any(titles[line]) for line in lines]
    tops = np.cumsum([0, *(1 + head for head in heads)])
    margin = 0.2 + 0.08 * max(map(len, row_titles)) if row_titles else 0
    size = (columns * side + margin, tops[-1] * side + 0.4 * bool(title))
    # One axis for all: with one a face, a grid of a hundred takes two seconds.
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    for number, (line, top, head) in enumerate(zip(lines, tops, heads, strict=False)):
        for x, (face, text) in enumerate(zip(np.asarray(faces[line]), titles[line], strict=True)):
            place = (x + GAP, x + 1 - GAP, top + head + 1 - GAP, top + head + GAP)
            axis.imshow(face.transpose(1, 2, 0), interpolation="nearest", extent=place)
            axis.text(x + 0.5, top + head, text, fontsize=7, ha="center", va="bottom")
        if row_titles is not None:
            axis.text(-0.1, top + head + 0.5, row_titles[number], ha="right", va="center", fontsize=9)
    axis.set(xlim=(0, columns), ylim=(tops[-1], 0), aspect="equal")
    axis.set_anchor("W")
    axis.axis("off")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
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
