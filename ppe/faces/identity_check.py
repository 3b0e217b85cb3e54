"""Whose face is it? A person's other photos tell which of several faces is theirs, and which photos show somebody else."""

from typing import NamedTuple

import numpy as np

from ppe.faces.alignment import LANDMARK_COLUMNS
from ppe.faces.cutting import cut_out, open_photos
from ppe.faces.detection import iter_faces
from ppe.faces.detector import build_detector

BLOCK = 256
"""Faces read at a time."""
MAX_STRANGERS = 1_000_000
"""Most pairs of a photo and another person's template from which the threshold is taken."""


class Choice(NamedTuple):
    """What a person's other photos say of each photo.

    row : int64 [P], the candidate that is the person's. similarity : float32 [P], its cosine to the mean of the person's other
    photos, NaN if there are none. is_foreign : bool [P], the face is no more like them than a stranger's.
    """

    row: np.ndarray
    similarity: np.ndarray
    is_foreign: np.ndarray


def choose_faces(vectors, photo, identity, stranger_rate):
    """Choose each photo's face by the template of the person's other photos, in two passes.

    The first pass takes the first candidate of each photo for the person's. The second takes those that the first chose, without
    the photos that it found foreign.

    Parameters
    ----------
    vectors : ndarray [M, D], float32, unit L2 norm. One row a candidate, the main one of each photo first.
    photo : ndarray [M], int, not falling: the number of the photo, 0 to P - 1.
    identity : array [P] of str
    stranger_rate : float in (0, 1)
        Share of photos that are at least as similar to another person's template as the threshold. A photo below it is foreign.

    Returns
    -------
    Choice
    """
    number = np.unique(np.asarray(identity, str), return_inverse=True)[1]
    chosen = np.flatnonzero(np.r_[True, photo[1:] != photo[:-1]])
    counts = np.ones(len(chosen), bool)
    for _ in range(2):
        own = vectors[chosen] * counts[:, None]
        totals = np.zeros((number.max() + 1, vectors.shape[1]), np.float32)
        np.add.at(totals, number, own)
        templates = totals[number[photo]] - own[photo]  # without the photo itself
        lengths = np.linalg.norm(templates, axis=1)
        cosine = np.full(len(vectors), np.nan, np.float32)
        np.divide((vectors * templates).sum(1), lengths, out=cosine, where=lengths > 1e-6)
        # The most similar candidate of each photo; of equally similar ones the first.
        order = np.lexsort((np.arange(len(photo)), -np.nan_to_num(cosine, nan=-2), photo))
        chosen = order[np.flatnonzero(np.r_[True, photo[order][1:] != photo[order][:-1]])]
        threshold = _find_threshold(vectors[chosen], number, totals, stranger_rate)
        counts = ~(cosine[chosen] < threshold)
    return Choice(chosen, cosine[chosen], cosine[chosen] < threshold)


def _find_threshold(vectors, number, totals, rate):
    """The cosine that a share ``rate`` of photos reaches with another person's template; -inf if there is one person."""
    if len(totals) < 2:
        return -np.inf
    rows = np.arange(0, len(vectors), max(1, len(vectors) * len(totals) // MAX_STRANGERS))
    templates = totals / np.maximum(np.linalg.norm(totals, axis=1, keepdims=True), 1e-6)
    cosine = vectors[rows] @ templates.T
    return np.quantile(cosine[number[rows][:, None] != np.arange(len(totals))], 1 - rate)


def check_identities(index, faces, table, *, read, embed, rules, leave_out=False, detector=None, device="cpu"):
    """Choose among several faces of a photo by the person's other photos, and flag photos of somebody else.

    Parameters
    ----------
    index : DataFrame, N rows, as ``prepare_faces`` was given.
    faces : ndarray [N, 3, size, size], uint8, of ``prepare_faces``. Rows of which another face is chosen are replaced.
    table : DataFrame, N rows, of ``prepare_faces``.
    read : callable, rows of the index -> what ``ppe.datasets.index.iter_photos`` yields; reads photos with several faces again.
    embed : callable, uint8 [n, 3, size, size] -> float32 [n, D], unit L2 norm; or None: nothing is checked.
    rules : the section ``detection`` of params
    leave_out : bool, a foreign photo counts as one without a face.
    detector, device : as in ``detect_faces``.

    Returns
    -------
    DataFrame, ``table`` with the columns
        another_face : bool, not the main face was chosen; similarity : float, cosine to the mean of the person's other photos,
        NaN if unknown; is_foreign : bool, no more similar than a stranger (``choose_faces``).
    """
    table = table.assign(another_face=False, similarity=np.nan, is_foreign=False)
    rows = np.flatnonzero(table.detected)
    if embed is None or not len(rows):
        return table
    detector = detector or build_detector(str(device))
    owners, crops, marks = _cut_others(index, table, read, detector, rules, faces.shape[-1])
    blocks = [faces[rows[start : start + BLOCK]] for start in range(0, len(rows), BLOCK)] + [crops] * bool(len(crops))
    vectors = np.concatenate([np.asarray(embed(block)) for block in blocks])
    photo = np.concatenate([np.arange(len(rows)), np.searchsorted(rows, owners)])
    order = np.argsort(photo, kind="stable")
    choice = choose_faces(vectors[order], photo[order], table.identity.to_numpy()[rows], rules.stranger_rate)
    picked = order[choice.row] - len(rows)  # of the other faces; negative: the main one
    for row, other in zip(rows[picked >= 0], picked[picked >= 0], strict=True):
        faces[row] = crops[other]
        table.loc[table.index[row], LANDMARK_COLUMNS] = marks[other].ravel()
    found = {"another_face": picked >= 0, "similarity": choice.similarity, "is_foreign": choice.is_foreign}
    for column, values in found.items():
        table.loc[table.index[rows], column] = values
    if leave_out:
        table.loc[table.is_foreign, ["detected", "reason"]] = [False, "no more like the person's other photos than a stranger's"]
        faces[np.flatnonzero(table.is_foreign)] = 0
    return table


def _cut_others(index, table, read, detector, rules, size):
    """The other faces of photos that have several: row of the index int [K], crops uint8 [K, 3, size, size], landmarks."""
    several = np.flatnonzero(table.detected & (table.num_faces > 1))
    owners, crops, marks, opened = [], [np.zeros((0, 3, size, size), np.uint8)], [np.zeros((0, 5, 2))], {}
    for block in iter_faces(open_photos(read(index.iloc[several]), opened), detector, rules):
        for position, _, row in block:
            photo = opened.pop(position)
            for landmarks in row.get("others", []):
                owners.append(several[position])
                crops.append(cut_out(photo, landmarks, size)[None])
                marks.append(landmarks[None])
    order = np.argsort(owners, kind="stable")
    return np.array(owners, int)[order], np.concatenate(crops)[order], np.concatenate(marks)[order]
