"""How far generated faces are from real ones as a whole: the Fréchet distance of their embeddings (Heusel et al. 2017)."""

import numpy as np
from scipy import linalg


def compute_frechet_distance(mean1, cov1, mean2, cov2):
    """Compute the squared Fréchet distance of two Gaussians (Dowson and Landau 1982; as FID: Heusel et al. 2017).

    |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)). The root's trace is taken from the eigenvalues of the
    symmetric cov1^(1/2) cov2 cov1^(1/2), which are real also where a covariance has not full rank.

    Parameters
    ----------
    mean1, mean2 : ndarray [D], float.
    cov1, cov2 : ndarray [D, D], float. Symmetric, no negative eigenvalue.

    Returns
    -------
    distance : float, at least 0, in squared units of the embedding; small = similar.

    Raises
    ------
    ValueError
        If a shape is wrong or a number is not finite.
    """
    mean1, cov1, mean2, cov2 = (np.asarray(x, dtype=np.float64) for x in (mean1, cov1, mean2, cov2))
    size = mean1.size
    if not (mean1.shape == mean2.shape == (size,) and cov1.shape == cov2.shape == (size, size)):
        raise ValueError(f"means {list(mean1.shape)}, {list(mean2.shape)} and covariances {list(cov1.shape)}, "
                         f"{list(cov2.shape)} must be [D] and [D, D] with one D")
    if not all(np.isfinite(x).all() for x in (mean1, cov1, mean2, cov2)):
        raise ValueError("a mean or covariance is not finite: at least two embeddings a side are needed")
    eigenvalues, eigenvectors = linalg.eigh(cov1)
    root = eigenvectors * np.sqrt(eigenvalues.clip(0)) @ eigenvectors.T  # clip: rounding leaves -1e-17 for 0
    trace_of_root = np.sqrt(linalg.eigvalsh(root @ cov2 @ root).clip(0)).sum()
    distance = ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * trace_of_root
    return max(0.0, float(distance))
