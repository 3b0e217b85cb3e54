"""Exact nearest neighbours in blocks of the reference: the inner loop of the identity membership attack
(Webster et al., arXiv 2107.06018) and of the pixel attack beside it (GAN-Leaks, Chen et al., arXiv 1909.03935); and sums
over all neighbours, for the attacks that look at more than the nearest.

A matrix product is fast, but its last bits change with the shape of the block. So it only proposes: every row that
rounding could have robbed of the first place is measured again in float64, and the nearest of those is the answer. That
makes it a function of the two sets alone: not of the block size, the batch, the number of threads or the precision of the
product, which is bfloat16 on processors that multiply that several times faster.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch

UNIT_TOLERANCE = 1e-4  # | |row| - 1 | that still counts as unit norm; normalising in float32 leaves about 1e-7
# What a product may round its factors to before it multiplies them (torch.set_float32_matmul_precision): nothing, TF32
# or bfloat16, whose last bits these are. With less precision more rows are measured again, and the answer stays.
FACTOR_ROUNDOFF = {"highest": 0.0, "high": 2.0**-10, "medium": 2.0**-7}
MOST_OPEN = 16  # pairs a query that a product may leave open in a block; with more of them a finer product is cheaper
MIN_ROWS = 64  # rows on both sides below which a bfloat16 product is not worth its rounding

PIXEL_BLOCK = 2**26  # grey levels of a block of faces: 256 MB as float32
TILE_ON_CPU, TILE_ON_GPU = 2**21, 2**28  # distances in a tile of queries: 8 MB stay in a cache; a GPU wants large products


def find_nearest(query, reference, block_size=8192):
    """Find each query's nearest reference embedding by exact cosine distance.

    Parameters
    ----------
    query : Tensor or ndarray [N, D], float32, unit L2 norm.
    reference : Tensor or ndarray [M, D], float32, unit L2 norm. A numpy memmap is read block by block.
    block_size : int
        Reference rows per block; memory grows with N * block_size, the result does not depend on it.

    Returns
    -------
    distance : Tensor [N], float32, in [0, 2]. 1 - cosine; small = similar.
    index : Tensor [N], int64. Row of ``reference``; the lowest one where several are equally near.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, or a row is not finite or not of unit norm (within 1e-4).
    """
    _check_shapes(query, reference, torch.float32, 2, block_size)
    query = _check_unit(_to_tensor(query), "query", 0)
    slack = _bound_rounding(query.shape[1]) * (1 + UNIT_TOLERANCE) ** 2

    rounded = _round_rows(-query) if _multiplies_bfloat16(query.device.type) and len(query) >= MIN_ROWS else None

    def enter(block, start):
        block = _check_unit(block, "reference", start)
        proposals = [lambda rows: (-query[rows] @ block.T, slack)]
        if rounded and len(block) >= MIN_ROWS:
            proposals.insert(0, _propose_roughly(rounded, _round_rows(block), slack))
        return block, proposals

    def measure(rows, block_rows):
        # Rounding to float32 before the comparison: equally near means that the returned distances are equal.
        cosine = (rows.double() * block_rows.double()).sum(1)
        return (1 - cosine).clamp(0, 2).float().double()

    distance, index = _find_in_blocks(query, reference, block_size, enter, measure, offset=1.0)
    return distance.float(), index


def find_nearest_pixel(query, reference, block_size=8192):
    """Find each query's nearest reference face by exact L2 distance of grey levels.

    Parameters
    ----------
    query : Tensor or ndarray [N, C, H, W], uint8.
    reference : Tensor or ndarray [M, C, H, W], uint8. A numpy memmap is read block by block.
    block_size : int
        Reference rows per block, fewer where faces are large; the result does not depend on it.

    Returns
    -------
    distance : Tensor [N], float32, in [0, 1]. Root mean square difference over C * H * W grey levels scaled to [0, 1]
        (the L2 distance divided by 255 * sqrt(C * H * W)); small = similar.
    index : Tensor [N], int64. Row of ``reference``; the lowest one where several are equally near.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong.
    """
    _check_shapes(query, reference, torch.uint8, 4, block_size)
    query = _to_tensor(query).flatten(1)
    size = query.shape[1]
    block_size = max(1, min(block_size, PIXEL_BLOCK // size))

    # Centred grey levels have half the norm, and so a quarter of the rounding. Halves are exact in float32.
    centred = query.float() - 127.5
    square = (centred**2).sum(1)

    def enter(block, start):
        block = block.flatten(1)
        other = block.float() - 127.5
        other_square = (other**2).sum(1)

        def propose(rows):
            # |x|^2 - 2 xy + |y|^2: the squares err in proportion to their size, and so does 2 xy <= |x|^2 + |y|^2.
            slack = 2 * _bound_rounding(size) * (square[rows, None] + other_square.max())
            return square[rows, None] + other_square - 2 * centred[rows] @ other.T, slack

        return block, [propose]

    def measure(rows, block_rows):
        return ((rows.int() - block_rows.int()) ** 2).sum(1, dtype=torch.int64).double()  # integers: no rounding at all

    distance, index = _find_in_blocks(query, reference, block_size, enter, measure)
    return ((distance / size).sqrt() / 255).float(), index


def find_top_k(query, reference, k, block_size=8192):
    """Find each query's k largest cosines; parameters and raises as in ``find_nearest``.

    Returns
    -------
    cosine : Tensor [N, min(k, M)], float32, in [-1, 1], largest first; the last bits may change with the block size.
    """
    if k < 1:
        raise ValueError(f"k={k} is not at least 1")
    largest = None
    for cosine in _iter_cosines(query, reference, block_size):
        joined = cosine if largest is None else torch.cat([largest, cosine], dim=1)
        largest = joined.topk(min(k, joined.shape[1]), dim=1).values
    return largest.clamp(-1, 1)


def compute_log_density(query, reference, kappa, block_size=8192):
    """Compute the log of the mean of exp(kappa * cosine): a von Mises-Fisher kernel density, without its constant.

    Parameters and raises as in ``find_nearest``; kappa > 0 is the concentration: large sees near neighbours alone.

    Returns
    -------
    log_density : Tensor [N], float32, in [-kappa, kappa]; large = many generated faces near.
    """
    if not kappa > 0:
        raise ValueError(f"kappa={kappa} is not above 0")
    total = None
    for cosine in _iter_cosines(query, reference, block_size):
        part = torch.logsumexp(kappa * cosine, dim=1)
        total = part if total is None else torch.logaddexp(total, part)
    return total - float(np.log(len(reference)))


def count_within(query, reference, epsilon, block_size=8192):
    """Count the reference rows within cosine distance ``epsilon``; parameters and raises as in ``find_nearest``.

    Returns
    -------
    count : Tensor [N], int64, in [0, M].
    """
    if not 0 < epsilon <= 2:
        raise ValueError(f"epsilon={epsilon} is not a cosine distance between 0 and 2")
    return sum((cosine >= 1 - epsilon).sum(1) for cosine in _iter_cosines(query, reference, block_size))


def _iter_cosines(query, reference, block_size):
    """Yield [N, B] blocks of cosines, in the order of the reference rows."""
    _check_shapes(query, reference, torch.float32, 2, block_size)
    query = _check_unit(_to_tensor(query), "query", 0)
    for start in range(0, len(reference), block_size):
        yield query @ _check_unit(_to_tensor(reference[start : start + block_size]).to(query.device), "reference", start).T


def _find_in_blocks(query, reference, block_size, enter, measure, offset=0.0):
    """Walk over the reference once; ``enter`` and its proposals bound distances from below and above, ``measure`` decides.

    ``enter(block, start)`` returns the block's rows and a list of proposals, the roughest first. A proposal, called with a
    slice of n queries, returns (rough [n, B], slack), |rough + offset - exact| <= slack but for the last rounding of rough.
    ``measure(query rows [P, D], block rows [P, D])`` returns the exact float64 [P] of P pairs, and must treat each pair
    alone. Queries go in tiles whose distances to a block stay in a processor's cache: what follows the matrix product then
    costs little beside it.
    """
    num_queries, width = query.shape
    distance = torch.full((num_queries,), torch.inf, dtype=torch.float64, device=query.device)
    index = torch.zeros(num_queries, dtype=torch.int64, device=query.device)
    tile = max(1, (TILE_ON_CPU if query.device.type == "cpu" else TILE_ON_GPU) // min(block_size, len(reference)))
    for start in range(0, len(reference), block_size):
        block, proposals = enter(_to_tensor(reference[start : start + block_size]).to(query.device), start)
        for first in range(0, num_queries, tile):
            rows = slice(first, first + tile)
            known = distance[rows, None] - offset
            pairs = _find_open(*proposals[0](rows), known)
            while len(proposals) > 1 and len(pairs) > MOST_OPEN * len(known):
                proposals = proposals[1:]  # too rough for this block: where a generator has collapsed, all is equally near
                pairs = _find_open(*proposals[0](rows), known)
            if len(pairs):
                pairs[:, 0] += first
                _settle(pairs, query, block, start, width, measure, distance, index)
    return distance, index


def _find_open(rough, slack, known):
    """(row, column) of the pairs that may be a row's nearest in this block and no further than what is known."""
    best = rough.amin(1, keepdim=True)
    # Rounding to the nearest keeps the order: what was below a number before it is not above the next one after it.
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
    # A collapsed generator makes every pair a candidate: measure them in parts that fit a processor's cache.
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


def _to_tensor(rows):
    return torch.tensor(rows) if isinstance(rows, np.ndarray) else rows  # a copy: torch cannot share read-only arrays


def _bound_rounding(num_terms):
    """Bound the error of a float32 product of unit vectors: n terms summed in any order err by at most n roundoffs
    (Higham 2002, *Accuracy and Stability of Numerical Algorithms*, eq. 3.5); four to spare for what is done to the sum.
    """
    return (num_terms + 4) * 2.0**-24 + 3 * FACTOR_ROUNDOFF[torch.get_float32_matmul_precision()]


@cache
def _multiplies_bfloat16(device):
    """Whether this processor has instructions for products of bfloat16; without them they are slower than float32's."""
    info = Path("/proc/cpuinfo")
    return device == "cpu" and info.exists() and any(flag in info.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def _round_rows(rows):
    """Rows as bfloat16, and the norm [N, 1], float64, of what that takes from each."""
    rounded = rows.bfloat16()
    return rounded, torch.linalg.vector_norm((rounded.float() - rows).double(), dim=1, keepdim=True)


def _propose_roughly(query, block, slack):
    """A proposal by a product of rounded rows. By Cauchy and Schwarz the product of (x + e) and (y + f) is off by at most
    |e| |y| + |f| |x + e|; ``slack`` is for the sums, as in float32.
    """
    (rows, row_error), (columns, column_error) = query, block
    largest = (1 + UNIT_TOLERANCE) * (1 + 2.0**-7)  # norm of a rounded row at most
    slacks = (row_error + column_error.max()) * largest + slack * largest**2
    return lambda part: (rows[part] @ columns.T, slacks[part])


def _check_shapes(query, reference, dtype, num_dims, block_size):
    form = {2: "[rows, D]", 4: "[rows, C, H, W]"}[num_dims]
    for name, rows in (("query", query), ("reference", reference)):
        got = str(rows.dtype).removeprefix("torch.")
        allowed = str(dtype).removeprefix("torch.")
        if rows.ndim != num_dims or got != allowed:
            raise ValueError(f"{name} is {got} {list(rows.shape)}, but {allowed} {form} is needed")
    if query.shape[1:] != reference.shape[1:]:
        raise ValueError(f"query rows are {list(query.shape[1:])} and reference rows are {list(reference.shape[1:])}, "
                         "but the two must be equal: were they made at one resolution, by one embedder?")
    if len(reference) == 0:
        raise ValueError("reference has no rows, so nothing can be nearest: at least one is needed")
    if block_size < 1:
        raise ValueError(f"block_size={block_size} is not at least 1")


def _check_unit(rows, name, start):
    norm = torch.linalg.vector_norm(rows.double(), dim=1)
    is_bad = ~((norm - 1).abs() <= UNIT_TOLERANCE)  # also true for NaN
    if is_bad.any():
        row = int(is_bad.nonzero()[0, 0])
        if not torch.isfinite(rows[row]).all():
            raise ValueError(f"{name} row {start + row} is not finite: an embedder must return finite numbers")
        raise ValueError(f"{name} row {start + row} has norm {float(norm[row]):.6g}, but 1 within {UNIT_TOLERANCE:g} "
                         "is needed: divide each row by its L2 norm")
    return rows
