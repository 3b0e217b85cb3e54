"""Detect, align and crop faces, bring them down to a GAN's resolution, and flag near-duplicates.

Detection is MTCNN (Zhang et al. 2016, arXiv 1604.02878) as facenet-pytorch ships it; alignment is a similarity
transform (Umeyama 1991) of five landmarks onto the template of ArcFace (Deng et al. 2019, arXiv 1801.07698).

Places in a photo are in pixels, x to the right and y down, and (0, 0) is the *centre* of the first pixel. Left and
right are the viewer's. Detection, alignment and duplicates share one file, because they share that convention.
"""

from functools import lru_cache

import imagehash
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn
from tqdm import tqdm

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where ArcFace wants the landmarks, in pixels of a 112 x 112 crop, in the order of ``LANDMARKS``."""

LANDMARKS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"]
LANDMARK_COLUMNS = [f"{name}_{axis}" for name in LANDMARKS for axis in "xy"]
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
NET_ROWS = 64
"""Candidates that the second and third net see at a time, filled up with zeros. A matrix product's last bit depends on
its number of rows; with a fixed number a photo's result does not depend on the photos beside it."""

COMPARE_SIDE = 32
"""Pixels at which two crops are compared: fine enough for an expression, too coarse for what JPEG does."""
HASH_DISTANCE = 16
"""Bits of 64 in which the perceptual hashes of one picture may differ. Of 600 copies of LFW photos, re-encoded, cropped
and rescaled, brightened or mirrored and then detected and aligned afresh, 99 % differ in at most 15; of photos of two
people 99 % differ in more. It only picks candidates."""
LOOSE_CORRELATION = 0.8
"""Pearson correlation of the grey levels below which a candidate is not looked at further (1 % of the copies)."""
SAME_CORRELATION = 0.97
"""The same after registration, from which two crops are one picture: 96 % of those copies (87 % of the mirrored), and 2
of 5,726 pairs of photos of one LFW person, both the same picture indeed. Of Olivetti, whose ten photos of a person were
taken in one sitting, it flags some that the eye cannot tell apart."""


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
    rows = [_no_face("no face found") for _ in photos]
    open_rows = []
    for i, photo in enumerate(photos):
        height, width = photo.shape[:2]
        if min(height, width) < MIN_SIDE:
            rows[i] = _no_face(f"{width} x {height} px is too small for a face of {MIN_SIDE} px")
        else:
            open_rows.append(i)
    for long_side in LONG_SIDES:
        for start in range(0, len(open_rows), batch_size):
            part = open_rows[start : start + batch_size]
            frames, places = zip(*(_frame_photo(photos[i], long_side) for i in part), strict=True)
            for i, place, found in zip(part, places, _detect_frames(frames, detector, batch_size), strict=True):
                rows[i] = _choose_face(*found, place) or rows[i]
        open_rows = [i for i in open_rows if not rows[i]["detected"]]
    columns = ["detected", "reason", "num_faces", "probability", *BOX_COLUMNS, *LANDMARK_COLUMNS]
    types = {"detected": bool, "reason": str, "num_faces": int} | dict.fromkeys(columns[3:], float)
    return pd.DataFrame(rows, columns=columns).astype(types)


def _frame_photo(photo, long_side):
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
        return _no_face("a face was found, but its landmarks fall together")
    row = {"detected": True, "reason": "", "num_faces": len(boxes), "probability": float(probabilities[best])}
    return row | dict(zip(BOX_COLUMNS + LANDMARK_COLUMNS, points.ravel().tolist(), strict=True))


def _no_face(reason):
    return {"detected": False, "reason": reason, "num_faces": 0, "probability": 0.0}


def align_faces(photos, landmarks, size=112):
    """Crop faces by the similarity transform that brings their landmarks nearest to the template.

    Where the photo is finer than the crop it is first shrunk, with a filter as wide as the step, to one pixel of photo
    a pixel of crop; the turn that is left cannot alias. What lies outside the photo has its mean colour. (On Olivetti,
    where a third of the crop does, a MobileFaceNet tells people apart at AUC 0.985 so, at 0.980 with black outside and
    at 0.977 with the border repeated, which makes streaks.)

    Parameters
    ----------
    photos : list of ndarray [H, W, 3], uint8, RGB.
    landmarks : ndarray [N, 5, 2], x and y in pixels of the photo, in the order of ``LANDMARKS``.
    size : int
        Side of the crop; the template is scaled with it.

    Returns
    -------
    ndarray [N, 3, size, size], uint8.

    Raises
    ------
    ValueError
        If landmarks are not finite, fall together, or there are not as many of them as photos.
    """
    landmarks = np.asarray(landmarks, np.float64).reshape(-1, 5, 2)
    if len(photos) != len(landmarks):
        raise ValueError(f"{len(photos)} photos, but landmarks of {len(landmarks)}: one of each is needed")
    faces = np.empty((len(photos), 3, size, size), np.uint8)
    for i, photo in enumerate(photos):
        matrix = fit_similarity(landmarks[i] + 0.5, (TEMPLATE + 0.5) * (size / 112))  # from here on edges, not centres
        faces[i] = _crop_face(photo, matrix, size).transpose(2, 0, 1)
    return faces


def _crop_face(photo, matrix, size):
    """Sample [0, size]^2 of ``matrix`` @ (x, y, 1): uint8 [size, size, 3]; places are counted from pixels' edges."""
    inverse = np.linalg.inv(matrix[:, :2])
    step = max(1.0, np.sqrt(abs(np.linalg.det(inverse))))  # photo pixels a crop pixel
    corners = (np.array([[0, 0], [size, 0], [0, size], [size, size]]) - matrix[:, 2]) @ inverse.T
    # Cut out what the crop needs, with a margin for the filters.
    low, high = np.floor(corners.min(0) - 3 * step).astype(int), np.ceil(corners.max(0) + 3 * step).astype(int)
    region = np.empty((*(high - low)[::-1], 3), np.uint8)
    region[:] = np.round(photo.mean((0, 1)))
    (left, top), (right, bottom) = (np.clip(edge, 0, photo.shape[1::-1]) for edge in (low, high))
    region[top - low[1] : bottom - low[1], left - low[0] : right - low[0]] = photo[top:bottom, left:right]
    small = np.maximum(1, np.round((high - low) / step)).astype(int)
    image = Image.fromarray(region)
    if step > 1:
        image = image.resize(tuple(small.tolist()), Image.Resampling.BICUBIC)
    scale = small / (high - low)
    shift = (-inverse @ matrix[:, 2] - low) * scale
    affine = np.column_stack([inverse * scale[:, None], shift]).ravel().tolist()
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


def fit_similarity(source, target):
    """Rotation, one scale and a shift that bring ``source`` nearest to ``target`` in least squares (Umeyama 1991).

    In the plane a rotation with a scale is a complex number, and its least-squares estimate is one division; a
    reflection cannot come out.

    Parameters
    ----------
    source, target : ndarray [K, 2].

    Returns
    -------
    ndarray [2, 3], float64: ``target`` is near ``matrix[:, :2] @ source + matrix[:, 2]``.

    Raises
    ------
    ValueError
        If a place is not finite, or one side's places fall together.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    s, t = (source - source.mean(0)) @ [1, 1j], (target - target.mean(0)) @ [1, 1j]
    a = np.vdot(s, t) / max(np.vdot(s, s).real, 1e-12)
    if not (np.isfinite(a) and abs(a) > 1e-9):
        raise ValueError("landmarks are not finite or fall together: align only faces that were detected")
    linear = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.column_stack([linear, target.mean(0) - linear @ source.mean(0)])


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


def find_duplicates(faces, identity, block_size=1024):
    """Find the faces that are the same picture as an earlier one of the same person: copied, re-encoded or mirrored.

    Candidates are pairs whose perceptual hashes differ in at most ``HASH_DISTANCE`` bits; they are one picture if their
    grey levels, registered, correlate to ``SAME_CORRELATION``. Either may be mirrored. "The same picture" is carried
    on: a like b and b like c makes one of the three.

    Parameters
    ----------
    faces : ndarray [N, 3, H, W], uint8, aligned. Flat ones (no face was found) are nobody's duplicate.
    identity : array [N] of str; a constant looks for one picture under two names.
    block_size : int
        Rows compared at a time; the result does not depend on it.

    Returns
    -------
    ndarray [N], int64. The lowest row of the same picture, or -1 where that is the row itself.
    """
    side = min(COMPARE_SIDE, *faces.shape[2:])
    grey = np.concatenate([resize_faces(faces[start : start + block_size], side).float().mean(1).numpy()
                           for start in range(0, max(len(faces), 1), block_size)])
    flat = grey.std((1, 2)) < 1
    pairs = []
    for members in pd.Series(np.arange(len(faces))[~flat]).groupby(np.asarray(identity)[~flat]).agg(list):
        if len(members) > 1:
            pairs.append(np.asarray(members)[_pair_pictures(grey[members], block_size)])
    duplicate_of = np.full(len(faces), -1, np.int64)
    if pairs:
        first, second = np.concatenate(pairs, axis=1)
        graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(faces),) * 2)
        component = connected_components(graph, directed=False)[1]
        # np.unique gives the first row of each component, which is the lowest.
        lowest = np.unique(component, return_index=True)[1][component]
        duplicate_of = np.where(lowest < np.arange(len(faces)), lowest, -1)
    return duplicate_of


def _pair_pictures(grey, block_size):
    """Rows i < j of one person's faces [n, h, w] that are one picture: int [2, pairs]."""
    bits, unit = _hash_pictures(grey), _normalise(grey)
    found = set()
    for other in (grey, grey[:, :, ::-1]):
        other_bits, other_unit = _hash_pictures(other), _normalise(other)
        for start in range(0, len(grey), block_size):
            rows = slice(start, start + block_size)
            near = np.bitwise_count(bits[rows, None] ^ other_bits) <= HASH_DISTANCE
            first, second = np.nonzero(near & (unit[rows] @ other_unit.T >= LOOSE_CORRELATION))
            found |= {(i, j) for i, j in zip((first + start).tolist(), second.tolist(), strict=True)
                      if i < j and _correlate(grey[i], other[j]) >= SAME_CORRELATION}
    return np.array(sorted(found), np.int64).reshape(-1, 2).T


def _correlate(one, two):
    """Correlation of two pictures after the best small shift, turn and zoom of either, to first order.

    Detecting a copy afresh moves its landmarks by a pixel or so. For moves that small the moved picture is the picture
    plus its gradients times the move, so registration is a linear regression.
    """
    y, x = np.mgrid[: one.shape[0], : one.shape[1]] - (np.array(one.shape) - 1)[:, None, None] / 2
    inner = slice(1, -1)  # at the border a gradient is one-sided
    best = -1.0
    for moved, target in ((one, two), (two, one)):
        down, right = np.gradient(moved)
        columns = np.stack([moved, np.ones_like(moved), right, down, x * right + y * down, x * down - y * right])
        columns, values = columns[:, inner, inner].reshape(6, -1).T, target[inner, inner].ravel()
        weights = np.linalg.lstsq(columns, values)[0]
        if weights[0] > 0:  # else it would be a negative
            best = max(best, np.corrcoef(columns @ weights, values)[0, 1])
    return best


def _hash_pictures(grey):
    """Perceptual hash of each picture, 64 bits: uint64 [n]."""
    bits = [imagehash.phash(Image.fromarray(picture.astype(np.uint8))).hash.ravel() for picture in grey]
    return np.packbits(np.array(bits), axis=1).view(np.uint64).ravel()


def _normalise(grey):
    flat = grey.reshape(len(grey), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def prepare_faces(index, photos, size=112, device="cpu", detector=None, out=None):
    """Detect, align and crop a whole data set, and flag near-duplicates.

    Parameters
    ----------
    index : DataFrame with image_id and identity, N rows.
    photos : iterator of (row positions, list of ndarray [H, W, 3] uint8 or str), as ``ppe.datasets.iter_photos`` gives;
        a str is the reason why that photo cannot be read.
    size : int
        Side of a face in pixels.
    device, detector
        As in ``detect_faces``.
    out : ndarray uint8 [N, 3, size, size] of zeros, or None
        Where faces are written, a memory map where they are too many for memory.

    Returns
    -------
    faces : ndarray [N, 3, size, size], uint8; zero where no face was found. Row i is row i of the index.
    table : DataFrame, N rows
        image_id, identity, detected, reason, num_faces, probability, ``LANDMARK_COLUMNS``, and duplicate_of: the
        image_id of the first photo of that person that shows the same picture, or "".
    """
    faces = np.zeros((len(index), 3, size, size), np.uint8) if out is None else out
    if faces.shape != (len(index), 3, size, size) or faces.dtype != np.uint8:
        raise ValueError(f"out is {faces.dtype} {list(faces.shape)}, but must be uint8 {[len(index), 3, size, size]}")
    detector = detector or build_detector(str(device))
    rows = [_no_face("the photo was not given")] * len(index)
    with tqdm(total=len(index), desc="faces", unit="photo", disable=None) as bar:
        for positions, block in photos:
            for position, photo in zip(positions, block, strict=True):
                if isinstance(photo, str):
                    rows[position] = _no_face(photo)
            readable = [k for k, photo in enumerate(block) if not isinstance(photo, str)]
            found = detect_faces([block[k] for k in readable], detector=detector)
            for k, row in zip(readable, found.to_dict("records"), strict=True):
                rows[positions[k]] = row
            hits = np.flatnonzero(found.detected)
            landmarks = found[LANDMARK_COLUMNS].to_numpy()[hits]
            aligned = align_faces([block[readable[hit]] for hit in hits], landmarks, size)
            faces[np.asarray(positions)[readable][hits]] = aligned
            bar.update(len(block))
    names = index[["image_id", "identity"]].reset_index(drop=True)
    columns = ["detected", "reason", "num_faces", "probability", *LANDMARK_COLUMNS]
    table = pd.concat([names, pd.DataFrame(rows, columns=columns)], axis=1)
    image_id, duplicate_of = table.image_id.to_numpy(), find_duplicates(faces, table.identity.to_numpy())
    table["duplicate_of"] = np.where(duplicate_of < 0, "", image_id[duplicate_of])
    return faces, table


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
