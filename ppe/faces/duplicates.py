"""Find the faces that are one picture: a perceptual hash picks candidates, and correlation after registration decides."""

import imagehash
import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ppe.faces.resize import resize_faces

COMPARE_SIDE = 32
"""Pixels at which two crops are compared: fine enough for an expression, too coarse for what JPEG does."""
HASH_DISTANCE = 16
"""Bits of 64 in which the perceptual hashes of one picture may differ. Of 600 copies of LFW photos, re-encoded, cropped
and rescaled, brightened or mirrored and then detected and aligned afresh, 99 % differ in at most 15; of photos of two
people 99 % differ in more. It only picks candidates."""
LOOSE_CORRELATION = 0.8
"""Pearson correlation of the grey levels below which a candidate is not looked at further (1 % of the copies)."""
SAME_CORRELATION = 0.97
"""The same after registration, from which two crops are one picture: 96 % of those copies (87 % of the mirrored), and 2
of 5,726 pairs of photos of one LFW person, both the same picture indeed. Of Olivetti, whose ten photos of a person were
taken in one sitting, it flags some that the eye cannot tell apart."""
TWO_NAMES_CORRELATION = 0.985
"""The same for photos under two names, which are many more pairs. Of the 88 million of LFW six reach 0.97: five are indeed
one picture under two names, at 0.994 or more, the sixth is not, at 0.972. Of 1,464 photos of 366 drawn people none does."""
REGISTERED = 256
"""Pairs that are registered at a time."""


def find_duplicates(faces, identity, across=False, block_size=1024):
    """Find the faces that are the same picture as an earlier one: copied, re-encoded or mirrored.

    Candidates are pairs whose perceptual hashes differ in at most ``HASH_DISTANCE`` bits; they are one picture if their
    grey levels, registered, correlate to ``SAME_CORRELATION``. Either may be mirrored. "The same picture" is carried
    on: a like b and b like c makes one of the three. Time grows with the square of the number of faces compared.

    Parameters
    ----------
    faces : ndarray [N, 3, H, W], uint8, aligned. Flat ones (no face was found) are nobody's duplicate.
    identity : array [N] of str
        Faces of one person are compared.
    across : bool
        Faces of two people as well, since one picture may stand under two names: from ``TWO_NAMES_CORRELATION``.
    block_size : int
        Rows compared at a time; the result does not depend on it.

    Returns
    -------
    ndarray [N], int64. The lowest row of the same picture, or -1 where that is the row itself.
    """
    side = min(COMPARE_SIDE, *faces.shape[2:])
    grey = np.concatenate([resize_faces(faces[start : start + block_size], side).float().mean(1).numpy()
                           for start in range(0, max(len(faces), 1), block_size)])
    flat = grey.std((1, 2)) < 1
    person = pd.factorize(np.asarray(identity))[0]
    pairs = []
    for members in pd.Series(np.arange(len(faces))[~flat]).groupby(person[~flat] * (not across)).agg(np.array):
        (first, second), correlation = _pair_pictures(grey[members], block_size)
        first, second = members[first], members[second]
        pairs.append(np.stack([first, second])[:, (person[first] == person[second]) | (correlation >= TWO_NAMES_CORRELATION)])
    duplicate_of = np.full(len(faces), -1, np.int64)
    if pairs:
        first, second = np.concatenate(pairs, axis=1)
        graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(faces),) * 2)
        component = connected_components(graph, directed=False)[1]
        # np.unique gives the first row of each component, which is the lowest.
        lowest = np.unique(component, return_index=True)[1][component]
        duplicate_of = np.where(lowest < np.arange(len(faces)), lowest, -1)
    return duplicate_of


def _pair_pictures(grey, block_size):
    """Rows i < j of faces [n, h, w] that are one picture, int [2, pairs], and their correlation; a pair may stand twice."""
    bits, unit = _hash_pictures(grey), _normalise(grey)
    found, correlations = [np.zeros((2, 0), np.int64)], [np.zeros(0)]
    for other in (grey, grey[:, :, ::-1]):
        other_bits, other_unit = _hash_pictures(other), _normalise(other)
        for start in range(0, len(grey), block_size):
            rows = slice(start, start + block_size)
            near = np.bitwise_count(bits[rows, None] ^ other_bits[start:]) <= HASH_DISTANCE
            near &= unit[rows] @ other_unit[start:].T >= LOOSE_CORRELATION
            first, second = np.add(np.nonzero(np.triu(near, 1)), start)
            for part in range(0, len(first), REGISTERED):
                i, j = first[part : part + REGISTERED], second[part : part + REGISTERED]
                correlation = correlate_registered(grey[i], other[j])
                is_same = correlation >= SAME_CORRELATION
                found.append(np.stack([i, j])[:, is_same])
                correlations.append(correlation[is_same])
    return np.concatenate(found, axis=1), np.concatenate(correlations)


def correlate_registered(one, two):
    """Correlation of pictures [n, h, w] with others, after the best small shift, turn and zoom of either, to first order.

    Detecting a copy afresh moves its landmarks by a pixel or so. For moves that small the moved picture is the picture
    plus its gradients times the move, so registration is a linear regression.
    """
    one, two = one.astype(np.float64), two.astype(np.float64)
    y, x = np.mgrid[: one.shape[1], : one.shape[2]] - (np.array(one.shape[1:]) - 1)[:, None, None] / 2
    inner = (slice(None), slice(1, -1), slice(1, -1))  # at the border a gradient is one-sided
    best = np.full(len(one), -1.0)
    for moved, target in ((one, two), (two, one)):
        down, right = np.gradient(moved, axis=(1, 2))
        terms = [moved, np.ones_like(moved), right, down, x * right + y * down, x * down - y * right]
        columns = torch.from_numpy(np.stack([term[inner].reshape(len(one), -1) for term in terms], axis=2))
        values = torch.from_numpy(target[inner].reshape(len(one), -1, 1))
        weights = torch.linalg.lstsq(columns, values).solution
        pair = torch.stack([(columns @ weights)[..., 0], values[..., 0]], dim=1)
        fitted, wanted = torch.nn.functional.normalize(pair - pair.mean(2, keepdim=True), dim=2).unbind(1)
        # A negative weight would be a negative.
        best = np.maximum(best, torch.where(weights[:, 0, 0] > 0, (fitted * wanted).sum(1), -1.0).numpy())
    return best


def _hash_pictures(grey):
    """Perceptual hash of each picture, 64 bits: uint64 [n]."""
    bits = [imagehash.phash(Image.fromarray(picture.astype(np.uint8))).hash.ravel() for picture in grey]
    return np.packbits(np.array(bits), axis=1).view(np.uint64).ravel()


def _normalise(grey):
    flat = grey.reshape(len(grey), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)
