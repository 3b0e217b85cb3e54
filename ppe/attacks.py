"""One function per attack, one signature, large score = member: `identity` is the attack of Webster et al.,
*This Person (Probably) Exists*, arXiv 2107.06018; the others stand beside it for comparison.

Every attack is called with all arrays that a run has, by keyword; it names those that it reads and ignores the rest.
So a notebook loops over ``ATTACKS`` without asking what kind each one is, and a new attack that reads one more array
(a reference, a discriminator's output) changes no other. The keywords:

    query_embeddings       float32 [N, D], unit L2 norm
    generated_embeddings   float32 [M, D], unit L2 norm
    query_faces            uint8 [N, C, H, W] at the GAN's resolution
    generated_faces        uint8 [M, C, H, W]
"""

import numpy as np
import pandas as pd

from ppe.distances import find_nearest, find_nearest_pixel


def score_identity(*, query_embeddings, generated_embeddings, **unused):
    """Score each query by the largest cosine between its embedding and those of the generated faces (the paper).

    Parameters
    ----------
    query_embeddings : Tensor or ndarray [N, D], float32, unit L2 norm.
    generated_embeddings : Tensor or ndarray [M, D], float32, unit L2 norm.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 1]. Cosine; large = member.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, or a row is not finite or not of unit norm.
    """
    distance, _ = find_nearest(query_embeddings, generated_embeddings)
    return 1 - distance.cpu().numpy()


def score_pixel(*, query_faces, generated_faces, **unused):
    """Score each query by minus its grey-level distance to the nearest generated face (GAN-Leaks, full black box).

    Parameters
    ----------
    query_faces : Tensor or ndarray [N, C, H, W], uint8, at the GAN's resolution.
    generated_faces : Tensor or ndarray [M, C, H, W], uint8.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 0]. Minus the root mean square difference of grey levels in [0, 1];
        large = member.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong.
    """
    distance, _ = find_nearest_pixel(query_faces, generated_faces)
    return -distance.cpu().numpy()


ATTACKS = {"identity": score_identity, "pixel": score_pixel}


def aggregate_scores(scores, identity, how="mean"):
    """Turn the scores of photos into one score a person.

    Parameters
    ----------
    scores : ndarray [N], float. One a photo; large = member.
    identity : ndarray [N]. The person of each photo.
    how : str
        ``"mean"`` or ``"largest"`` score of a person's photos.

    Returns
    -------
    identities : ndarray [P]. The people, sorted.
    scores : ndarray [P], of the dtype of ``scores``. Large = member.

    Raises
    ------
    ValueError
        If ``how`` is unknown, the lengths differ or a score is not finite.
    """
    reductions = {"mean": "mean", "largest": "max"}
    if how not in reductions:
        raise ValueError(f"how={how!r} is not one of {list(reductions)}")
    scores, identity = np.asarray(scores), np.asarray(identity)
    if scores.ndim != 1 or scores.shape != identity.shape:
        raise ValueError(f"scores {list(scores.shape)} and identity {list(identity.shape)} must be lists of one length")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite numbers")
    people = pd.Series(scores.astype(np.float64)).groupby(identity, sort=True).agg(reductions[how])
    return people.index.to_numpy(), people.to_numpy().astype(scores.dtype)
