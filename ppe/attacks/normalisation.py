"""Adaptive S-norm: a cosine is measured against the cosines that either of its two faces has with a cohort of other people.

Source: Matejka et al. 2017, *Analysis of Score Normalization in Multilingual Speaker Recognition*, where it lowers the error of
verification. Some photos, and some generated faces, are near to everybody; their cosines mean less.
"""

import torch

from ppe.attacks.nearest import find_top_k, iter_cosines

MIN_SPREAD = 1e-6
"""Least standard deviation of a face's cohort cosines; below it an embedder maps all faces to one point."""


def score_nearest_snorm(*, query_embeddings, generated_embeddings, cohort_embeddings, cohort_size, snorm_top_k, **unused):
    """Score each query by the mean of its ``snorm_top_k`` largest normalised cosines to the generated faces.

    The mean of many is needed: the largest normalised cosine alone is a worse score than the largest cosine.

    Parameters
    ----------
    query_embeddings, generated_embeddings, cohort_embeddings, cohort_size, snorm_top_k : as in ``find_top_k_snorm``.

    Returns
    -------
    score : ndarray [N], float32. In standard deviations of cohort cosines; large = member.
    """
    largest = find_top_k_snorm(query_embeddings, generated_embeddings, cohort_embeddings, cohort_size, snorm_top_k)
    return largest.mean(1).cpu().numpy()


@torch.no_grad()
def find_top_k_snorm(query, generated, cohort, cohort_size, k):
    """Find each query's k largest normalised cosines to the generated faces.

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
    k : int, at least 1.

    Returns
    -------
    Tensor [N, min(k, M)], float32, largest first. In standard deviations of cohort cosines.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, a row is not finite or not of unit norm, or the cohort has fewer than two photos.
    """
    of_query = measure_cohort(query, cohort, cohort_size)
    largest = None
    for block, cosine in iter_cosines(query, generated):
        normalised = normalise_cosines(cosine, of_query, measure_cohort(block, cohort, cohort_size))
        joined = normalised if largest is None else torch.cat([largest, normalised], dim=1)
        largest = joined.topk(min(k, joined.shape[1]), dim=1).values
    return largest


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
    """Compute s' of ``find_top_k_snorm``: cosine Tensor [N, B]; of_query and of_face (mean, std) of [N] and [B]."""
    (mean, spread), (other_mean, other_spread) = of_query, of_face
    return ((cosine - mean[:, None]) / spread[:, None] + (cosine - other_mean[None]) / other_spread[None]) / 2
