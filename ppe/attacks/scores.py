"""One function per attack, one signature, large score = member: `identity` is the attack of Webster et al.,
*This Person (Probably) Exists*, arXiv 2107.06018; the others stand beside it for comparison.

Every attack is called with all that a run has, by keyword; it names what it reads and ignores the rest. So a notebook
loops over ``ATTACKS`` without asking what kind each one is, and a new attack that reads one more array changes no other.
The keywords:

    query_embeddings       float32 [N, D], unit L2 norm
    generated_embeddings   float32 [M, D], unit L2 norm
    reference_embeddings   float32 [R, D], unit L2 norm: GAN c's faces, or real faces of auxiliary people
    query_faces            uint8 [N, C, H, W] at the GAN's resolution
    generated_faces        uint8 [M, C, H, W]
    query_logits           float32 [N], the GAN's own discriminator on the query (white box)
    top_k, kappa, epsilon  numbers of params.yaml, or of auxiliary people

The other half's GAN is never the reference: each non-member is one of its training people, and the leak would count twice.
"""

import inspect

import numpy as np
import pandas as pd

from ppe.attacks.nearest import compute_log_density, count_within, find_nearest, find_nearest_pixel, find_top_k


def score_nearest(*, query_embeddings, generated_embeddings, **unused):
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


def score_nearest_top_k(*, query_embeddings, generated_embeddings, top_k, **unused):
    """Score each query by the mean of its ``top_k`` largest cosines: less at the mercy of one lucky face.

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    top_k : int, at least 1; all of the generated faces where there are fewer.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 1]. Mean cosine; large = member.
    """
    return find_top_k(query_embeddings, generated_embeddings, top_k).mean(1).cpu().numpy()


def score_density(*, query_embeddings, generated_embeddings, concentration, **unused):
    """Score each query by the log density of generated faces around it (the numerator of DOMIAS, van Breugel et al. 2023,
    arXiv 2302.12580, with a von Mises-Fisher kernel).

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    kappa : float, above 0. Concentration of the kernel.

    Returns
    -------
    score : ndarray [N], float32, in [-kappa, kappa]; large = member.
    """
    return compute_log_density(query_embeddings, generated_embeddings, concentration).cpu().numpy()


def score_nearest_calibrated(*, query_embeddings, generated_embeddings, reference_embeddings, **unused):
    """Score each query by how much nearer it is to the generated faces than to a reference (GAN-Leaks, Chen et al. 2020,
    arXiv 1909.03935, section 4.4: some faces are near to everything).

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    reference_embeddings : Tensor or ndarray [R, D], float32, unit L2 norm. Faces that owe nothing to either half.

    Returns
    -------
    score : ndarray [N], float32, in [-2, 2]. Difference of the largest cosines; large = member.
    """
    generated = score_nearest(query_embeddings=query_embeddings, generated_embeddings=generated_embeddings)
    return generated - score_nearest(query_embeddings=query_embeddings, generated_embeddings=reference_embeddings)


def score_nearest_top_k_calibrated(*, query_embeddings, generated_embeddings, reference_embeddings, top_k, **unused):
    """``score_nearest_calibrated`` with the mean of the ``top_k`` largest cosines in the place of the largest.

    Of a reference of another size the same share of its faces is taken, at least one: else the two means are no one score.
    """
    share = top_k / len(generated_embeddings)
    generated = score_nearest_top_k(
        query_embeddings=query_embeddings, generated_embeddings=generated_embeddings, top_k=top_k
    )
    return generated - score_nearest_top_k(
        query_embeddings=query_embeddings, generated_embeddings=reference_embeddings,
        top_k=max(1, round(share * len(reference_embeddings))),
    )


def score_density_ratio(*, query_embeddings, generated_embeddings, reference_embeddings, concentration, **unused):
    """Score each query by the log ratio of the densities of generated and of reference faces (DOMIAS, van Breugel et al.
    2023, arXiv 2302.12580, equation 2).

    Parameters and direction as in ``score_density`` and ``score_nearest_calibrated``.
    """
    generated = compute_log_density(query_embeddings, generated_embeddings, concentration)
    return (generated - compute_log_density(query_embeddings, reference_embeddings, concentration)).cpu().numpy()


def score_monte_carlo(*, query_embeddings, generated_embeddings, epsilon, **unused):
    """Score each query by the share of generated faces within ``epsilon`` (Hilprecht et al. 2019, *Monte Carlo and
    Reconstruction Membership Inference Attacks against Generative Models*, section 4.1; here in identity space).

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    epsilon : float, in (0, 2]. Cosine distance.

    Returns
    -------
    score : ndarray [N], float64, in [0, 1]; large = member. Many queries share the score 0.
    """
    return (count_within(query_embeddings, generated_embeddings, epsilon).double() / len(generated_embeddings)).cpu().numpy()


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


def score_discriminator(*, query_logits, **unused):
    """Score each query by the GAN's own discriminator (LOGAN, Hayes et al. 2019, arXiv 1705.07663, white box).

    Parameters
    ----------
    query_logits : ndarray [N], float32. ``ppe.generators.sampling.compute_logits``, which fixes the minibatch-stddev channel: else
        a query's logit depends on its neighbours, and a batch of members gives itself away.

    Returns
    -------
    score : ndarray [N], float32; large = member.
    """
    return np.asarray(query_logits)


ATTACKS = {
    "nearest": score_nearest,
    "nearest_top_k": score_nearest_top_k,
    "density": score_density,
    "nearest_calibrated": score_nearest_calibrated,
    "nearest_top_k_calibrated": score_nearest_top_k_calibrated,
    "density_ratio": score_density_ratio,
    "monte_carlo": score_monte_carlo,
    "pixel": score_pixel,
    "discriminator": score_discriminator,
}


def list_needed(attack):
    """Names of the keywords that an attack reads."""
    kinds = inspect.signature(ATTACKS[attack]).parameters.values()
    return [parameter.name for parameter in kinds if parameter.kind is parameter.KEYWORD_ONLY]


def aggregate_scores(scores, identity, how="mean"):
    """Turn the scores of photos into one score a person.

    Parameters
    ----------
    scores : ndarray [N], float. One a photo; large = member.
    identity : ndarray [N]. The person of each photo.
    how : str
        ``"mean"`` or ``"largest"`` score of an identity's photos.

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

