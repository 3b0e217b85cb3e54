"""Face detection with five landmarks: MTCNN (Zhang et al. 2016, arXiv 1604.02878) of facenet-pytorch.

Positions in a photo are in pixels, x to the right and y down, and (0, 0) is the *centre* of the first pixel.
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
"""Side in pixels of the square into which every photo is placed for the detector, with its border repeated."""
LONG_SIDES = (160, 112)
"""Lengths in pixels of the photo's longer side in that square; the second is used if the first finds no face. A face that
fills its photo to the edge (Olivetti) is detected only with a margin around it."""
MIN_FACE_SIZE = 40
"""Smallest face in pixels of the frame, a quarter of the photo's longer side. Smaller faces are mostly bystanders, and a limit
of 20 pixels takes twice the time."""
MIN_SIDE = 20
"""Shortest side in pixels of a photo in which a face is searched for."""
DETECTOR_OFFSET = 1.0
"""Pixels in the frame by which the positions of facenet-pytorch lie too far to the right and down. It counts pixels from 1,
cuts the candidate out at the truncated box (half a pixel on average) and reads edges as centres (the other half). Measured on
mirrored photos, where a constant shift appears twice: 1.0 in each landmark."""
NUM_ROWS = 16
"""Candidates in each pass of the second and third network, padded with zeros. The last bit of a matrix product depends on its
number of rows. With a fixed number, the result of a photo does not depend on the other photos of its batch. Sixteen synthetic
photos have a few dozen candidates; with 64 rows, padding took a third of the detector's time."""


class FixedRows(nn.Module):
    """Run a network on ``NUM_ROWS`` rows at a time: float [n, 3, h, w] -> its outputs with n rows."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        filled = F.pad(x, (0, 0) * 3 + (0, -len(x) % NUM_ROWS))
        outputs = zip(*(self.network(block) for block in filled.split(NUM_ROWS)), strict=True)
        return tuple(torch.cat(blocks)[: len(x)] for blocks in outputs)


@lru_cache(maxsize=4)
def build_detector(device="cpu", min_face_size=MIN_FACE_SIZE):
    """Build MTCNN with the weights of facenet-pytorch's package; a second call returns the same detector.

    The weights are state dicts, and since version 2.6 ``torch.load`` reads nothing else (weights_only).

    Parameters
    ----------
    device : str or torch.device
    min_face_size : int
        Smallest detected face, in pixels of the frame (``FRAME``). Time falls about with its square.

    Returns
    -------
    MTCNN, for ``detect_faces``, in channels_last layout, which makes pooling on a CPU several times faster.
    """
    from facenet_pytorch import MTCNN  # here, because it imports torchvision, which takes seconds

    detector = MTCNN(keep_all=True, post_process=False, min_face_size=min_face_size, device=torch.device(device))
    detector.rnet, detector.onet = FixedRows(detector.rnet), FixedRows(detector.onet)
    return detector.to(memory_format=torch.channels_last).eval()


def detect_faces(photos, device="cpu", batch_size=16, detector=None):
    """Detect the main face of each photo: of several, a large one near the centre.

    Every photo is scaled into a square frame of one size, so that photos of all sizes share a pass. A face must measure
    at least a quarter of the photo's longer side.

    Parameters
    ----------
    photos : list of ndarray [H, W, 3], uint8, RGB; sizes may differ.
    device : str or torch.device
        Device of the detector that is built if none is given.
    batch_size : int
        Frames in a pass; the last pass is padded. The composition of a pass never changes a result. Another size may move
        a landmark by 1/16 pixel in about one face of several hundred. 8 to 16 is fastest on a CPU.
    detector : MTCNN of ``build_detector``, or None

    Returns
    -------
    DataFrame, one row a photo, in order
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
    """Detect faces in a stream of photos, several batches at a time.

    A photo without a face joins a later batch for its second attempt, so that only the last batch is partly empty. The
    order of the photos may therefore change.

    Parameters
    ----------
    photos : iterable of (position, photo)
        position : int; photo : ndarray [H, W, 3] uint8, or a str, the reason why it cannot be read.
    detector, batch_size
        As in ``detect_faces``.

    Returns
    -------
    iterator of lists of (position, photo, row)
        row : dict of str, a row of ``detect_faces``. Every photo occurs once.
    """
    source, again, waiting, is_over = iter(photos), [], deque(), False
    with open_workers(detector.device) as pool:
        while not is_over or again or waiting:
            if not is_over or len(again) >= batch_size or not waiting:
                tasks, again = again[:batch_size], again[batch_size:]
                new = [(*item, None, LONG_SIDES) for item in islice(source, batch_size - len(tasks))]
                is_over = is_over or len(tasks) + len(new) < batch_size
                if tasks or new:
                    waiting.append(pool.submit(_detect_batch, tasks + new, detector, batch_size))
            if waiting and (is_over or len(waiting) > MAX_WORKERS):
                done, failed = waiting.popleft().result()
                again += failed
                yield done


def _detect_batch(tasks, detector, batch_size):
    """Detect the faces of tasks (position, photo, row so far, long sides left).

    Returns the finished photos as (position, photo, row), and the tasks for a further attempt.
    """
    done = [(*task[:2], no_face(reason)) for task in tasks if (reason := _refuse_photo(task[1]))]
    tasks = [task for task in tasks if not _refuse_photo(task[1])]
    if not tasks:
        return done, []
    frames, transforms = zip(*(frame_photo(photo, sides[0]) for _, photo, _, sides in tasks), strict=True)
    faces, failed = _detect_frames(frames, detector, batch_size), []
    for (position, photo, row, sides), transform, face in zip(tasks, transforms, faces, strict=True):
        row = _choose_face(*face, transform) or row or no_face("no face found")
        if row["detected"] or len(sides) == 1:
            done.append((position, photo, row))
        else:
            failed.append((position, photo, row, sides[1:]))
    return done, failed


def _refuse_photo(photo):
    """Reason why no face is searched for in a photo: str, "" if there is none."""
    if isinstance(photo, str):
        return photo
    height, width = photo.shape[:2]
    return f"{width} x {height} px is too small for a face of {MIN_SIDE} px" if min(height, width) < MIN_SIDE else ""


def frame_photo(photo, long_side):
    """Place a photo in the detector's frame, with its longer side scaled to ``long_side`` pixels.

    Returns ndarray uint8 [FRAME, FRAME, 3] and (scale [2], shift [2]): position in the frame = scale * position in the
    photo + shift, both counted from pixel edges.
    """
    height, width = photo.shape[:2]
    factor = long_side / max(height, width)
    size = np.array([max(1, round(width * factor)), max(1, round(height * factor))])
    inner = np.asarray(Image.fromarray(photo).resize(tuple(size.tolist()), Image.Resampling.BICUBIC))
    shift = (FRAME - size) // 2
    rest = FRAME - size - shift
    frame = np.pad(inner, ((shift[1], rest[1]), (shift[0], rest[0]), (0, 0)), mode="edge")
    return frame, (size / [width, height], shift)


def _detect_frames(frames, detector, batch_size):
    """Detect all faces of each frame: (boxes [K, 4] or None, probabilities [K], landmarks [K, 5, 2]), as facenet-pytorch does."""
    filled = np.zeros((batch_size, FRAME, FRAME, 3), np.uint8)
    filled[: len(frames)] = frames
    try:
        return list(zip(*detector.detect(filled, landmarks=True), strict=True))[: len(frames)]
    except IndexError:
        # A candidate outside its frame makes facenet-pytorch fail for the whole batch: run each frame alone.
        if len(frames) == 1:
            return [(None, None, None)]
        return [_detect_frames([frame], detector, batch_size)[0] for frame in frames]


def _choose_face(boxes, probabilities, landmarks, transform):
    """Choose the main face and convert it to the photo's pixels: a row of the table, or None."""
    if boxes is None or len(boxes) == 0:
        return None
    boxes = np.asarray(boxes, np.float64)
    sides, middles = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    # Area minus twice the squared distance from the centre, the weights of facenet-pytorch.
    best = np.argmax(sides.prod(1) - 2 * ((middles - FRAME / 2) ** 2).sum(1))
    points = np.concatenate([boxes[best].reshape(2, 2), np.asarray(landmarks[best], np.float64)])
    scale, shift = transform
    # Sixteenths of a pixel are finer than the detector, coarser than rounding errors, and exact in a table.
    points = np.round(((points - DETECTOR_OFFSET + 0.5 - shift) / scale - 0.5) * 16) / 16
    if np.ptp(points[2:], axis=0).min() < 2:
        return no_face("a face was found, but its landmarks coincide")
    row = {"detected": True, "reason": "", "num_faces": len(boxes), "probability": float(probabilities[best])}
    return row | dict(zip(BOX_COLUMNS + LANDMARK_COLUMNS, points.ravel().tolist(), strict=True))


def no_face(reason):
    """Row of a photo without a detected face."""
    return {"detected": False, "reason": reason, "num_faces": 0, "probability": 0.0}
