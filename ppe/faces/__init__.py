"""Faces of photos: detection, alignment, reduction to a generator's resolution, and near-duplicates.

``detection`` finds a face and five landmarks in a photo, and ``alignment`` crops the face by them. ``resize`` reduces faces to
a resolution, and ``duplicates`` finds pictures that occur twice. ``prepare_faces`` detects, aligns and flags a whole data set.
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from ppe.config.storage import release_pages
from ppe.faces.alignment import LANDMARK_COLUMNS, TEMPLATE, align_faces, fit_similarity
from ppe.faces.detection import BOX_COLUMNS, build_detector, detect_faces, iter_faces, no_face
from ppe.faces.duplicates import find_duplicates
from ppe.faces.resize import measure_sharpness, resize_faces

__all__ = [
    "BOX_COLUMNS", "LANDMARK_COLUMNS", "TEMPLATE", "align_faces", "build_detector", "detect_faces", "find_duplicates",
    "fit_similarity", "measure_sharpness", "prepare_faces", "resize_faces",
]  # fmt: skip


def prepare_faces(index, photos, size=112, device="cpu", detector=None, out=None):
    """Detect, align and crop the faces of a whole data set, and flag near-duplicates.

    Parameters
    ----------
    index : DataFrame with image_id and identity, N rows.
    photos : iterator of (row positions, list of ndarray [H, W, 3] uint8 or str)
        As ``ppe.datasets.index.iter_photos`` yields; a str is the reason why that photo cannot be read.
    size : int
        Side of a face in pixels.
    device, detector
        As in ``detect_faces``.
    out : ndarray uint8 [N, 3, size, size] of zeros, or None
        Array that receives the faces. With that of ``ppe.config.create_array``, memory holds a block of faces and a few kB a
        photo; None allocates one in memory.

    Returns
    -------
    faces : ndarray [N, 3, size, size], uint8; zero where no face was found. Row i is row i of the index.
    table : DataFrame, N rows
        image_id, identity, detected, reason, num_faces, probability, ``LANDMARK_COLUMNS``, and duplicate_of: the
        image_id of the first photo with the same picture, under the same or another identity, or "".

    Raises
    ------
    ValueError
        If ``out`` has another shape or dtype.
    """
    faces = np.zeros((len(index), 3, size, size), np.uint8) if out is None else out
    if faces.shape != (len(index), 3, size, size) or faces.dtype != np.uint8:
        raise ValueError(f"out is {faces.dtype} {list(faces.shape)}, but must be uint8 {[len(index), 3, size, size]}")
    detector = detector or build_detector(str(device))
    rows = [no_face("the photo was not given")] * len(index)
    stream = ((position, photo) for block in photos for position, photo in zip(*block, strict=True))
    with tqdm(total=len(index), desc="faces", unit="photo", disable=None) as bar:
        for block in iter_faces(stream, detector):
            for position, _, row in block:
                rows[position] = row
            hits = [(position, photo) for position, photo, row in block if row["detected"]]
            landmarks = [[rows[position][column] for column in LANDMARK_COLUMNS] for position, _ in hits]
            faces[[position for position, _ in hits]] = align_faces([photo for _, photo in hits], landmarks, size)
            release_pages(faces)
            bar.update(len(block))
    names = index[["image_id", "identity"]].reset_index(drop=True)
    columns = ["detected", "reason", "num_faces", "probability", *LANDMARK_COLUMNS]
    table = pd.concat([names, pd.DataFrame(rows, columns=columns)], axis=1)
    image_id, duplicate_of = table.image_id.to_numpy(), find_duplicates(faces, table.identity.to_numpy(), across=True)
    table["duplicate_of"] = np.where(duplicate_of < 0, "", image_id[duplicate_of])
    return faces, table
