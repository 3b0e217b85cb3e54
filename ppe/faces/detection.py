"""Find the face of each photo, and five landmarks in it: MTCNN (Zhang et al. 2016, arXiv 1604.02878) of facenet-pytorch.

Places in a photo are in pixels, x to the right and y down, and (0, 0) is the *centre* of the first pixel.
"""

from collections import deque
from functools import lru_cache
from itertools import islice

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ppe.faces.alignment import LANDMARK_COLUMNS
from ppe.faces.workers import MAX_WORKERS, open_workers

BOX_COLUMNS = ["box_left", "box_top", "box_right", "box_bottom"]
FRAME = 192
"""Pixels of the square that every photo is put into for the detector, its border repeated outwards."""
LONG_SIDES = (160, 112)
"""Pixels of the photo's longer side in that square: first this, then, where no face was found, that. A face that fills
its photo to the edge (Olivetti) is found once there is room around it."""
MIN_FACE_SIZE = 40
"""Pixels in the frame, a quarter of the photo's longer side. Smaller faces are bystanders, and looking for faces of 20
pixels takes twice the time."""
MIN_SIDE = 20
"""Pixels of a photo's shorter side below which it is not looked at."""
DETECTOR_OFFSET = 1.0
"""Pixels in the frame by which facenet-pytorch's places lie too far right and down: it counts pixels from 1, cuts the
candidate out at the truncated box (half a pixel on average) and reads edges as centres (the other half). Measured on
mirrored photos, where a constant shift shows as the sum of both: 1.0 in each landmark."""
NET_ROWS = 16
"""Candidates that the second and third net see at a time, filled up with zeros. A matrix product's last bit depends on
its number of rows; with a fixed number a photo's result does not depend on the photos beside it. Sixteen drawn photos have
some dozens: with 64 a third of the detector's time went into zeros."""


class FixedRows(nn.Module):
    """Run a net on ``NET_ROWS`` rows at a time: [n, 3, h, w] in, its outputs with n rows out."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        filled = F.pad(x, (0, 0) * 3 + (0, -len(x) % NET_ROWS))
        outputs = zip(*(self.net(block) for block in filled.split(NET_ROWS)), strict=True)
        return tuple(torch.cat(blocks)[: len(x)] for blocks in outputs)


@lru_cache(maxsize=4)
def build_detector(device="cpu", min_face_size=MIN_FACE_SIZE):
    """Build MTCNN with the weights that lie in facenet-pytorch's wheel; a second call returns the same detector.

    The weights are state dicts, and ``torch.load`` has read nothing else since 2.6 (weights_only).

    Parameters
    ----------
    device : str or torch.device
    min_face_size : int
        Smallest face that is looked for, in pixels of the frame (``FRAME``). Time falls about with its square.

    Returns
    -------
    MTCNN, for ``detect_faces``. channels_last, because pooling is several times faster so on a CPU.
    """
    from facenet_pytorch import MTCNN  # here, because it brings seconds of torchvision to notebooks that detect nothing

    detector = MTCNN(keep_all=True, post_process=False, min_face_size=min_face_size, device=torch.device(device))
    detector.rnet, detector.onet = FixedRows(detector.rnet), FixedRows(detector.onet)
    return detector.to(memory_format=torch.channels_last).eval()


def detect_faces(photos, device="cpu", batch_size=16, detector=None):
    """Find the face that each photo is about: of several, a large one near the centre.

    Every photo is brought into a square frame of one size, so photos of all sizes go through the nets together, and a
    face is looked for from a quarter of the photo's longer side on.

    Parameters
    ----------
    photos : list of ndarray [H, W, 3], uint8, RGB; sizes may differ.
    device : str or torch.device
        Where a detector is built if none is given.
    batch_size : int
        Frames a pass, the last pass filled up. Which photos share a pass never changes a result; another number may
        move a landmark by 1/16 pixel in one face of some hundreds. 8 to 16 is fastest on a CPU.
    detector : MTCNN of ``build_detector``, or None

    Returns
    -------
    DataFrame, a row a photo, in order
        detected : bool; reason : str, "" if detected; num_faces : int; probability : float in [0, 1], 0 if not
        detected; ``BOX_COLUMNS`` and ``LANDMARK_COLUMNS`` : float, pixels of the photo, in steps of 1/16, NaN if not
        detected.
    """
    detector = detector or build_detector(str(device))
    rows = [None] * len(photos)
    for block in iter_faces(enumerate(photos), detector, batch_size):
        for position, _, row in block:
            rows[position] = row
    columns = ["detected", "reason", "num_faces", "probability", *BOX_COLUMNS, *LANDMARK_COLUMNS]
    types = {"detected": bool, "reason": str, "num_faces": int} | dict.fromkeys(columns[3:], float)
    return pd.DataFrame(rows, columns=columns).astype(types)


def iter_faces(photos, detector, batch_size=16):
    """Detect faces in a stream, several batches at a time.

    A photo in which nothing was found is looked at again beside photos that are looked at for the first time, so that
    no batch runs half empty but the last; so photos may change places.

    Parameters
    ----------
    photos : iterable of (position, photo)
        position : int; photo : ndarray [H, W, 3] uint8, or a str that says why there is none.
    detector, batch_size
        As in ``detect_faces``.

    Returns
    -------
    iterator of lists of (position, photo, row)
        row : dict of str, a row of ``detect_faces``. Every photo comes once.
    """
    source, again, waiting, is_over = iter(photos), [], deque(), False
    with open_workers(detector.device) as pool:
        while not is_over or again or waiting:
            if not is_over or len(again) >= batch_size or not waiting:
                looks, again = again[:batch_size], again[batch_size:]
                new = [(*item, None, LONG_SIDES) for item in islice(source, batch_size - len(looks))]
                is_over = is_over or len(looks) + len(new) < batch_size
                if looks or new:
                    waiting.append(pool.submit(_look, looks + new, detector, batch_size))
            if waiting and (is_over or len(waiting) > MAX_WORKERS):
                done, failed = waiting.popleft().result()
                again += failed
                yield done


def _look(looks, detector, batch_size):
    """Look for the faces of (position, photo, row so far, long sides left): (those done, those to be looked at again)."""
    done = [(*look[:2], no_face(reason)) for look in looks if (reason := _refuse_photo(look[1]))]
    looks = [look for look in looks if not _refuse_photo(look[1])]
    if not looks:
        return done, []
    frames, places = zip(*(frame_photo(photo, sides[0]) for _, photo, _, sides in looks), strict=True)
    faces, failed = _detect_frames(frames, detector, batch_size), []
    for (position, photo, row, sides), place, face in zip(looks, places, faces, strict=True):
        row = _choose_face(*face, place) or row or no_face("no face found")
        if row["detected"] or len(sides) == 1:
            done.append((position, photo, row))
        else:
            failed.append((position, photo, row, sides[1:]))
    return done, failed


def _refuse_photo(photo):
    """Say why a photo is not looked at: a str, "" if it is."""
    if isinstance(photo, str):
        return photo
    height, width = photo.shape[:2]
    return f"{width} x {height} px is too small for a face of {MIN_SIDE} px" if min(height, width) < MIN_SIDE else ""


def frame_photo(photo, long_side):
    """Return uint8 [FRAME, FRAME, 3] and (scale [2], shift [2]): a place is scale * (place in the photo) + shift, both
    counted from pixels' edges."""
    height, width = photo.shape[:2]
    factor = long_side / max(height, width)
    size = np.array([max(1, round(width * factor)), max(1, round(height * factor))])
    inner = np.asarray(Image.fromarray(photo).resize(tuple(size.tolist()), Image.Resampling.BICUBIC))
    shift = (FRAME - size) // 2
    rest = FRAME - size - shift
    frame = np.pad(inner, ((shift[1], rest[1]), (shift[0], rest[0]), (0, 0)), mode="edge")
    return frame, (size / [width, height], shift)


def _detect_frames(frames, detector, batch_size):
    """Return (boxes [K, 4] or None, probabilities [K], landmarks [K, 5, 2]) of each frame, as facenet-pytorch does."""
    filled = np.zeros((batch_size, FRAME, FRAME, 3), np.uint8)
    filled[: len(frames)] = frames
    try:
        return list(zip(*detector.detect(filled, landmarks=True), strict=True))[: len(frames)]
    except IndexError:
        # A candidate outside its frame trips facenet-pytorch, and the whole batch with it: look at each frame alone.
        if len(frames) == 1:
            return [(None, None, None)]
        return [_detect_frames([frame], detector, batch_size)[0] for frame in frames]


def _choose_face(boxes, probabilities, landmarks, place):
    """Bring the chosen face back into the photo's pixels: a row of the table, or None."""
    if boxes is None or len(boxes) == 0:
        return None
    boxes = np.asarray(boxes, np.float64)
    sides, middles = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    # Area less twice the squared distance from the centre: facenet-pytorch's own weights.
    best = np.argmax(sides.prod(1) - 2 * ((middles - FRAME / 2) ** 2).sum(1))
    points = np.concatenate([boxes[best].reshape(2, 2), np.asarray(landmarks[best], np.float64)])
    scale, shift = place
    # Sixteenths of a pixel are far finer than the detector, coarser than rounding errors, and exact in a table.
    points = np.round(((points - DETECTOR_OFFSET + 0.5 - shift) / scale - 0.5) * 16) / 16
    if np.ptp(points[2:], axis=0).min() < 2:
        return no_face("a face was found, but its landmarks fall together")
    row = {"detected": True, "reason": "", "num_faces": len(boxes), "probability": float(probabilities[best])}
    return row | dict(zip(BOX_COLUMNS + LANDMARK_COLUMNS, points.ravel().tolist(), strict=True))


def no_face(reason):
    return {"detected": False, "reason": reason, "num_faces": 0, "probability": 0.0}
