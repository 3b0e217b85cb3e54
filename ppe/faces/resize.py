"""Detail of faces: reduce them to a generator's resolution, and measure their sharpness."""

import numpy as np
import torch
import torch.nn.functional as F

from ppe.config.storage import read_block


def resize_faces(faces, resolution, batch_size=64):
    """Reduce faces to ``resolution`` by area averaging, so that real and generated faces hold the same detail.

    Parameters
    ----------
    faces : ndarray, memmap, LazyRows or Tensor [N, 3, H, W], uint8.
    resolution : int
        Side in pixels, at most H and W: faces are never enlarged.
    batch_size : int
        Faces read and converted to float at a time; the result does not depend on it.

    Returns
    -------
    Tensor [N, 3, resolution, resolution], uint8; halves are rounded up.

    Raises
    ------
    ValueError
        If the faces are not uint8 [N, 3, H, W] or smaller than ``resolution``.
    """
    if len(faces.shape) != 4 or str(faces.dtype).removeprefix("torch.") != "uint8":
        raise ValueError(f"faces are {faces.dtype} {list(faces.shape)}, but must be uint8 [N, 3, H, W]")
    if not 1 <= resolution <= min(faces.shape[2:]):
        raise ValueError(f"faces are {min(faces.shape[2:])} px, smaller than {resolution} px: lower resolution "
                         "(params.yaml: runs)")
    resized = torch.empty((len(faces), 3, resolution, resolution), dtype=torch.uint8)
    for start in range(0, len(faces), batch_size):
        block = read_block(faces, start, batch_size).float()
        resized[start : start + batch_size] = F.adaptive_avg_pool2d(block, resolution).add_(0.5).floor_()
    return resized


def measure_sharpness(faces, batch_size=256):
    """Measure the fine detail of each face: the standard deviation of the Laplacian of its grey levels.

    Parameters
    ----------
    faces : array or memmap [N, 3, H, W], uint8.
    batch_size : int
        Faces read and converted to float at a time.

    Returns
    -------
    ndarray [N], float32, in grey levels; small = blurred.
    """
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    parts = []
    for start in range(0, len(faces), batch_size):
        grey = read_block(faces, start, batch_size).float().mean(1, keepdim=True)
        parts.append(F.conv2d(grey, kernel).flatten(1).std(1))
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
