"""Pairs of photos without a list of all of them: 50,000 photos form 1.25e9 pairs."""

import numpy as np


def count_pairs(identity):
    """Count the pairs of rows of one identity, and those of two: (int, int). identity : array [N], str or int."""
    size = np.unique(np.asarray(identity), return_counts=True)[1]
    same = int((size * (size - 1) // 2).sum())
    return same, int(size.sum() * (size.sum() - 1) // 2) - same


def find_pairs(number, same_rank, other_rank):
    """Find the rows of pairs by the pairs' ranks. Memory grows with N + P, time with (N + P) log N.

    Parameters
    ----------
    number : ndarray [N], int64
        The identity of each row, counted from 0.
    same_rank, other_rank : ndarray [P], int64
        Ranks, from 0, among the pairs of one identity, and among those of two. Pairs (i, j), i < j, are ordered by i, then by
        j, as ``np.triu_indices`` lists them.

    Returns
    -------
    same, other : ndarray [2, P], int64
        i and j of the pairs of one identity, and of those of two.
    """
    order = np.argsort(number, kind="stable")  # rows by identity, each identity's rows rising
    size = np.bincount(number)
    start = np.cumsum(size) - size
    position = np.empty_like(order)  # of each row among the rows of its identity
    position[order] = np.arange(len(order)) - start[number[order]]
    num_same = size[number] - 1 - position  # pairs (i, j) of one identity, for each i
    num_other = np.arange(len(number))[::-1] - num_same

    def split_rank(rank, count):
        end = np.cumsum(count)
        row = np.searchsorted(end, rank, side="right")
        return row, rank - (end - count)[row]

    row, later = split_rank(same_rank, num_same)
    same = np.stack([row, order[start[number[row]] + position[row] + 1 + later]])
    # i - position[i] rows of other identities come before row i. So j is row number `among` of the other identities.
    row, later = split_rank(other_rank, num_other)
    among, own = row - position[row] + later, number[row]
    # Rows of i's own identity that come before j shift it. With the identity in front, the keys of all identities rise.
    keys = number[order] * (len(number) + 1) + order - position[order]
    shift = np.searchsorted(keys, own * (len(number) + 1) + among, side="right") - start[own]
    return same, np.stack([row, among + shift])
