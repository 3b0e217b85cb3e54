"""Faces of photos: detection, alignment, reduction to a generator's resolution, and near-duplicates.

``detection`` finds a face and five landmarks in a photo: ``detector`` is the network, and ``main_face`` chooses among what it
finds. ``alignment`` and ``cutting`` crop the face. ``identity_check`` compares it with the person's other photos. ``resize``
reduces faces to a resolution, ``duplicates`` finds pictures that occur twice, and ``losses`` says what became of the photos.
``prepare_faces`` detects, aligns and flags a whole data set.
"""

import time

import numpy as np
import pandas as pd
from tqdm import tqdm

from ppe.config.storage import release_pages
from ppe.faces.alignment import LANDMARK_COLUMNS, TEMPLATE, align_faces, fit_similarity
from ppe.faces.cutting import cut_out, open_photos
from ppe.faces.detection import FACE_COLUMNS, detect_faces, iter_faces
from ppe.faces.detector import build_detector
from ppe.faces.duplicates import find_duplicates
from ppe.faces.identity_check import check_identities
from ppe.faces.losses import describe_fate
from ppe.faces.main_face import BOX_COLUMNS, no_face
from ppe.faces.resize import measure_sharpness, resize_faces

__all__ = [
    "BOX_COLUMNS", "LANDMARK_COLUMNS", "TEMPLATE", "align_faces", "build_detector", "check_identities", "describe_fate",
    "detect_faces", "find_duplicates", "fit_similarity", "measure_sharpness", "prepare_faces", "resize_faces",
]  # fmt: skip
LINE_SECONDS = 30
"""Seconds between two lines of a log, which take the place of a progress bar."""


def prepare_faces(index, photos, size=112, device="cpu", rules=None, detector=None, out=None):
    """Detect, align and crop the faces of a whole data set, and flag near-duplicates.

    Parameters
    ----------
    index : DataFrame with image_id and identity, N rows.
    photos : iterator of (row positions, list of ``ppe.datasets.photos.Photo``)
        As ``ppe.datasets.index.iter_photos`` yields.
    size : int
        Side of a face in pixels.
    device, rules, detector
        As in ``detect_faces``.
    out : ndarray uint8 [N, 3, size, size] of zeros, or None
        Array that receives the faces. With that of ``ppe.config.create_array``, memory holds a block of faces and a few kB a
        photo; None allocates one in memory.

    Returns
    -------
    faces : ndarray [N, 3, size, size], uint8; zero where no face was found. Row i is row i of the index.
    table : DataFrame, N rows
        image_id, identity, and of ``detect_faces`` detected, reason, num_faces, probability, turned, ``LANDMARK_COLUMNS``; note:
        what is particular about the photo, or ""; and duplicate_of: the image_id of the first photo with the same picture, under
        the same or another identity, or "".

    Raises
    ------
    ValueError
        If ``out`` has another shape or dtype.
    """
    faces = np.zeros((len(index), 3, size, size), np.uint8) if out is None else out
    if faces.shape != (len(index), 3, size, size) or faces.dtype != np.uint8:
        raise ValueError(f"out is {faces.dtype} {list(faces.shape)}, but must be uint8 {[len(index), 3, size, size]}")
    detector = detector or build_detector(str(device))
    rows, opened = [no_face("the photo was not given")] * len(index), {}
    done, told = 0, time.monotonic()
    with tqdm(total=len(index), desc="faces", unit="photo", disable=None) as bar:
        for block in iter_faces(open_photos(photos, opened), detector, rules):
            for position, _, row in block:
                photo = opened.pop(position)
                rows[position] = row | {"note": photo.note}
                if row["detected"]:
                    faces[position] = cut_out(photo, [row[column] for column in LANDMARK_COLUMNS], size)
            release_pages(faces)
            bar.update(len(block))
            done += len(block)  # a bar that is not shown does not count
            if bar.disable and time.monotonic() > told + LINE_SECONDS:
                told = time.monotonic()
                print(f"faces: {done} of {len(index)} photos", flush=True)
    names = index[["image_id", "identity"]].reset_index(drop=True)
    columns = [column for column in FACE_COLUMNS if column not in BOX_COLUMNS]
    table = pd.concat([names, pd.DataFrame(rows, columns=[*columns, "note"])], axis=1)
    image_id, duplicate_of = table.image_id.to_numpy(), find_duplicates(faces, table.identity.to_numpy(), across=True)
    table["duplicate_of"] = np.where(duplicate_of < 0, "", image_id[duplicate_of])
    return faces, table
