"""Adaptive S-norm: a cosine is measured against the cosines that either of its two faces has with a cohort of other people.

Source: Matejka et al. 2017, *Analysis of Score Normalization in Multilingual Speaker Recognition*, where it lowers the error of
verification. Some photos, and some generated faces, are near to everybody; their cosines mean less.
"""

import torch

from ppe.attacks.nearest import find_top_k
from ppe.config.storage import read_block, to_tensor

NAMES = ("nearest_top_k", "nearest_snorm")
"""What ``find_top_values`` finds, by the names of the attacks."""
TILE = 2**23
"""Cosines of a tile of queries and a block of generated faces: 32 MB as float32."""
MIN_SPREAD = 1e-6
"""Least standard deviation of a face's cohort cosines; below it an embedder maps all faces to one point."""


def score_nearest_snorm(*, query_embeddings, generated_embeddings, cohort_embeddings, cohort_size, snorm_top_k, **unused):
    """Score each query by the mean of its ``snorm_top_k`` largest normalised cosines to the generated faces.

    The mean of many is needed: the largest normalised cosine alone is a worse score than the largest cosine.

    Parameters
    ----------
    query_embeddings, generated_embeddings, cohort_embeddings, cohort_size, snorm_top_k : as in ``find_top_values``.

    Returns
    -------
    score : ndarray [N], float32. In standard deviations of cohort cosines; large = member.
    """
    largest = find_top_k_snorm(query_embeddings, generated_embeddings, cohort_embeddings, cohort_size, snorm_top_k)
    return largest.mean(1).cpu().numpy()


def find_top_k_snorm(query, generated, cohort, cohort_size, k):
    """Find each query's k largest normalised cosines: those of ``find_top_values``, as Tensor [N, min(k, M)], largest first."""
    names = ("nearest_snorm",)
    return find_top_values(query, generated, cohort, cohort_size=cohort_size, top_k=k, names=names)["nearest_snorm"][0]


@torch.no_grad()
def find_top_values(query, generated, cohort, *, cohort_size, top_k, block_size=8192, names=NAMES):
    """Find each query's largest cosines to the generated faces, as they are and normalised.

    The normalised cosine of a query q and a generated face g is

        s'(q, g) = 1/2 [(s(q, g) - mean_K(q)) / std_K(q) + (s(q, g) - mean_K(g)) / std_K(g)],

    where mean_K and std_K are over the K largest cosines of q, or of g, with the cohort (Matejka et al. 2017, section 3.3).

    Parameters
    ----------
    query : Tensor or ndarray [N, D], float32, unit L2 norm.
    generated : Tensor or ndarray [M, D], float32, unit L2 norm. A numpy memmap is read block by block.
    cohort : Tensor or ndarray [C, D], float32, unit L2 norm, C at least 2
        Photos, at the generator's resolution, of people who are surely no members.
    cohort_size : int, at least 2. K; all of the cohort counts where it is smaller.
    top_k : int, at least 1. Values that are kept for each query.
    block_size : int
        Generated faces in a block; memory grows with it, the result does not depend on it, but for last bits.
    names : tuple of str. Which of ``NAMES`` to find.

    Returns
    -------
    dict: ``nearest_top_k`` (cosines) and ``nearest_snorm`` (in standard deviations of cohort cosines), each a pair of
        value : Tensor [N, min(top_k, M)], float32, largest first; large = member.
        index : Tensor [N, min(top_k, M)], int64. Rows of ``generated``.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, a row is not finite or not of unit norm, or the cohort has fewer than two photos.
    """
    if top_k < 1 or not len(generated):
        raise ValueError(f"top_k={top_k} and {len(generated)} generated faces: at least 1 of each is needed")
    query = to_tensor(query)
    of_query = measure_cohort(query, cohort, cohort_size)
    best = {name: (query.new_zeros((len(query), 0)), query.new_zeros((len(query), 0), dtype=torch.int64)) for name in names}
    for start in range(0, len(generated) if len(query) else 0, block_size):
        block = read_block(generated, start, block_size).to(query.device)
        of_face = measure_cohort(block, cohort, cohort_size)
        rows = max(1, TILE // len(block))
        parts = {name: [] for name in names}
        for first in range(0, len(query), rows):
            part = slice(first, first + rows)
            cosine = query[part] @ block.T
            of_part = [values[part] for values in of_query]
            for name in names:
                score = cosine if name == "nearest_top_k" else normalise_cosines(cosine, of_part, of_face)
                parts[name].append(_keep_largest([kept[part] for kept in best[name]], score, start, top_k))
        best = {name: tuple(torch.cat(tensors) for tensors in zip(*parts[name], strict=True)) for name in names}
    return best


def measure_cohort(rows, cohort, cohort_size):
    """Compute the mean and the standard deviation of each row's ``cohort_size`` largest cosines with the cohort.

    rows : Tensor [N, D]; cohort : Tensor or ndarray [C, D]; both float32 of unit L2 norm. Returns two Tensors [N], float32; a
    standard deviation is at least ``MIN_SPREAD``. Raises ValueError if fewer than two cosines count.
    """
    if min(cohort_size, len(cohort)) < 2:
        raise ValueError(f"the cohort has {len(cohort)} photos and cohort_size={cohort_size}, but two photos are needed: make "
                         "more identities auxiliary (params.yaml: datasets) or raise cohort_sizes (params.yaml: attack)")
    largest = find_top_k(rows, cohort, cohort_size)
    return largest.mean(1), largest.std(1, correction=0).clamp(min=MIN_SPREAD)


def normalise_cosines(cosine, of_query, of_face):
    """Compute s' of ``find_top_values``: cosine Tensor [N, B]; of_query and of_face (mean, std) of [N] and [B]."""
    (mean, spread), (other_mean, other_spread) = of_query, of_face
    return ((cosine - mean[:, None]) / spread[:, None] + (cosine - other_mean[None]) / other_spread[None]) / 2


def _keep_largest(known, score, start, top_k):
    """Join the largest values so far with those of a block: (value, index), of the ``top_k`` largest."""
    value, column = score.topk(min(top_k, score.shape[1]), dim=1)
    value, index = torch.cat([known[0], value], dim=1), torch.cat([known[1], column + start], dim=1)
    value, column = value.topk(min(top_k, value.shape[1]), dim=1)
    return value, index.gather(1, column)
