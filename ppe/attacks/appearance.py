"""Attacks that see no identity, or only a part of the picture: is a leak one of identity, or of appearance?

``RIVALS`` compare whole pictures or their surroundings by measures that were never trained to know people. A claim about identity
needs a face recognition model that beats each of them (``ppe.evaluation.appearance``). The others say where in the picture the
leak is: ``PARTS`` by grey levels, and ``PARTS_BY_MODEL`` by a face recognition model that sees only a part.

The inner face is one ellipse in the aligned picture, around eyes, nose and mouth. Jaw, ears, hair and background are outside.
"""

from functools import partial

import numpy as np
import torch

from ppe.attacks.nearest import find_nearest, find_nearest_pixel
from ppe.attacks.rivals import BASELINES, PARTS, PARTS_BY_MODEL, RIVALS
from ppe.config.storage import read_block, to_tensor

CENTRE, RADII = (0.5, 0.64), (0.33, 0.37)
"""Of the inner face: x and y, as shares of the picture's side (chosen on synthetic faces: brows and lips are inside)."""
GREY = 128
"""Grey level of a blanked pixel."""
NUM_LEVELS = 16
"""Levels of each colour in a histogram, the most that Swain and Ballard 1991 use. More levels tell auxiliary synthetic
identities apart better (bench/appearance.py), and a rival should be as strong as it can be."""
BLOCK_SIZE = 4096
"""Faces that are described at a time; no result depends on it."""

__all__ = [
    "BASELINES",
    "PARTS",
    "PARTS_BY_MODEL",
    "RIVALS",
    "SCORES",
    "blank_faces",
    "count_colours",
    "cut_out",
    "find_inner_face",
]


def find_inner_face(resolution):
    """Find the pixels of the inner face, by their centres: bool [H, H], for a picture of ``resolution`` H."""
    x = (np.arange(resolution) + 0.5) / resolution
    return ((x[None] - CENTRE[0]) / RADII[0]) ** 2 + ((x[:, None] - CENTRE[1]) / RADII[1]) ** 2 <= 1


def blank_faces(faces, part):
    """Make a part of every picture grey.

    Parameters
    ----------
    faces : array or Tensor [N, 3, H, H], uint8, aligned. A numpy memmap is read block by block.
    part : str. What is blanked: ``inner_face`` or ``surroundings``.

    Returns
    -------
    Tensor [N, 3, H, H], uint8.

    Raises
    ------
    ValueError
        If ``part`` is unknown.
    """
    is_blank = torch.as_tensor(_find_part(part, faces.shape[2]))
    blanked = torch.empty(tuple(faces.shape), dtype=torch.uint8)
    for start in range(0, len(faces), BLOCK_SIZE):
        blanked[start : start + BLOCK_SIZE] = read_block(faces, start, BLOCK_SIZE).masked_fill(is_blank, GREY)
    return blanked


def cut_out(faces, part):
    """The pixels of a part of every picture, as pictures of one column.

    Parameters
    ----------
    faces : Tensor or ndarray [N, 3, H, H], uint8, aligned.
    part : str. ``inner_face`` or ``surroundings``; raises ValueError for another.

    Returns
    -------
    Tensor [N, 3, P, 1], uint8, for P pixels.
    """
    seen = torch.as_tensor(_find_part(part, faces.shape[2]))
    return to_tensor(faces).flatten(2)[:, :, seen.flatten(), None]


def count_colours(faces, num_levels=NUM_LEVELS):
    """Compute the square root of the share of pixels that have each colour.

    The product of two rows is then the coefficient of Bhattacharyya (1943): one minus the squared Hellinger distance.

    Parameters
    ----------
    faces : Tensor or ndarray [N, 3, H, W], uint8.
    num_levels : int. Equal steps of each of the three colours.

    Returns
    -------
    Tensor [N, num_levels ** 3], float32, unit L2 norm.
    """
    level = to_tensor(faces).cpu().long().flatten(2) * num_levels // 256
    colour = (level[:, 0] * num_levels + level[:, 1]) * num_levels + level[:, 2]
    count = torch.zeros(len(colour), num_levels**3).scatter_add_(1, colour, torch.ones(colour.shape))
    return (count / colour.shape[1]).sqrt()


def score_surroundings(*, query_faces, generated_faces, **unused):
    """Score each query as ``pixel`` does, by the pixels outside the inner face: hair, jaw, clothes and background.

    Parameters
    ----------
    query_faces : Tensor or ndarray [N, 3, H, H], uint8, at the generator's resolution.
    generated_faces : Tensor or ndarray [M, 3, H, H], uint8.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 0]
        Minus the root mean square difference of these grey levels, in [0, 1]; large = member.
    """
    return -_find_distance(find_nearest_pixel, partial(cut_out, part="surroundings"), query_faces, generated_faces)


def score_inner_face(*, query_faces, generated_faces, **unused):
    """Score each query as ``score_surroundings`` does, by the pixels of the inner face."""
    return -_find_distance(find_nearest_pixel, partial(cut_out, part="inner_face"), query_faces, generated_faces)


def score_colour_histogram(*, query_faces, generated_faces, **unused):
    """Score each query by the most similar histogram of colours, which knows no place in the picture.

    Histograms of colours: Swain and Ballard 1991, *Color Indexing*. The similarity is that of ``count_colours``.

    Parameters
    ----------
    query_faces, generated_faces : as in ``score_surroundings``.

    Returns
    -------
    score : ndarray [N], float32, in [0, 1]; large = member.
    """
    return 1 - _find_distance(find_nearest, count_colours, query_faces, generated_faces)


def score_general(*, query_features, generated_features, **unused):
    """Score each query by the largest cosine between features of a network for images of any kind.

    Parameters
    ----------
    query_features : Tensor or ndarray [N, D], float32, unit L2 norm, of ``ppe.embedders.efficientnet_lite``.
    generated_features : Tensor or ndarray [M, D], float32, unit L2 norm.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 1]; large = member.
    """
    return _score_cosine(query_features, generated_features)


def score_nearest_surroundings(*, query_surroundings, generated_surroundings, **unused):
    """Score each query as ``nearest`` does, where the face recognition model sees pictures whose inner face is blanked.

    The model was trained to know people. It may know them by the shape of the head and by the hair, so this is no rival that
    sees no identity. The model was not trained on blanked pictures.

    Parameters
    ----------
    query_surroundings : Tensor or ndarray [N, D], float32, unit L2 norm. Embeddings of ``blank_faces(..., "inner_face")``.
    generated_surroundings : Tensor or ndarray [M, D], float32, unit L2 norm.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 1]; large = member.
    """
    return _score_cosine(query_surroundings, generated_surroundings)


def score_nearest_inner_face(*, query_inner_face, generated_inner_face, **unused):
    """Score each query as ``score_nearest_surroundings`` does, where the model sees nothing but the inner face."""
    return _score_cosine(query_inner_face, generated_inner_face)


def _find_part(part, resolution):
    is_inner = find_inner_face(resolution)
    parts = {"inner_face": is_inner, "surroundings": ~is_inner}
    if part not in parts:
        raise ValueError(f"part={part!r} is not one of {list(parts)}")
    return parts[part]


def _find_distance(find, describe, query_faces, generated_faces):
    """Distance of each query to the nearest generated face, by what ``describe`` says of them: ndarray [N], float32."""
    query = describe(query_faces)
    starts = range(0, len(generated_faces), BLOCK_SIZE)
    parts = [find(query, describe(read_block(generated_faces, start, BLOCK_SIZE)))[0] for start in starts]
    return torch.stack(parts).amin(0).cpu().numpy()


def _score_cosine(query, generated):
    distance, _ = find_nearest(query, generated)
    return 1 - distance.cpu().numpy()


SCORES = {
    "surroundings": score_surroundings,
    "colour_histogram": score_colour_histogram,
    "general": score_general,
    "inner_face": score_inner_face,
    "nearest_surroundings": score_nearest_surroundings,
    "nearest_inner_face": score_nearest_inner_face,
}
