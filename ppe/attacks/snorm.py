"""The largest cosines of each photo, as they are and by adaptive S-norm, in one walk over the generated faces: for audits.

``ppe.attacks.normalisation`` explains S-norm; here both are found together, in tiles, so that a million faces fit into memory.
"""

import torch

from ppe.attacks.normalisation import measure_cohort, normalise_cosines
from ppe.config.storage import read_block, to_tensor

NAMES = ("nearest_top_k", "nearest_snorm")
"""What ``find_top_values`` finds, by the names of the attacks."""
TILE = 2**23
"""Cosines of a tile of queries and a block of generated faces: 32 MB as float32."""


@torch.no_grad()
def find_top_values(query, generated, cohort, *, cohort_size, top_k, block_size=8192):
    """Find each query's largest cosines, as they are and as 1/2 [(s - mean_K(q)) / std_K(q) + (s - mean_K(g)) / std_K(g)].

    Parameters
    ----------
    query, generated, cohort : Tensor or ndarray [N, D], [M, D], [R, D], float32, unit L2 norm. A numpy memmap of generated faces
        is read block by block.
    cohort_size : int, K. The mean and standard deviation are over the K largest cosines with the cohort; all where it has fewer.
    top_k : int. Values that are kept for each query.
    block_size : int. Generated faces in a block; memory grows with it, the result does not depend on it, but for last bits.

    Returns
    -------
    dict: ``nearest_top_k`` (cosines) and ``nearest_snorm`` (in standard deviations), each a pair of
        value : Tensor [N, min(top_k, M)], float32, largest first; large = member.
        index : Tensor [N, min(top_k, M)], int64. Rows of ``generated``.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, a row is not of unit norm, or the cohort has fewer than two rows.
    """
    if len(cohort) < 2 or cohort_size < 2 or top_k < 1:
        raise ValueError(
            f"a cohort of {len(cohort)} photos, cohort_size={cohort_size} and top_k={top_k}: at least 2, 2 and 1 are needed"
        )
    query, cohort = to_tensor(query), to_tensor(cohort)
    of_query = measure_cohort(query, cohort, cohort_size)
    best = {name: (torch.zeros((len(query), 0)), torch.zeros((len(query), 0), dtype=torch.int64)) for name in NAMES}
    for start in range(0, len(generated), block_size):
        block = read_block(generated, start, block_size)
        of_face = measure_cohort(block, cohort, cohort_size)
        rows = max(1, TILE // len(block))
        parts = {name: [] for name in NAMES}
        for first in range(0, len(query), rows):
            part = slice(first, first + rows)
            cosine = query[part] @ block.T
            normalised = normalise_cosines(cosine, [values[part] for values in of_query], of_face)
            for name, score in zip(NAMES, (cosine, normalised), strict=True):
                parts[name].append(_keep_largest([kept[part] for kept in best[name]], score, start, top_k))
        if len(query):
            best = {name: tuple(torch.cat(tensors) for tensors in zip(*parts[name], strict=True)) for name in NAMES}
    return best


def _keep_largest(known, score, start, top_k):
    """Join the largest values so far with those of a block: (value, index), of the ``top_k`` largest."""
    value, column = score.topk(min(top_k, score.shape[1]), dim=1)
    value, index = torch.cat([known[0], value], dim=1), torch.cat([known[1], column + start], dim=1)
    value, column = value.topk(min(top_k, value.shape[1]), dim=1)
    return value, index.gather(1, column)
