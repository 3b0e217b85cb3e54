"""The exact search behind ``ppe.attacks.nearest``: a walk over the database in blocks; a product proposes and float64 decides.

A matrix product is fast, but its last bits change with the shape of the block. It therefore only proposes rows. Every row that
may be the nearest, given the rounding, is measured again in float64, and the nearest of these is the result. The result is thus
a function of the two sets alone. It does not depend on the block size, the batch, the number of threads or the precision of the
product, which is bfloat16 on processors that multiply it several times faster.
"""

import time
from functools import cache

import torch

from ppe.config.storage import read_block

UNIT_TOLERANCE = 1e-4  # largest | |row| - 1 | that counts as unit norm; normalising in float32 leaves about 1e-7
# Rounding of a factor before the multiplication (torch.set_float32_matmul_precision): none, or the last bit of TF32 or bfloat16.
# With less precision more rows are measured again, and the result stays the same.
FACTOR_ROUNDOFF = {"highest": 0.0, "high": 2.0**-10, "medium": 2.0**-7}
MOST_OPEN = 16  # pairs a query that a product may leave undecided in a block; with more of them a finer product is cheaper
TILE_ON_CPU, TILE_ON_GPU = 2**21, 2**28  # distances in a tile of queries: 8 MB fit a cache; a GPU needs large products


def find_in_blocks(query, database, block_size, enter, measure, offset=0.0):
    """Find each query's nearest row in one walk over the database.

    Queries are taken in tiles whose distances to a block fit a processor's cache, so that the matrix product dominates the cost.

    Parameters
    ----------
    query : Tensor [N, D].
    database : Tensor or ndarray [M, D]. A numpy memmap is read block by block.
    block_size : int. Rows of the database in a block.
    enter : callable
        ``enter(block, start)`` returns the block's rows and a list of proposals, the roughest first. A proposal, called with a
        slice of n queries, returns (rough [n, B], slack) with |rough + offset - exact| <= slack, up to the last rounding of
        rough.
    measure : callable
        ``measure(query rows [P, D], block rows [P, D])`` returns the exact distances of P pairs, float64 [P]. It must treat each
        pair alone.
    offset : float

    Returns
    -------
    distance : Tensor [N], float64, as ``measure`` returns it.
    index : Tensor [N], int64. Row of ``database``; the lowest one where several are equally near.
    """
    num_queries, width = query.shape
    distance = torch.full((num_queries,), torch.inf, dtype=torch.float64, device=query.device)
    index = torch.zeros(num_queries, dtype=torch.int64, device=query.device)
    tile = max(1, (TILE_ON_CPU if query.device.type == "cpu" else TILE_ON_GPU) // min(block_size, len(database)))
    for start in range(0, len(database), block_size):
        block, proposals = enter(read_block(database, start, block_size).to(query.device), start)
        for first in range(0, num_queries, tile):
            rows = slice(first, first + tile)
            known = distance[rows, None] - offset
            pairs = _find_open(*proposals[0](rows), known)
            while len(proposals) > 1 and len(pairs) > MOST_OPEN * len(known):
                proposals = proposals[1:]  # too rough for this block: a collapsed generator makes all rows equally near
                pairs = _find_open(*proposals[0](rows), known)
            if len(pairs):
                pairs[:, 0] += first
                _settle(pairs, query, block, start, width, measure, distance, index)
    return distance, index


def _find_open(rough, slack, known):
    """(row, column) of the pairs that may be a row's nearest in this block and not farther than the nearest one known so far."""
    best = rough.amin(1, keepdim=True)
    # Rounding to the nearest is monotonic: a value below a number before rounding is not above the next number after it.
    above, below = (torch.nextafter(best, torch.full_like(best, end)).double() for end in (torch.inf, -torch.inf))
    rows = (below - slack <= known).nonzero()[:, 0]
    limit = torch.minimum(above + 2 * slack, known + slack).to(rough.dtype)
    limit = torch.nextafter(limit, torch.full_like(limit, torch.inf))
    if len(rows) == len(rough):
        return (rough <= limit).nonzero()
    pairs = (rough[rows] <= limit[rows]).nonzero()
    pairs[:, 0] = rows[pairs[:, 0]]
    return pairs


def _settle(pairs, query, block, start, width, measure, distance, index):
    """Measure the pairs (query, block row) exactly and keep the nearest of each query, in place."""
    # If a generator has collapsed, every pair is a candidate: measure them in parts that fit a processor's cache.
    parts = pairs.split(max(1, 2**18 // width))
    exact = torch.cat([measure(query[part[:, 0]], block[part[:, 1]]) for part in parts])
    row, column = pairs.unbind(1)
    nearest = torch.full_like(distance, torch.inf).scatter_reduce_(0, row, exact, "amin")
    column_of = torch.full_like(index, len(block))
    is_nearest = exact == nearest[row]
    column_of.scatter_reduce_(0, row[is_nearest], column[is_nearest], "amin")
    is_closer = nearest < distance  # strictly: an equal row of a later block has a higher number
    torch.where(is_closer, nearest, distance, out=distance)
    torch.where(is_closer, column_of + start, index, out=index)


def bound_rounding(num_terms):
    """Bound the error of a float32 product of unit vectors: a sum of n terms, in any order, is off by at most n roundoffs.

    Source: Higham 2002, *Accuracy and Stability of Numerical Algorithms*, eq. 3.5. Four more roundoffs cover the operations on
    the sum.
    """
    return (num_terms + 4) * 2.0**-24 + 3 * FACTOR_ROUNDOFF[torch.get_float32_matmul_precision()]


@cache
def multiplies_bfloat16(device):
    """Whether this processor multiplies bfloat16 faster than float32: bool, measured once in a process, in about 0.1 s.

    Its instructions do not tell: of two processors that have them, one was three times as fast, the other 1.6 times as slow. The
    answer decides the time of a search, never its result.
    """
    if device != "cpu":
        return False
    rows = torch.full((256, 512), 0.5)
    seconds = {dtype: _time_product(rows.to(dtype)) for dtype in (torch.float32, torch.bfloat16)}
    return seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]


def _time_product(rows, repeats=5):
    """Seconds of the fastest of a few products of rows with themselves, sixteen times over."""
    columns, times = rows.repeat(16, 1).T, []
    for _ in range(repeats):
        started = time.perf_counter()
        rows @ columns
        times.append(time.perf_counter() - started)
    return min(times)


def round_rows(rows):
    """Return the rows as bfloat16, and the norm of each row's rounding error, float64 [N, 1]."""
    rounded = rows.bfloat16()
    return rounded, torch.linalg.vector_norm((rounded.float() - rows).double(), dim=1, keepdim=True)


def propose_roughly(query, block, slack):
    """Return a proposal by a product of rounded rows.

    By Cauchy and Schwarz the product of (x + e) and (y + f) is off by at most |e| |y| + |f| |x + e|. ``slack`` covers the sums,
    as in float32.
    """
    (rows, row_error), (columns, column_error) = query, block
    largest = (1 + UNIT_TOLERANCE) * (1 + 2.0**-7)  # largest norm of a rounded row
    slacks = (row_error + column_error.max()) * largest + slack * largest**2
    return lambda part: (rows[part] @ columns.T, slacks[part])


def propose_finely(query, block):
    """Return a proposal by a product in float64, for rows that float32 cannot rank: those of a collapsed generator.

    The exact distance is rounded to float32 and clamped at 0. Two kinds of rows may therefore differ here and be equally near in
    the end: rows one roundoff apart, which the slack covers, and rows whose cosine exceeds 1 because their norm does. Of the rows
    that are certain to be at distance 0 the lowest one is sufficient.
    """
    rough = -query.double() @ block.double().T
    slack = (query.shape[1] + 4) * 2.0**-52
    is_zero = rough < -1 - slack
    lowest = is_zero.int().argmax(1, keepdim=True)
    is_zero.scatter_(1, lowest, False)
    rough = rough.masked_fill_(is_zero, torch.inf).clamp_(min=-1)
    return rough, slack + (1 + rough.amin(1, keepdim=True)) * 2.0**-22
