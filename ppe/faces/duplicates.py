"""Near-duplicate faces: a perceptual hash proposes pairs, and the correlation after registration decides."""

import imagehash
import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ppe.faces.resize import resize_faces

COMPARE_SIDE = 32
"""Side in pixels at which two crops are compared: fine enough for an expression, too coarse for JPEG artefacts."""
HASH_DISTANCE = 16
"""Largest number of differing bits, of 64, between the perceptual hashes of a candidate pair. Of 600 copies of LFW photos
(re-encoded, cropped and rescaled, brightened or mirrored, then detected and aligned again) 99 % differ in at most 15 bits. Of
pairs of photos of two identities 99 % differ in more."""
LOOSE_CORRELATION = 0.8
"""Least Pearson correlation of the grey levels of a candidate pair before registration; 1 % of the copies lie below."""
SAME_CORRELATION = 0.97
"""Least correlation after registration of two crops of the same picture. It detects 96 % of those copies (87 % of the
mirrored). Of 5,726 pairs of photos of one LFW identity it flags 2, both the same picture. In Olivetti, whose ten photos of an
identity come from one sitting, it flags some pairs that look identical."""
TWO_NAMES_CORRELATION = 0.985
"""The same for photos of two identities, which form many more pairs. Of the 88 million pairs of LFW six reach 0.97: five are one
picture under two names, at 0.994 or more, and the sixth, at 0.972, is not. Of 1,464 photos of 366 synthetic identities no pair
reaches it."""
REGISTRATION_BATCH = 256
"""Pairs registered at a time."""


def find_duplicates(faces, identity, across=False, block_size=1024):
    """Find faces that are the same picture as an earlier one: copied, re-encoded or mirrored.

    Candidates are pairs whose perceptual hashes differ in at most ``HASH_DISTANCE`` bits. They are the same picture if
    their grey levels after registration correlate by at least ``SAME_CORRELATION``. The relation is extended
    transitively: if a equals b and b equals c, all three are one picture. Time grows with the square of the number of
    faces compared. Memory holds 3 kB a face, its picture at ``COMPARE_SIDE``; all else is computed in blocks.

    Parameters
    ----------
    faces : ndarray or memmap [N, 3, H, W], uint8, aligned. Uniform ones (no face was found) are never duplicates.
    identity : array [N] of str
        Faces of the same identity are compared.
    across : bool
        Compare faces of two identities as well, with ``TWO_NAMES_CORRELATION``: one picture may occur under two names.
    block_size : int
        Rows compared at a time; the result does not depend on it.

    Returns
    -------
    ndarray [N], int64. The lowest row with the same picture, or -1 if that is the row itself.
    """
    small = resize_faces(faces, min(COMPARE_SIDE, *faces.shape[2:]))
    flat = np.concatenate([_read_grey(small[start : start + block_size]).std((1, 2)) < 1
                           for start in range(0, max(len(faces), 1), block_size)])
    number = pd.factorize(np.asarray(identity))[0]
    pairs = []
    for members in pd.Series(np.arange(len(faces))[~flat]).groupby(number[~flat] * (not across)).agg(np.array):
        (first, second), correlation = _pair_pictures(small, members, block_size)
        pairs.append(np.stack([first, second])[:, (number[first] == number[second]) | (correlation >= TWO_NAMES_CORRELATION)])
    duplicate_of = np.full(len(faces), -1, np.int64)
    if pairs:
        first, second = np.concatenate(pairs, axis=1)
        graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(faces),) * 2)
        component = connected_components(graph, directed=False)[1]
        # np.unique gives the first row of each component, which is the lowest.
        lowest = np.unique(component, return_index=True)[1][component]
        duplicate_of = np.where(lowest < np.arange(len(faces)), lowest, -1)
    return duplicate_of


def _pair_pictures(small, members, block_size):
    """Pairs of rows i < j with the same picture, int [2, pairs], and their correlation [pairs]. A pair may occur twice, once
    mirrored.

    small : Tensor [N, 3, h, w], uint8; members : ndarray [n], int64, rising: the rows of ``small`` that are compared.
    """
    found, correlations = [np.zeros((2, 0), np.int64)], [np.zeros(0)]
    for first, second, is_mirrored in _propose_pairs(small, members, block_size):
        for part in range(0, len(first), REGISTRATION_BATCH):
            i, j = first[part : part + REGISTRATION_BATCH], second[part : part + REGISTRATION_BATCH]
            correlation = correlate_registered(_read_grey(small[i]), _read_grey(small[j], is_mirrored))
            is_same = correlation >= SAME_CORRELATION
            found.append(np.stack([i, j])[:, is_same])
            correlations.append(correlation[is_same])
    return np.concatenate(found, axis=1), np.concatenate(correlations)


def _propose_pairs(small, members, block_size):
    """Yield candidate pairs of ``members``: their rows i < j, and whether the second picture is mirrored."""
    blocks = [members[start : start + block_size] for start in range(0, len(members), block_size)]
    bits = [_hash_pictures(_read_grey(small[rows])) for rows in blocks]
    for is_mirrored in (False, True):
        other_bits = [_hash_pictures(_read_grey(small[rows], True)) for rows in blocks] if is_mirrored else bits
        for a, rows in enumerate(blocks):
            unit = _normalise(_read_grey(small[rows]))
            for b, columns in enumerate(blocks[a:], a):
                near = np.bitwise_count(bits[a][:, None] ^ other_bits[b]) <= HASH_DISTANCE
                near &= unit @ _normalise(_read_grey(small[columns], is_mirrored)).T >= LOOSE_CORRELATION
                first, second = np.nonzero(np.triu(near, 1) if a == b else near)
                yield rows[first], columns[second], is_mirrored


def correlate_registered(one, two):
    """Correlate pictures with others after the best small shift, rotation and scaling of either, to first order.

    A second detection of a copy moves its landmarks by about a pixel. A picture moved so little is the picture plus its
    gradients times the displacement, so registration is a linear regression.

    one, two : ndarray [n, h, w], grey levels. Returns ndarray [n], float64, in [-1, 1]; large = the same picture.
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
        # A negative weight would match a picture with its photographic negative.
        best = np.maximum(best, torch.where(weights[:, 0, 0] > 0, (fitted * wanted).sum(1), -1.0).numpy())
    return best


def _read_grey(small, is_mirrored=False):
    """Grey levels of pictures, float32 [n, h, w]."""
    grey = small.float().mean(1).numpy()
    return grey[:, :, ::-1] if is_mirrored else grey


def _hash_pictures(grey):
    """Perceptual hash of 64 bits of each picture: uint64 [n]."""
    bits = [imagehash.phash(Image.fromarray(picture.astype(np.uint8))).hash.ravel() for picture in grey]
    return np.packbits(np.array(bits), axis=1).view(np.uint64).ravel()


def _normalise(grey):
    flat = grey.reshape(len(grey), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)
