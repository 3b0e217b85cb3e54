"""A closer look at a small face in a large photo: at the square around it, turned upright.

A look at the whole photo shows a face of a twentieth of its width at 32 px, and places its landmarks accordingly.
"""

import numpy as np
from PIL import Image, ImageOps

from ppe.faces.detector import LARGE, Look, look_at, turn_back
from ppe.faces.main_face import SAME_FACE, find_doubt, measure_overlap

CLOSER = Look(long_side=192, frame=192, min_face=40, turns=(0,), batch_size=4)
MARGIN = 1.8
"""Side of the square, as a multiple of the longer side of the face's box."""
SMALL = 0.25
"""Share of the photo's longer side below which a face's box is small. A larger face is as large in the first look."""


def refine_faces(faces, detector, rules):
    """Find the landmarks of each face again, by a closer look: list of Candidate, or None where those of the earlier look stay.

    faces : list of (photo ndarray [H, W, 3] uint8, Candidate or None). They stay where the face is not ``SMALL`` or the photo not
    ``LARGE``, and where the closer look is not sure of the same face. detector, rules : as in
    ``ppe.faces.detection.detect_faces``.
    """
    rows = [i for i, (photo, face) in enumerate(faces) if rules and face and _is_small(face, photo)]
    refined = [None] * len(faces)
    for i, closer in zip(rows, look_closer([faces[i] for i in rows], detector), strict=True):
        is_same = closer is not None and measure_overlap(closer, faces[i][1]) >= SAME_FACE
        refined[i] = closer if is_same and not find_doubt(closer, rules.upright_probability, rules) else None
    return refined


def _is_small(face, photo):
    side = max(photo.shape)
    return side > LARGE and np.ptp(face.points[:2], axis=0).max() < SMALL * side


def look_closer(faces, detector, margin=MARGIN, is_stretched=False):
    """Look at each face alone.

    Parameters
    ----------
    faces : list of (photo ndarray [H, W, 3] uint8, Candidate)
    detector : MTCNN of ``build_detector``
    margin : float. Side of the square that is cut out, as a multiple of the longer side of the face's box.
    is_stretched : bool. Whether the square's grey levels are stretched first.

    Returns
    -------
    list of Candidate or None, in the pixels of the photo: the likeliest face of each square, or None.
    """
    found = []
    for start in range(0, len(faces), CLOSER.num_photos):
        part = faces[start : start + CLOSER.num_photos]
        squares = [_cut_square(photo, face, margin) for photo, face in part]
        pixels = [_stretch(square) if is_stretched else square for square, _, _ in squares]
        for (_, shape, shift), (_, face), candidates in zip(squares, part, look_at(pixels, CLOSER, detector), strict=True):
            best = max(candidates, key=lambda candidate: candidate.probability, default=None)
            found.append(best and best._replace(points=turn_back(best.points, face.turn, shape) + shift, turn=face.turn))
    return found


def _cut_square(photo, face, margin):
    """The square around a face, as far as the photo reaches, turned upright; its shape before; its corner in the photo [2]."""
    corners = face.points[:2]
    middle, radius = corners.mean(0) + 0.5, margin * np.ptp(corners, axis=0).max() / 2
    low = np.clip(np.round(middle - radius), 0, None).astype(int)
    high = np.clip(np.round(middle + radius), low + 1, photo.shape[1::-1]).astype(int)
    square = photo[low[1] : high[1], low[0] : high[0]]
    return np.ascontiguousarray(np.rot90(square, face.turn)), square.shape, low


def _stretch(photo):
    return np.asarray(ImageOps.autocontrast(Image.fromarray(photo), cutoff=1))
