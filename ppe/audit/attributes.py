"""What a photo is like, apart from who is on it: sharpness, size, pose and how sure the detector is."""

import numpy as np

from ppe.audit.resolution import CROP
from ppe.faces import fit_similarity, measure_sharpness
from ppe.faces.alignment import TEMPLATE, measure_scale

ATTRIBUTES = {
    "sharpness": "fine detail of the face at the generator's resolution (standard deviation of the Laplacian, grey levels)",
    "size": "side of the aligned face in the photo (pixels)",
    "turn": "how far the head is turned to a side (nose from the middle of the eyes, in distances of the eyes)",
    "nod": "how far the head is raised or lowered (height of the nose between eyes and mouth, as a share)",
    "certainty": "probability of the detector that it is a face",
}
"""Attribute -> what it says."""


def measure_attributes(faces, marks):
    """Measure the attributes of faces.

    Parameters
    ----------
    faces : ndarray [N, 3, r, r], uint8, at the generator's resolution.
    marks : ndarray [N, 11] or None
        Landmarks in pixels of the photo (x and y of five points), and the detector's probability; None: crops without detection.

    Returns
    -------
    ndarray [N, 5], float32, in the order of ``ATTRIBUTES``; NaN where it was not measured.
    """
    table = np.full((len(faces), len(ATTRIBUTES)), np.nan, np.float32)
    table[:, 0] = measure_sharpness(faces)
    if marks is None:
        return table
    for row, values in enumerate(marks):
        points = values[:10].reshape(5, 2)
        matrix = fit_similarity(points, TEMPLATE)
        left, right, nose, *mouth = points @ matrix[:, :2].T + matrix[:, 2]
        eyes, lips = (left + right) / 2, np.mean(mouth, axis=0)
        turn = abs(nose[0] - eyes[0]) / np.linalg.norm(right - left)
        table[row, 1:] = CROP / measure_scale(points), turn, (nose[1] - eyes[1]) / max(lips[1] - eyes[1], 1.0), values[10]
    return table
