"""The detector's network, MTCNN (Zhang et al. 2016, arXiv 1604.02878) of facenet-pytorch, and one look at a batch of photos.

Positions in a photo are in pixels, x to the right and y down, and (0, 0) is the *centre* of the first pixel.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn

DETECTOR_OFFSET = 1.0
"""Pixels in the frame by which the positions of facenet-pytorch lie too far to the right and down. It counts pixels from 1,
cuts the candidate out at the truncated box (half a pixel on average) and reads edges as centres (the other half). Measured on
mirrored photos, where a constant shift appears twice: 1.0 in each landmark."""
NUM_ROWS = 16
"""Candidates in each pass of the second and third network, padded with zeros. The last bit of a matrix product depends on its
number of rows. With a fixed number, the result of a photo does not depend on the other photos of its batch. Sixteen synthetic
photos have a few dozen candidates; with 64 rows, padding took a third of the detector's time."""


DARK = 110
"""Grey level of 255 below which 99 % of a dark photo lie. Brightened, 14 of 16 dark scenes showed their face, 10 as they were."""


BRIGHT = 250
"""Level of the brightest channel that a tenth of a blown-out photo reaches. Of 3,306 synthetic photos no lost one does."""

LARGE = 320
"""Longer side in pixels above which a face may be small in a photo, and is looked at once more, alone."""


class Look(NamedTuple):
    """One way to look at a photo.

    long_side : int, pixels to which the photo's longer side is scaled.
    frame : int, side of the square around it, into which the photo's border is repeated.
    min_face : int, smallest face in pixels of the frame; time grows as it falls.
    turns : tuple of int, quarter turns to the left by which the photo is turned.
    batch_size : int, frames in a pass; the last pass is padded.
    gamma : float, the exponent of the photo's grey levels: above 1 it darkens, for one that is blown out, below it brightens.
    """

    long_side: int
    frame: int
    min_face: int
    turns: tuple
    batch_size: int
    gamma: float = 1.0

    @property
    def num_photos(self):
        """Photos that share a pass."""
        return max(1, self.batch_size // len(self.turns))


class Candidate(NamedTuple):
    """A face that a look found.

    probability : float in [0, 1].
    points : float64 [7, 2], pixels of the photo: two corners of the box, then the landmarks.
    area, off_centre : float, of the box, and its distance from the middle squared, as shares of the photo's longer side squared.
    turn : int, quarter turns to the left after which the face is upright.
    is_darkened : bool. It was found in the darkened photo.
    """

    probability: float
    points: np.ndarray
    area: float
    off_centre: float
    turn: int
    is_darkened: bool = False

    @property
    def log_odds(self):
        """Logarithm of the odds that it is a face."""
        probability = min(max(self.probability, 1e-9), 1 - 1e-9)
        return math.log(probability / (1 - probability))


class FixedRows(nn.Module):
    """Run a network on ``NUM_ROWS`` rows at a time: float [n, 3, h, w] -> its outputs with n rows."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        filled = F.pad(x, (0, 0) * 3 + (0, -len(x) % NUM_ROWS))
        outputs = zip(*(self.network(block) for block in filled.split(NUM_ROWS)), strict=True)
        return tuple(torch.cat(blocks)[: len(x)] for blocks in outputs)


@lru_cache(maxsize=2)
def build_detector(device="cpu"):
    """Build MTCNN with the weights of facenet-pytorch's package; a second call returns the same detector.

    The weights are state dicts, and since version 2.6 ``torch.load`` reads nothing else (weights_only).

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    MTCNN, for ``detect_faces``, in channels_last layout, which makes pooling on a CPU several times faster.
    """
    from facenet_pytorch import MTCNN  # here, because it imports torchvision, which takes seconds

    detector = MTCNN(keep_all=True, post_process=False, device=torch.device(device))
    detector.rnet, detector.onet = FixedRows(detector.rnet), FixedRows(detector.onet)
    return detector.to(memory_format=torch.channels_last).eval()


def look_at(photos, look, detector):
    """Find the candidates of each photo in each of a look's turns.

    Parameters
    ----------
    photos : list of ndarray [H, W, 3], uint8, RGB; sizes may differ. At most ``look.num_photos``.
    look : Look
    detector : MTCNN of ``build_detector``

    Returns
    -------
    list of lists of Candidate, one list a photo.
    """
    adjusted = (_brighten(apply_gamma(photo, look.gamma)) for photo in photos)
    turned = (np.rot90(photo, turn) for photo in adjusted for turn in look.turns)
    frames, transforms = zip(*(frame_photo(photo, look) for photo in turned), strict=True)
    found = _detect_frames(frames, look, detector)
    candidates, owners = [[] for _ in photos], [(i, turn) for i in range(len(photos)) for turn in look.turns]
    for (i, turn), transform, faces in zip(owners, transforms, found, strict=True):
        candidates[i] += _read_candidates(*faces, look, turn, transform, photos[i].shape)
    return candidates


def _brighten(photo):
    """Stretch the grey levels of a dark photo, in which the detector sees less than a person; others stay as they are."""
    if np.percentile(photo[::4, ::4], 99) >= DARK:
        return photo
    return np.asarray(ImageOps.autocontrast(Image.fromarray(photo), cutoff=1))


def is_blown_out(photo):
    """Whether much of a photo, ndarray [H, W, 3] uint8, is as bright as can be: a face in it may show when it is darkened."""
    return bool(np.percentile(photo[::4, ::4].max(axis=2), 90) >= BRIGHT)


def apply_gamma(photo, gamma):
    """A photo with its grey levels, as shares of 255, raised to ``gamma``. Above 1, differences between bright ones grow."""
    return photo if gamma == 1 else (255 * (np.arange(256) / 255) ** gamma).round().astype(np.uint8)[photo]


def frame_photo(photo, look):
    """Place a photo in the look's frame, with its longer side scaled to ``look.long_side`` pixels.

    Returns ndarray uint8 [frame, frame, 3] and (scale [2], shift [2]): position in the frame = scale * position in the photo +
    shift, both counted from pixel edges.
    """
    height, width = photo.shape[:2]
    factor = look.long_side / max(height, width)
    size = np.array([max(1, round(width * factor)), max(1, round(height * factor))])
    inner = np.asarray(Image.fromarray(np.ascontiguousarray(photo)).resize(tuple(size.tolist()), Image.Resampling.BICUBIC))
    shift = (look.frame - size) // 2
    rest = look.frame - size - shift
    frame = np.pad(inner, ((shift[1], rest[1]), (shift[0], rest[0]), (0, 0)), mode="edge")
    return frame, (size / [width, height], shift)


def _detect_frames(frames, look, detector):
    """Detect all faces of each frame: (boxes [K, 5] with the probability, landmarks [K, 5, 2]), as facenet-pytorch does."""
    from facenet_pytorch.models.utils.detect_face import detect_face

    filled = np.zeros((look.batch_size, look.frame, look.frame, 3), np.uint8)
    filled[: len(frames)] = frames
    nets = detector.pnet, detector.rnet, detector.onet
    try:
        with torch.no_grad():
            found = detect_face(filled, look.min_face, *nets, detector.thresholds, detector.factor, detector.device)
        return list(zip(*found, strict=True))[: len(frames)]
    except IndexError:
        # A candidate outside its frame makes facenet-pytorch fail for the whole batch: run each frame alone.
        if len(frames) == 1:
            return [(np.zeros((0, 5)), np.zeros((0, 5, 2)))]
        return [_detect_frames([frame], look, detector)[0] for frame in frames]


def _read_candidates(boxes, landmarks, look, turn, transform, shape):
    """Candidates in the pixels of the photo, which has ``shape``: list of Candidate."""
    scale, shift = transform
    candidates = []
    for box, marks in zip(np.asarray(boxes, np.float64), np.asarray(landmarks, np.float64), strict=True):
        corners = box[:4].reshape(2, 2)
        area, off_centre = np.ptp(corners, axis=0).prod(), ((corners.mean(0) - look.frame / 2) ** 2).sum()
        area, off_centre = area / look.long_side**2, off_centre / look.long_side**2
        points = (np.concatenate([corners, marks]) - DETECTOR_OFFSET + 0.5 - shift) / scale - 0.5
        points = turn_back(points, turn, shape)
        candidates.append(Candidate(float(box[4]), points, area, off_centre, turn, look.gamma > 1))
    return candidates


def measure_turns(faces, detector):
    """Measure how surely the third network takes a face for one, as it was found and turned by one to three further quarters.

    A face on its side or upside down is often taken for an upright one, with landmarks in wrong places.

    Parameters
    ----------
    faces : list of (photo ndarray [H, W, 3] uint8, Candidate)
    detector : MTCNN of ``build_detector``

    Returns
    -------
    list of lists of 4 float, logarithms of the odds; the first is that of the face as it was found.
    """
    if not faces:
        return []
    crops = [np.rot90(_crop_box(photo, face.points[:2]), face.turn + turn) for photo, face in faces for turn in range(4)]
    pixels = torch.from_numpy(np.stack(crops)).to(detector.device).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        probabilities = detector.onet((pixels - 127.5) / 128)[2][:, 1].double().clamp(1e-9, 1 - 1e-9)
    return probabilities.logit().view(-1, 4).tolist()


def _crop_box(photo, corners, side=48):
    """The square around a box, corners [2, 2] in pixels, with the photo's border repeated outside: uint8 [side, side, 3]."""
    radius, middle = np.ptp(corners, axis=0).max() / 2, corners.mean(0) + 0.5
    box = np.array([middle - radius, middle + radius])
    margin = int(max(0, -box.min(), (box[1] - photo.shape[1::-1]).max())) + 1
    padded = np.pad(photo, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    box = tuple((box + margin).ravel().tolist())
    return np.asarray(Image.fromarray(padded).resize((side, side), Image.Resampling.BICUBIC, box))


def turn_back(points, turn, shape):
    """Positions [K, 2] in a photo that was turned ``turn`` quarters to the left -> positions in the photo, of ``shape``."""
    height, width = shape[:2]
    x, y = points.T
    turned = {0: (x, y), 1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}
    return np.column_stack(turned[turn])
