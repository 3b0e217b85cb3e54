"""Distances between a set of generated faces and a set of real ones: Fréchet distance, kernel distance and FID.

Faces and embeddings are read in blocks: memory does not grow with their number, and a device holds a batch at a time.

Sources: Heusel et al. 2017 (arXiv 1706.08500) and Bińkowski et al. 2018 (arXiv 1801.01401).
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import linalg

from ppe.config.storage import read_block

FID_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""File of InceptionV3's weights, as torch-fidelity publishes it. The study looks for it beside the embedders' weights, and
downloads nothing."""
MIN_FID_FACES = 2048
"""Faces a side below which FID is not computed: fewer faces than its 2,048 features give no covariance of full rank."""
KERNEL_DEGREE = 3
"""Degree of the polynomial kernel (Bińkowski et al. 2018, section 4)."""
BLOCK = 2048
"""Rows that are read at a time: 32 MB a product of two blocks. The distances depend on it by rounding alone."""


@torch.no_grad()
def measure_moments(embeddings):
    """Compute the mean and the covariance of embeddings, which are read in blocks.

    Parameters
    ----------
    embeddings : Tensor or memmap [N, D], float32, on any device.

    Returns
    -------
    mean : ndarray [D], float64.
    covariance : ndarray [D, D], float64, divided by N - 1; NaN for a single row.
    """
    return _merge_moments(block.cpu().numpy() for block in _iter_blocks(embeddings))


def _iter_blocks(rows):
    """Yield blocks of rows [<= BLOCK, D] as Tensors, float64."""
    for start in range(0, len(rows), BLOCK):
        yield read_block(rows, start, BLOCK).double()


def _merge_moments(blocks):
    """The mean and the covariance of the rows of all blocks, ndarrays [<= BLOCK, D] (Chan, Golub and LeVeque 1983)."""
    count, mean, scatter = 0, 0.0, 0.0
    for block in blocks:
        own, size = block.mean(0), len(block)
        shift, centred = own - mean, block - own
        scatter = scatter + centred.T @ centred + np.outer(shift, shift) * (count * size / (count + size))
        mean = mean + shift * (size / (count + size))
        count += size
    with np.errstate(invalid="ignore"):  # a single row is 0 / 0
        return mean, np.asarray(scatter) / np.float64(count - 1)


def compute_frechet_distance(mean1, cov1, mean2, cov2):
    """Compute the squared Fréchet distance of two Gaussians (Dowson and Landau 1982; as FID: Heusel et al. 2017).

    |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)). Where A A' = cov1, the trace of the root comes from the eigenvalues
    of the symmetric A' cov2 A, which are real also where a covariance does not have full rank. A has as many columns as cov1 has
    rank: few, where there are few samples.

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
    counts = eigenvalues > size * np.finfo(float).eps * max(0, eigenvalues[-1])  # the others are 0 but for rounding
    root = eigenvectors[:, counts] * np.sqrt(eigenvalues[counts])
    trace_of_root = np.sqrt(linalg.eigvalsh(root.T @ cov2 @ root).clip(0)).sum() if counts.any() else 0.0
    distance = ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * trace_of_root
    return max(0.0, float(distance))


@torch.no_grad()
def compute_kernel_distance(first, second):
    """Compute the squared maximum mean discrepancy of two sets; it is unbiased, so few faces make it noisy but not larger.

    The kernel is (x . y + 1)^3, that of KID on unit vectors (Bińkowski et al. 2018, section 4 and equation 4).

    Parameters
    ----------
    first, second : Tensor or memmap [N, D], [M, D], float32, unit L2 norm; at least two rows each.

    Returns
    -------
    distance : float; small = similar; about 0 for two samples of one population, and possibly slightly negative.

    Raises
    ------
    ValueError
        If a side has fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"{len(first)} and {len(second)} embeddings, but at least two a side are needed")

    def mean_off_diagonal(x):
        diagonal = sum(float((((rows**2).sum(1) + 1) ** KERNEL_DEGREE).sum()) for rows in _iter_blocks(x))
        return (_sum_kernel(x, x) - diagonal) / (len(x) * (len(x) - 1))

    across = _sum_kernel(first, second) / (len(first) * len(second))
    return mean_off_diagonal(first) + mean_off_diagonal(second) - 2 * across


def _sum_kernel(first, second):
    """The sum of the kernel over all pairs of rows, a block of each at a time."""
    pairs = ((one, two) for one in _iter_blocks(first) for two in _iter_blocks(second))
    return sum(float((one @ two.T).add_(1).pow_(KERNEL_DEGREE).sum()) for one, two in pairs)


@torch.inference_mode()
def compute_fid(generated, real, weights, *, device="cpu", batch_size=50, min_faces=MIN_FID_FACES, prepare=None):
    """Compute FID (Heusel et al. 2017) with torch-fidelity's InceptionV3, which resizes and normalises as the original did.

    Parameters
    ----------
    generated, real : array, memmap or LazyRows [M, 3, H, H], [N, 3, H, H], uint8, RGB
        The value depends on the resolution and on the real faces.
    weights : path of ``FID_WEIGHTS``. No code in it is run: a pickle that holds more than tensors is an error.
    device : str or torch.device
    batch_size : int. Faces of a batch, which is all that the device holds of a set.
    min_faces : int. Fewer faces on a side are an error.
    prepare : callable or None. Applied to each batch of either set, Tensor uint8 [<= batch_size, 3, H, H].

    Returns
    -------
    fid : float, at least 0; small = similar. With a few thousand faces it is biased upwards: compare equal numbers only.

    Raises
    ------
    ValueError
        If a side has too few faces, or the file does not hold InceptionV3's weights.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # optional

    if min(len(generated), len(real)) < min_faces:
        raise ValueError(f"FID of {len(generated)} generated and {len(real)} real faces: at least {min_faces} a side are needed")
    with tempfile.TemporaryDirectory() as folder:
        # torch-fidelity loads pickles without checks, so it gets a copy that holds tensors only.
        copy = Path(folder) / "weights.pth"
        try:
            torch.save(torch.load(weights, weights_only=True), copy)
            net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=copy).to(device)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{weights} does not hold InceptionV3's weights ({FID_WEIGHTS}): {reason}") from None

    def embed_block(faces, start):
        batches = (read_block(faces, i, batch_size) for i in range(start, min(start + size, len(faces)), batch_size))
        return np.concatenate([net((prepare(b) if prepare else b).to(device))[0].double().cpu().numpy() for b in batches])

    size = batch_size * max(1, BLOCK // batch_size)  # whole batches
    moments = [_merge_moments(embed_block(faces, i) for i in range(0, len(faces), size)) for faces in (generated, real)]
    return compute_frechet_distance(*moments[0], *moments[1])
