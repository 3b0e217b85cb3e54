"""Pairs of faces, ranked: the generated face nearest to each photo, and which pairs are one and the same picture.

Pictures are compared as ``ppe.faces.duplicates`` does: a pair that is near in an embedding, or by its perceptual hash, is
registered, and its correlation decides. Memory grows with the number of photos, not with that of pairs.
"""

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ppe.attacks.nearest import find_nearest
from ppe.audit.face_sets import read_vectors
from ppe.audit.p_values import order_photos
from ppe.config.storage import release_pages
from ppe.faces.duplicates import HASH_DISTANCE, correlate_registered

BATCH = 1024
"""Pairs registered at a time."""
REPEAT_COSINE = 0.9
"""Least cosine of two photos of one person that are registered; a picture that was saved again has a larger one."""
TILE = 2**24
"""Pairs of hashes compared at a time."""


def find_pairs(faces, others, model, *, copy_cosine, same_picture):
    """Find the nearest of other faces to each face, and say whether the two are the same picture.

    Parameters
    ----------
    faces, others : ppe.audit.face_sets.FaceSet
    model : str, whose embeddings are compared.
    copy_cosine, same_picture : float
        Least cosine of a pair that is registered, and least correlation of one picture.

    Returns
    -------
    DataFrame, one row a face, in their order: ``cosine``, ``other`` (row of ``others``), ``correlation`` (NaN: not registered),
    ``is_copy`` (bool).
    """
    vectors = read_vectors(faces.vectors[model], np.arange(len(faces)))
    distance, index = find_nearest(vectors, others.vectors[model])
    table = pd.DataFrame({"cosine": 1 - distance.numpy(), "other": index.numpy()})
    table["correlation"] = np.nan
    rows = np.flatnonzero(table.cosine >= copy_cosine)
    table.loc[rows, "correlation"] = correlate_pairs(faces, others, rows, table.other.to_numpy()[rows])
    return table.assign(is_copy=table.correlation >= same_picture)


def correlate_pairs(faces, others, rows, columns):
    """Correlation of pairs of faces after registration, of a face as it is or mirrored: ndarray [n], float64."""
    parts = [np.zeros(0)]
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        one, two = (_read_grey(own.thumbs, chosen[part]) for own, chosen in ((faces, rows), (others, columns)))
        parts.append(np.maximum(correlate_registered(one, two), correlate_registered(one, two[:, :, ::-1])))
    return np.concatenate(parts)


def find_repeated(faces, model, same_picture):
    """Photos of which the same person has the same picture once more: bool [N].

    faces : FaceSet; model : str, whose cosine says which pairs are registered; same_picture : float, least correlation.
    """
    vectors, identity = read_vectors(faces.vectors[model], np.arange(len(faces))), faces.identity.astype(str)
    order = np.argsort(identity, kind="stable")
    pairs = [np.zeros((2, 0), np.int64)]
    for rows in np.split(order, np.unique(identity[order], return_index=True)[1][1:]):
        one, two = np.triu_indices(len(rows), 1)
        alike = (vectors[rows] @ vectors[rows].T)[one, two] >= REPEAT_COSINE
        pairs.append(np.stack([rows[one[alike]], rows[two[alike]]]))
    one, two = np.concatenate(pairs, axis=1)
    is_same = correlate_pairs(faces, faces, one, two) >= same_picture
    repeated = np.zeros(len(faces), bool)
    repeated[np.concatenate([one[is_same], two[is_same]])] = True
    return repeated


def find_hash_pairs(faces, generated, same_picture):
    """Find the generated face with the most similar perceptual hash to each face, whatever a model says of the two.

    Returns
    -------
    DataFrame, one row a face: ``hash_distance`` (bits of 64; small = similar), ``hash_other`` (row of ``generated``),
    ``hash_correlation`` (NaN above ``HASH_DISTANCE`` bits), ``is_hash_copy``.
    """
    bits = hash_faces(faces, "perceptual hashes of photos")
    best, other = np.full(len(bits), 65, np.uint8), np.zeros(len(bits), np.int64)
    size = max(1, min(TILE // max(len(bits), 1), 2**16))
    for start in tqdm(range(0, len(generated), size), desc="perceptual hashes", unit="block", disable=None, leave=False):
        block = hash_faces(generated, None, range(start, min(start + size, len(generated))))
        distance = np.bitwise_count(bits[:, None] ^ block)
        nearest = distance.argmin(1)
        least = distance[np.arange(len(bits)), nearest]
        other = np.where(least < best, nearest + start, other)
        best = np.minimum(best, least)
    table = pd.DataFrame({"hash_distance": best.astype(int), "hash_other": other, "hash_correlation": np.nan})
    rows = np.flatnonzero(best <= HASH_DISTANCE)
    table.loc[rows, "hash_correlation"] = correlate_pairs(faces, generated, rows, other[rows])
    return table.assign(is_hash_copy=table.hash_correlation >= same_picture)


def replace_pairs(pairs, hashed, faces, generated, model):
    """Where a copy is found by its hash alone, put this pair in the place of that which the model finds most similar.

    pairs : DataFrame of ``find_pairs``. hashed : of ``find_hash_pairs``. faces, generated : FaceSet. model : str, of the cosine.
    Returns the pairs, with cosine and correlation of the pair that each row names.
    """
    rows = np.flatnonzero(hashed.is_hash_copy & ~pairs.is_copy)
    other = hashed.hash_other.to_numpy()[rows]
    pairs = pairs.copy()
    pairs.loc[rows, "other"] = other
    pairs.loc[rows, "cosine"] = (read_vectors(faces.vectors[model], rows) * read_vectors(generated.vectors[model], other)).sum(1)
    pairs.loc[rows, "correlation"] = hashed.hash_correlation.to_numpy()[rows]
    pairs.loc[rows, "is_copy"] = True
    return pairs


def hash_faces(faces, label=None, rows=None):
    """Perceptual hash of 64 bits of each face: uint64 [n]."""
    rows = range(len(faces)) if rows is None else rows
    bits = [np.zeros((0, 64), bool)]
    for start in range(rows.start, rows.stop, BATCH):
        grey = _read_grey(faces.thumbs, np.arange(start, min(start + BATCH, rows.stop)))
        bits.append(np.array([imagehash.phash(Image.fromarray(face.astype(np.uint8))).hash.ravel() for face in grey]))
    return np.packbits(np.concatenate(bits), axis=1).view(np.uint64).ravel()


def rank_pairs(faces, generated, pairs, compared, seed):
    """Rank pairs, most similar first, with a p-value from one photo of each comparison person.

    Parameters
    ----------
    faces : FaceSet; pairs : DataFrame of ``find_pairs``, in its order.
    compared : (ndarray [n] of float, ndarray [n] of str) or None
        Largest cosine of each comparison photo with a generated face, and whose photo it is.
    seed : int, of the photo of each comparison person.

    Returns
    -------
    DataFrame: ``photo``, ``identity``, ``generated`` (row), ``cosine``, ``p_value`` (NaN without controls), ``correlation``,
    ``is_copy``.
    """
    table = pairs.assign(photo=faces.name, identity=faces.identity, generated=pairs.other, row=np.arange(len(pairs)))
    p_value = np.full(len(table), np.nan)
    if compared is not None:
        cosine, identity = compared
        one = np.sort(cosine[order_photos(identity, seed) == 0])
        p_value = (1 + len(one) - np.searchsorted(one, table.cosine.to_numpy(), "left")) / (1 + len(one))
    columns = ["photo", "identity", "generated", "cosine", "p_value", "correlation", "is_copy", "row"]
    return table.assign(p_value=p_value).sort_values(["is_copy", "cosine"], ascending=False, ignore_index=True)[columns]


def _read_grey(thumbs, rows):
    grey = np.asarray(thumbs[rows], np.float32).mean(1)
    release_pages(thumbs)
    return grey
