"""A closer look at a small face in a large photo: at the square around it, turned upright.

A look at the whole photo shows a face of a twentieth of its width at 32 px, and places its landmarks accordingly.
"""

import numpy as np

from ppe.faces.confirmation import cut_square
from ppe.faces.detector import LARGE, Look, look_at, turn_back
from ppe.faces.main_face import SAME_FACE, find_doubt, measure_overlap

CLOSER = Look(long_side=192, frame=192, min_face=40, turns=(0,), batch_size=4)
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
    for start in range(0, len(rows), CLOSER.num_photos):
        part = rows[start : start + CLOSER.num_photos]
        squares = [cut_square(*faces[i]) for i in part]
        found = look_at([square for square, _ in squares], CLOSER, detector)
        for i, (square, corner), seen in zip(part, squares, found, strict=True):
            face = faces[i][1]
            seen = [new._replace(points=turn_back(new.points, face.turn, square.shape) + corner, turn=face.turn) for new in seen]
            same = [new for new in seen if measure_overlap(new, face) >= SAME_FACE]
            same = [new for new in same if not find_doubt(new, rules.upright_probability, rules)]
            refined[i] = max(same, key=lambda new: new.probability, default=None)
    return refined


def _is_small(face, photo):
    side = max(photo.shape)
    return side > LARGE and np.ptp(face.points[:2], axis=0).max() < SMALL * side
