"""One function an attack, with one signature; a large score means member.

``nearest`` is the attack of Webster et al., *This Person (Probably) Exists*, arXiv 2107.06018. The others are compared with it.

Every attack is called by keyword with all that a run has. It names the keywords that it reads and ignores the rest. A loop over
``ATTACKS`` therefore needs no special cases, and a new attack that reads one more array changes no other attack. The keywords:

    query_embeddings               float32 [N, D], unit L2 norm
    query_mirrored                 float32 [N, D], unit L2 norm: the queries' mirror images
    generated_embeddings           float32 [M, D], unit L2 norm
    calibration_embeddings         float32 [R, D], unit L2 norm: faces of the reference generator, or the cohort
    cohort_embeddings              float32 [C, D], unit L2 norm: photos of auxiliary identities
    query_faces, generated_faces   uint8 [N, C, H, W] and [M, C, H, W], at the generator's resolution
    query_features, …              float32 [N, D], unit L2 norm: what ``ppe.attacks.appearance`` compares
    query_logits                   float32 [N], of the attacked generator's discriminator (white box)
    query_losses                   float32 [N], of the attacked diffusion model, small = denoised well (white box)
    top_k, concentration, epsilon, cohort_size, snorm_top_k    constants, tuned on auxiliary identities

The other group's generator never calibrates a score: the non-members are its training identities, and the leak would count twice.
"""

from torch.nn.functional import normalize

from ppe.attacks.appearance import SCORES as BY_APPEARANCE
from ppe.attacks.nearest import compute_log_density, count_within, find_nearest, find_nearest_pixel, find_top_k
from ppe.attacks.normalisation import score_nearest_snorm
from ppe.attacks.white_box import SCORES as BY_MODEL
from ppe.config.storage import to_tensor


def score_nearest(*, query_embeddings, generated_embeddings, **unused):
    """Score each query by the largest cosine between its embedding and those of the generated faces (Webster et al.).

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


def score_nearest_mirrored(*, query_embeddings, query_mirrored, generated_embeddings, **unused):
    """Score each query by the largest cosine of its mirror-free embedding: the mean of the photo's and its mirror image's.

    Generators are trained on faces and their mirror images alike, so which side a photo shows is noise.

    Parameters
    ----------
    query_embeddings, query_mirrored : Tensor or ndarray [N, D], float32, unit L2 norm.
    generated_embeddings : as in ``score_nearest``.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 1]. Cosine; large = member.
    """
    return score_nearest(
        query_embeddings=average_embeddings(query_embeddings, query_mirrored), generated_embeddings=generated_embeddings
    )


def average_embeddings(first, second):
    """Return the mean of two sets of unit vectors, float32 Tensor [N, D], scaled to unit norm."""
    return normalize(to_tensor(first) + to_tensor(second))


def score_nearest_top_k(*, query_embeddings, generated_embeddings, top_k, **unused):
    """Score each query by the mean of its ``top_k`` largest cosines, which depends less on a single face.

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    top_k : int, at least 1. All generated faces count where there are fewer.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 1]. Mean cosine; large = member.
    """
    return find_top_k(query_embeddings, generated_embeddings, top_k).mean(1).cpu().numpy()


def score_density(*, query_embeddings, generated_embeddings, concentration, **unused):
    """Score each query by the log density of generated faces around it, with a von Mises-Fisher kernel.

    This is the numerator of DOMIAS (van Breugel et al. 2023, arXiv 2302.12580).

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    concentration : float, above 0. Of the kernel.

    Returns
    -------
    score : ndarray [N], float32, in [-concentration, concentration]; large = member.
    """
    return compute_log_density(query_embeddings, generated_embeddings, concentration).cpu().numpy()


def score_nearest_calibrated(*, query_embeddings, generated_embeddings, calibration_embeddings, **unused):
    """Score each query by its largest cosine to the generated faces minus that to the calibration faces.

    Some faces are near to every other face; the difference corrects for that (GAN-Leaks, Chen et al. 2020, arXiv 1909.03935,
    section 4.4).

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    calibration_embeddings : Tensor or ndarray [R, D], float32, unit L2 norm. Faces that do not depend on groups A and B.

    Returns
    -------
    score : ndarray [N], float32, in [-2, 2]. Difference of the largest cosines; large = member.
    """
    generated = score_nearest(query_embeddings=query_embeddings, generated_embeddings=generated_embeddings)
    return generated - score_nearest(query_embeddings=query_embeddings, generated_embeddings=calibration_embeddings)


def score_nearest_top_k_calibrated(*, query_embeddings, generated_embeddings, calibration_embeddings, top_k, **unused):
    """``score_nearest_calibrated`` with the mean of the ``top_k`` largest cosines in place of the largest.

    From a calibration set of another size the same share of its faces is taken, at least one, so that the two means are
    comparable.
    """
    share = top_k / len(generated_embeddings)
    generated = score_nearest_top_k(
        query_embeddings=query_embeddings, generated_embeddings=generated_embeddings, top_k=top_k
    )
    return generated - score_nearest_top_k(
        query_embeddings=query_embeddings, generated_embeddings=calibration_embeddings,
        top_k=max(1, round(share * len(calibration_embeddings))),
    )


def score_density_ratio(*, query_embeddings, generated_embeddings, calibration_embeddings, concentration, **unused):
    """Score each query by the log ratio of the densities of generated and calibration faces (DOMIAS, equation 2).

    Parameters and direction as in ``score_density`` and ``score_nearest_calibrated``.
    """
    generated = compute_log_density(query_embeddings, generated_embeddings, concentration)
    return (generated - compute_log_density(query_embeddings, calibration_embeddings, concentration)).cpu().numpy()


def score_monte_carlo(*, query_embeddings, generated_embeddings, epsilon, **unused):
    """Score each query by the share of generated faces within ``epsilon``, here in the space of embeddings.

    Source: Hilprecht et al. 2019, *Monte Carlo and Reconstruction Membership Inference Attacks against Generative Models*,
    section 4.1.

    Parameters
    ----------
    query_embeddings, generated_embeddings : as in ``score_nearest``.
    epsilon : float, in (0, 2]. Cosine distance.

    Returns
    -------
    score : ndarray [N], float64, in [0, 1]; large = member. Many queries have the score 0.
    """
    return (count_within(query_embeddings, generated_embeddings, epsilon).double() / len(generated_embeddings)).cpu().numpy()


def score_pixel(*, query_faces, generated_faces, **unused):
    """Score each query by minus its grey-level distance to the nearest generated face (GAN-Leaks, full black box).

    Parameters
    ----------
    query_faces : Tensor or ndarray [N, C, H, W], uint8, at the generator's resolution.
    generated_faces : Tensor or ndarray [M, C, H, W], uint8.

    Returns
    -------
    score : ndarray [N], float32, in [-1, 0]
        Minus the root mean square difference of grey levels in [0, 1]; large = member.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong.
    """
    distance, _ = find_nearest_pixel(query_faces, generated_faces)
    return -distance.cpu().numpy()


ATTACKS = {
    "nearest": score_nearest,
    "nearest_mirrored": score_nearest_mirrored,
    "nearest_top_k": score_nearest_top_k,
    "nearest_snorm": score_nearest_snorm,
    "density": score_density,
    "nearest_calibrated": score_nearest_calibrated,
    "nearest_top_k_calibrated": score_nearest_top_k_calibrated,
    "density_ratio": score_density_ratio,
    "monte_carlo": score_monte_carlo,
    "pixel": score_pixel,
    **BY_MODEL,
    **BY_APPEARANCE,
}
