"""Adaptive S-norm: a cosine is measured against the cosines that either of its two faces has with a cohort of other people.

Source: Matejka et al. 2017, *Analysis of Score Normalization in Multilingual Speaker Recognition*, where it lowers the error of
verification. Some photos, and some generated faces, are near to everybody; their cosines mean less.
"""

import torch

from ppe.attacks.nearest import find_top_k, iter_cosines

MIN_SPREAD = 1e-6
"""Least standard deviation of a face's cohort cosines; below it an embedder maps all faces to one point."""


@torch.no_grad()
def score_nearest_snorm(*, query_embeddings, generated_embeddings, cohort_embeddings, cohort_size, snorm_top_k, **unused):
    """Score each query by the mean of its ``snorm_top_k`` largest normalised cosines to the generated faces.

    The normalised cosine of a query q and a generated face g is

        s'(q, g) = 1/2 [(s(q, g) - mean_K(q)) / std_K(q) + (s(q, g) - mean_K(g)) / std_K(g)],

    where mean_K and std_K are over the K largest cosines of q, or of g, with the cohort (Matejka et al. 2017, section 3.3).

    Parameters
    ----------
    query_embeddings : Tensor or ndarray [N, D], float32, unit L2 norm.
    generated_embeddings : Tensor or ndarray [M, D], float32, unit L2 norm. A numpy memmap is read block by block.
    cohort_embeddings : Tensor or ndarray [C, D], float32, unit L2 norm, C at least 2
        Photos, at the generator's resolution, of people who are surely no members.
    cohort_size : int, at least 2. K; all of the cohort counts where it is smaller.
    snorm_top_k : int, at least 1. All generated faces count where there are fewer.

    Returns
    -------
    score : ndarray [N], float32. In standard deviations of cohort cosines; large = member.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, a row is not finite or not of unit norm, or the cohort has fewer than two photos.
    """
    of_query = measure_cohort(query_embeddings, cohort_embeddings, cohort_size)
    largest = None
    for block, cosine in iter_cosines(query_embeddings, generated_embeddings):
        normalised = normalise_cosines(cosine, of_query, measure_cohort(block, cohort_embeddings, cohort_size))
        joined = normalised if largest is None else torch.cat([largest, normalised], dim=1)
        largest = joined.topk(min(snorm_top_k, joined.shape[1]), dim=1).values
    return largest.mean(1).cpu().numpy()


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
    """Compute s' of ``score_nearest_snorm``: cosine Tensor [N, B]; of_query and of_face (mean, std) of [N] and [B]."""
    (mean, spread), (other_mean, other_spread) = of_query, of_face
    return ((cosine - mean[:, None]) / spread[:, None] + (cosine - other_mean[None]) / other_spread[None]) / 2
