"""Exact nearest neighbours, and sums over all neighbours, in a database of generated faces that is read block by block.

The identity membership attack (Webster et al., arXiv 2107.06018) and the pixel attack (GAN-Leaks, Chen et al., arXiv 1909.03935)
need the nearest neighbour; the other attacks need more of them. ``ppe.attacks.blocks`` explains the fast exact search. Embeddings
may come from a network that records gradients; distances never do.
"""

import numpy as np
import torch

from ppe.attacks.blocks import (
    UNIT_TOLERANCE,
    bound_rounding,
    find_in_blocks,
    multiplies_bfloat16,
    propose_finely,
    propose_roughly,
    round_rows,
)
from ppe.config.storage import read_block, to_tensor

MIN_ROWS = 64  # rows on both sides below which a bfloat16 product saves less than its rounding costs
MAX_COSINES = 2**25  # of a block of ``count_within``: 128 MB
PIXEL_BLOCK = 2**26  # grey levels of a block of faces: 256 MB as float32


@torch.no_grad()
def find_nearest(query, database, block_size=8192):
    """Find each query's nearest embedding of a database by exact cosine distance.

    Parameters
    ----------
    query : Tensor or ndarray [N, D], float32, unit L2 norm.
    database : Tensor or ndarray [M, D], float32, unit L2 norm. A numpy memmap is read block by block.
    block_size : int
        Rows of the database in a block. Memory grows with N * block_size; the result does not depend on it.

    Returns
    -------
    distance : Tensor [N], float32, in [0, 2]. 1 - cosine; small = similar.
    index : Tensor [N], int64. Row of ``database``; the lowest one where several are equally near.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, or a row is not finite or not of unit norm (within 1e-4).
    """
    _check_shapes(query, database, torch.float32, 2, block_size)
    query = _check_unit(to_tensor(query), "query", 0)
    slack = bound_rounding(query.shape[1]) * (1 + UNIT_TOLERANCE) ** 2
    rounded = round_rows(-query) if multiplies_bfloat16(query.device.type) and len(query) >= MIN_ROWS else None

    def enter(block, start):
        block = _check_unit(block, "database", start)
        proposals = [lambda rows: (-query[rows] @ block.T, slack), lambda rows: propose_finely(query[rows], block)]
        if rounded and len(block) >= MIN_ROWS:
            proposals.insert(0, propose_roughly(rounded, round_rows(block), slack))
        return block, proposals

    def measure(rows, block_rows):
        # Round to float32 before the comparison, so that rows are equally near exactly if the returned distances are equal.
        cosine = (rows.double() * block_rows.double()).sum(1)
        return (1 - cosine).clamp(0, 2).float().double()

    distance, index = find_in_blocks(query, database, block_size, enter, measure, offset=1.0)
    return distance.float(), index


def find_nearest_pixel(query, database, block_size=8192):
    """Find each query's nearest face of a database by exact L2 distance of grey levels.

    Parameters
    ----------
    query : Tensor or ndarray [N, C, H, W], uint8.
    database : Tensor or ndarray [M, C, H, W], uint8. A numpy memmap is read block by block.
    block_size : int
        Rows of the database in a block, fewer where faces are large; the result does not depend on it.

    Returns
    -------
    distance : Tensor [N], float32, in [0, 1]. Root mean square difference over C * H * W grey levels scaled to [0, 1]
        (the L2 distance divided by 255 * sqrt(C * H * W)); small = similar.
    index : Tensor [N], int64. Row of ``database``; the lowest one where several are equally near.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong.
    """
    _check_shapes(query, database, torch.uint8, 4, block_size)
    query = to_tensor(query).flatten(1)
    size = query.shape[1]
    block_size = max(1, min(block_size, PIXEL_BLOCK // size))

    # Centred grey levels have half the norm, and hence a quarter of the rounding. Halves are exact in float32.
    centred = query.float() - 127.5
    square = (centred**2).sum(1)

    def enter(block, start):
        block = block.flatten(1)
        other = block.float() - 127.5
        other_square = (other**2).sum(1)

        def propose(rows):
            # |x|^2 - 2 xy + |y|^2: errors are proportional to |x|^2 and |y|^2, and for 2 xy to at most |x|^2 + |y|^2.
            slack = 2 * bound_rounding(size) * (square[rows, None] + other_square.max())
            return square[rows, None] + other_square - 2 * centred[rows] @ other.T, slack

        return block, [propose]

    def measure(rows, block_rows):
        return ((rows.int() - block_rows.int()) ** 2).sum(1, dtype=torch.int64).double()  # integers are not rounded

    distance, index = find_in_blocks(query, database, block_size, enter, measure)
    return ((distance / size).sqrt() / 255).float(), index


@torch.no_grad()
def find_top_k(query, database, k, block_size=8192):
    """Find each query's k largest cosines; other parameters and errors as in ``find_nearest``.

    Returns
    -------
    cosine : Tensor [N, min(k, M)], float32, in [-1, 1], largest first. The last bits may change with the block size.
    """
    if k < 1:
        raise ValueError(f"k={k} is not at least 1")
    largest = None
    for _, cosine in iter_cosines(query, database, block_size):
        joined = cosine if largest is None else torch.cat([largest, cosine], dim=1)
        largest = joined.topk(min(k, joined.shape[1]), dim=1).values
    return largest.clamp(-1, 1)


@torch.no_grad()
def compute_log_density(query, database, concentration, block_size=8192):
    """Compute the log of the mean of exp(concentration * cosine): a von Mises-Fisher kernel density without its constant.

    Parameters
    ----------
    query, database, block_size : as in ``find_nearest``.
    concentration : float, above 0. A large one gives weight to near neighbours only.

    Returns
    -------
    log_density : Tensor [N], float32, in [-concentration, concentration]; large = many rows are near.

    Raises
    ------
    ValueError
        As ``find_nearest``, or if ``concentration`` is not above 0.
    """
    if not concentration > 0:
        raise ValueError(f"concentration={concentration} is not above 0")
    total = None
    for _, cosine in iter_cosines(query, database, block_size):
        part = torch.logsumexp(concentration * cosine, dim=1)
        total = part if total is None else torch.logaddexp(total, part)
    return total - float(np.log(len(database)))


@torch.no_grad()
def count_within(query, database, epsilon, block_size=None):
    """Count the rows within cosine distance ``epsilon``, in (0, 2]; other parameters and errors as in ``find_nearest``.

    block_size : int or None. None: 8192, or less where a block would hold more than ``MAX_COSINES`` cosines.

    Returns
    -------
    count : Tensor [N], int64, in [0, M].
    """
    if not 0 < epsilon <= 2:
        raise ValueError(f"epsilon={epsilon} is not a cosine distance between 0 and 2")
    block_size = max(1, min(8192, MAX_COSINES // max(1, len(query)))) if block_size is None else block_size
    return sum((cosine >= 1 - epsilon).sum(1) for _, cosine in iter_cosines(query, database, block_size))


@torch.no_grad()
def iter_cosines(query, database, block_size=8192):
    """Yield (rows of the database [B, D], cosines [N, B]) block by block; parameters and errors as in ``find_nearest``."""
    _check_shapes(query, database, torch.float32, 2, block_size)
    query = _check_unit(to_tensor(query), "query", 0)
    for start in range(0, len(database), block_size):
        block = _check_unit(read_block(database, start, block_size).to(query.device), "database", start)
        yield block, query @ block.T


def _check_shapes(query, database, dtype, num_dims, block_size):
    form = {2: "[rows, D]", 4: "[rows, C, H, W]"}[num_dims]
    for name, rows in (("query", query), ("database", database)):
        got = str(rows.dtype).removeprefix("torch.")
        allowed = str(dtype).removeprefix("torch.")
        if rows.ndim != num_dims or got != allowed:
            raise ValueError(f"{name} is {got} {list(rows.shape)}, but {allowed} {form} is needed")
    if query.shape[1:] != database.shape[1:]:
        raise ValueError(f"query rows are {list(query.shape[1:])} and database rows are {list(database.shape[1:])}, "
                         "but the two must be equal: were they made at one resolution, by one embedder?")
    if len(database) == 0:
        raise ValueError("database has no rows, but at least one is needed")
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
