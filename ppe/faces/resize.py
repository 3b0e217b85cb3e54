"""How much detail faces hold: bring them down to a GAN's resolution, and measure their sharpness."""

import numpy as np
import torch
import torch.nn.functional as F


def resize_faces(faces, resolution, batch_size=1024):
    """Bring faces down to ``resolution`` by area average, so that real and generated faces carry the same detail.

    Parameters
    ----------
    faces : ndarray or Tensor [N, 3, H, W], uint8.
    resolution : int
        Side in pixels, at most H and W: a face cannot be brought down to more.
    batch_size : int
        Faces that are floats at a time; the result does not depend on it.

    Returns
    -------
    Tensor [N, 3, resolution, resolution], uint8, a half rounded up.

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
        block = torch.as_tensor(np.array(faces[start : start + batch_size])).float()
        resized[start : start + batch_size] = F.adaptive_avg_pool2d(block, resolution).add_(0.5).floor_()
    return resized


def measure_sharpness(faces, batch_size=256):
    """How much fine detail each face holds: the standard deviation of the grey levels' Laplacian.

    faces : array [N, 3, H, W], uint8. Returns ndarray [N], float32, in grey levels; small = blurred.
    """
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    parts = []
    for start in range(0, len(faces), batch_size):
        grey = torch.from_numpy(np.array(faces[start : start + batch_size])).float().mean(1, keepdim=True)
        parts.append(F.conv2d(grey, kernel).flatten(1).std(1))
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
