"""Detect, align and crop faces, bring them down to a GAN's resolution, and flag near-duplicates.

Detection is MTCNN (Zhang et al. 2016, arXiv 1604.02878) as facenet-pytorch ships it; alignment is a similarity transform
of five landmarks onto the template of ArcFace (Deng et al. 2019, arXiv 1801.07698).
"""

import imagehash
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from facenet_pytorch import MTCNN
from PIL import Image
from tqdm.auto import tqdm

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Pixels of a 112 x 112 crop: left eye, right eye, nose, left and right corner of the mouth, as the viewer sees them."""

LANDMARKS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"]
LANDMARK_COLUMNS = [f"{name}_{axis}" for name in LANDMARKS for axis in "xy"]
MIN_FACE_SHARE = 0.25
"""Smallest face that is looked for, as a share of the photo's shorter side; smaller ones are bystanders, and cost time."""
HASH_DISTANCE = 10
"""Bits of 64 in which the perceptual hashes of one picture may differ; two photos of a person differ in 20 or more."""
SAME_CORRELATION = 0.97
"""Pearson correlation of grey levels at 56 px from which two crops are one picture (re-encoded, re-cropped, mirrored)."""


def build_detector(min_face_size, device="cpu"):
    """Build MTCNN with the weights of the facenet-pytorch wheel (a state dict, read with weights_only).

    min_face_size : int, pixels of the photo. Detection time falls with its square.
    """
    return MTCNN(keep_all=True, post_process=False, min_face_size=max(20, int(min_face_size)), device=device).eval()


def detect_faces(photos, device="cpu", batch_size=32):
    """Find the face that each photo is about: of several, the largest for its distance from the centre.

    Parameters
    ----------
    photos : list of ndarray [H, W, 3], uint8, RGB; sizes may differ, equal ones go through the net together.

    Returns
    -------
    DataFrame, a row a photo: detected (bool), reason (str), num_faces (int), probability (in [0, 1]) and ten landmark
    coordinates in pixels of the photo (NaN where no face was found).
    """
    rows = [None] * len(photos)
    shapes = {}
    for i, photo in enumerate(photos):
        shapes.setdefault(photo.shape, []).append(i)
    for shape, members in shapes.items():
        if min(shape[:2]) < 20:
            found = [_no_face(f"{shape[1]} x {shape[0]} px is too small for a face of 20 px")] * len(members)
            found = dict(zip(members, found, strict=True))
        else:
            detector = build_detector(MIN_FACE_SHARE * min(shape[:2]), device)
            found = {}
            for start in range(0, len(members), batch_size):
                part = members[start : start + batch_size]
                found |= dict(zip(part, _detect_batch(np.stack([photos[i] for i in part]), detector), strict=True))
        for i, row in found.items():
            rows[i] = row
    return pd.DataFrame(rows, columns=["detected", "reason", "num_faces", "probability", *LANDMARK_COLUMNS])


def align_faces(photos, landmarks, size=112):
    """Crop faces by the similarity transform that brings their landmarks nearest to the template.

    Parameters
    ----------
    photos : list of ndarray [H, W, 3], uint8, RGB.
    landmarks : ndarray [N, 5, 2], float32, x and y in pixels, in the order of ``LANDMARKS``.
    size : int, side of the crop; the template is scaled with it.

    Returns
    -------
    ndarray [N, 3, size, size], uint8. What lies outside the photo is black.
    """
    out = np.zeros((len(photos), 3, size, size), np.uint8)
    for i, (photo, points) in enumerate(zip(photos, landmarks, strict=True)):
        matrix = fit_similarity(TEMPLATE * (size / 112), points)
        # Where the photo is larger than the crop, a crop pixel must average all that it covers: draw finer, then average.
        fine = max(1, int(np.ceil(np.sqrt(np.linalg.det(matrix[:, :2])) - 0.1)))
        matrix = matrix @ np.diag([1 / fine, 1 / fine, 1])
        side = (size * fine, size * fine)
        image = Image.fromarray(photo).transform(side, Image.Transform.AFFINE, matrix.ravel(), Image.Resampling.BICUBIC)
        out[i] = np.asarray(image.reduce(fine)).transpose(2, 0, 1)
    return out


def fit_similarity(source, target):
    """Rotation, one scale and shift that bring ``source`` nearest to ``target`` in least squares (Umeyama 1991).

    source, target : ndarray [K, 2]. Returns ndarray [2, 3], float64: target is near matrix[:, :2] @ source + matrix[:, 2].
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    s, t = source - source.mean(0), target - target.mean(0)
    # In the plane a rotation with scale is a complex number: its least-squares estimate is one division.
    z, w = s @ [1, 1j], t @ [1, 1j]
    a = np.vdot(z, w) / np.vdot(z, z).real
    linear = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.column_stack([linear, target.mean(0) - linear @ source.mean(0)])


def resize_faces(faces, resolution, batch_size=1024):
    """Bring faces down to ``resolution`` by area average, so that real and generated faces carry the same detail.

    faces : ndarray or Tensor [N, 3, H, H], uint8. Returns Tensor [N, 3, resolution, resolution], uint8, rounded to the
    nearest grey level. Faces that are smaller than ``resolution`` cannot be brought down: ValueError.
    """
    if faces.shape[-1] < resolution:
        raise ValueError(f"faces are {faces.shape[-1]} px, smaller than {resolution} px: lower resolution (params.yaml)")
    out = torch.empty((len(faces), 3, resolution, resolution), dtype=torch.uint8)
    for start in range(0, len(faces), batch_size):
        block = torch.as_tensor(np.ascontiguousarray(faces[start : start + batch_size]))
        out[start : start + batch_size] = F.interpolate(block.float(), size=(resolution, resolution), mode="area").round()
    return out


def find_duplicates(faces, identity):
    """Flag photos that show the same picture as an earlier photo of the same person.

    Perceptual hashes that differ in at most ``HASH_DISTANCE`` bits are candidates (mirrored ones too); the correlation
    of grey levels decides.

    Parameters
    ----------
    faces : ndarray [N, 3, H, H], uint8, aligned.
    identity : array [N] of str.

    Returns
    -------
    ndarray [N], int64. The first row of the same picture, or -1.
    """
    small = resize_faces(faces, min(56, faces.shape[-1])).float().mean(1).numpy()
    hashes = [imagehash.phash(Image.fromarray(grey.astype(np.uint8))).hash.ravel() for grey in small]
    mirrored = [imagehash.phash(Image.fromarray(grey[:, ::-1].astype(np.uint8))).hash.ravel() for grey in small]
    duplicate = np.full(len(faces), -1)
    for rows in pd.Series(np.arange(len(faces))).groupby(np.asarray(identity)).agg(list):
        for k, i in enumerate(rows):
            for j in rows[:k]:
                straight = (hashes[i] != hashes[j]).sum() <= HASH_DISTANCE and _correlate(small[i], small[j])
                if straight or ((mirrored[i] != hashes[j]).sum() <= HASH_DISTANCE and _correlate(small[i][:, ::-1], small[j])):
                    duplicate[i] = j
                    break
    return duplicate


def prepare_faces(index, photos, size=112, device="cpu"):
    """Detect, align and crop a whole data set.

    Parameters
    ----------
    index : DataFrame with image_id and identity, N rows.
    photos : iterator of (row positions, list of ndarray [H, W, 3] uint8 or str), as ``ppe.datasets.iter_photos`` gives;
        a str is the reason why that photo cannot be read.

    Returns
    -------
    faces : ndarray [N, 3, size, size], uint8; black where no face was found. Row i is row i of the index.
    table : DataFrame, N rows: image_id, identity, detected, reason, num_faces, probability, ten landmark coordinates,
        duplicate_of (image_id of the first photo that shows the same picture, or "").
    """
    faces = np.zeros((len(index), 3, size, size), np.uint8)
    rows = pd.DataFrame([_no_face("not read")] * len(index), index=range(len(index)))
    with tqdm(total=len(index), desc="faces", unit="photo", disable=None) as bar:
        for positions, block in photos:
            positions = np.asarray(positions)
            good = [k for k, photo in enumerate(block) if not isinstance(photo, str)]
            for k in set(range(len(block))) - set(good):
                rows.loc[positions[k], "reason"] = block[k]
            readable = [block[k] for k in good]
            found = detect_faces(readable, device).set_axis(positions[good])
            rows.loc[found.index, found.columns] = found
            hits = found[found.detected].index
            chosen = [readable[list(positions[good]).index(i)] for i in hits]
            faces[hits] = align_faces(chosen, found.loc[hits, LANDMARK_COLUMNS].to_numpy(float).reshape(-1, 5, 2), size)
            bar.update(len(block))
    table = pd.concat([index[["image_id", "identity"]].reset_index(drop=True), rows], axis=1)
    usable = np.flatnonzero(table.detected.astype(bool))
    duplicate = find_duplicates(faces[usable], table.identity.to_numpy()[usable])
    ids = table.image_id.to_numpy()
    table["duplicate_of"] = ""
    table.loc[usable, "duplicate_of"] = [ids[usable[j]] if j >= 0 else "" for j in duplicate]
    return faces, table.astype({"detected": bool, "num_faces": int, "probability": float})


@torch.no_grad()
def _detect_batch(photos, detector):
    boxes, probabilities, points = detector.detect(photos, landmarks=True)
    return [_choose_face(b, p, q, photos.shape[1:3]) for b, p, q in zip(boxes, probabilities, points, strict=True)]


def _choose_face(boxes, probabilities, points, shape):
    if boxes is None or len(boxes) == 0:
        return _no_face("no face found")
    boxes = np.asarray(boxes, np.float64)
    centre = np.array([shape[1], shape[0]]) / 2
    side = np.sqrt(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 1, None), axis=1))
    away = np.linalg.norm((boxes[:, 2:] + boxes[:, :2]) / 2 - centre, axis=1)
    best = int(np.argmax(side - 2 * away))
    row = {"detected": True, "reason": "", "num_faces": len(boxes), "probability": float(probabilities[best])}
    return row | dict(zip(LANDMARK_COLUMNS, np.asarray(points[best], np.float64).ravel().tolist(), strict=True))


def _no_face(reason):
    return {"detected": False, "reason": reason, "num_faces": 0, "probability": 0.0} | dict.fromkeys(LANDMARK_COLUMNS, np.nan)


def _correlate(one, two):
    """Whether two grey pictures correlate as one picture does with its copy; flat ones say nothing."""
    if one.std() < 1 or two.std() < 1:
        return False
    return np.corrcoef(one.ravel(), two.ravel())[0, 1] >= SAME_CORRELATION
