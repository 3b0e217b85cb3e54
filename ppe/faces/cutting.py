"""From photos to aligned faces: which pixels the detector sees, and from which a face is cut."""

import numpy as np

from ppe.faces.alignment import align_faces, measure_scale


def open_photos(blocks, opened):
    """Give photos one by one, as ``ppe.faces.detection.iter_faces`` takes them.

    Parameters
    ----------
    blocks : iterator of (positions, list of ``ppe.datasets.photos.Photo``), of ``ppe.datasets.index.iter_photos``.
    opened : dict, filled with position -> Photo; whoever is done with one removes it.

    Yields
    ------
    (int, ndarray [H, W, 3] uint8 or str)
        The position, and the pixels or the reason why there are none.
    """
    for positions, photos in blocks:
        for position, photo in zip(positions, photos, strict=True):
            opened[position] = photo
            yield position, photo.reason if photo.pixels is None else photo.pixels


def cut_out(photo, landmarks, size):
    """Cut an aligned face out of a photo, from the file's own pixels where the photo was reduced for detection.

    Parameters
    ----------
    photo : ``ppe.datasets.photos.Photo``
    landmarks : ndarray [5, 2] or list of 10 float, pixels of ``photo.pixels``.
    size : int, side of the face in pixels.

    Returns
    -------
    ndarray [3, size, size], uint8.
    """
    landmarks, pixels = np.reshape(landmarks, (5, 2)), photo.pixels
    if photo.whole is not None and measure_scale(landmarks, size) > 1:
        whole = photo.whole().pixels
        if whole is not None:  # else the file has changed since
            scale = np.array(whole.shape[1::-1]) / pixels.shape[1::-1]
            landmarks, pixels = (landmarks + 0.5) * scale - 0.5, whole
    return align_faces([pixels], [landmarks], size)[0]
