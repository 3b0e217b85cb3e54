"""Are the drawn people good enough? What nets that were trained on real faces say of them, and how fast they are drawn.

    python bench/drawn_people.py --weights ../shared/weights/mobilefacenet-casia.pth

Measured on people of a population that no study uses: the share of photos in which MTCNN finds a face; how well the
MobileFaceNet tells two photos of one person from two of different people, at 112 px and after going through 32 px; how
alike different people are; whether anything about the person can be read off the background; photos a second.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from ppe.embedders import load
from ppe.embeddings import embed_faces
from ppe.faces import LANDMARK_COLUMNS, align_faces, detect_faces
from ppe.synthetic import PARAMETERS, draw_photos, sample_identities

POPULATION = 777  # seed of the people
CORNER = 16  # pixels of the square in each upper corner that counts as background


def verify(faces, person, net, resolution):
    """(AUC of all pairs, mean cosine of one person's photos, of different people's)."""
    vectors = embed_faces(faces, net, resolution=resolution)
    cosine = (vectors @ vectors.T).numpy()
    first, second = np.triu_indices(len(person), k=1)
    same = person[first] == person[second]
    score = cosine[first, second]
    return roc_auc_score(same, score), score[same].mean(), score[~same].mean()


def read_background(photos, vectors, person):
    """Largest share of any parameter's variance that a linear model reads off the corners of photos of new people."""
    corners = torch.cat([photos[:, :, :CORNER, :CORNER], photos[:, :, :CORNER, -CORNER:]], dim=3).float()
    features = StandardScaler().fit_transform(torch.nn.functional.avg_pool2d(corners, 4).flatten(1).numpy())
    shares = {}
    for column, name in enumerate(PARAMETERS):
        target = vectors[:, column].numpy()
        predicted = cross_val_predict(RidgeCV(np.logspace(0, 5, 11)), features, target, groups=person, cv=GroupKFold(5))
        shares[name] = 1 - ((target - predicted) ** 2).mean() / target.var()
    return sorted(shares.items(), key=lambda item: -item[1])[:3]


def measure_speed(workers, count=64):
    """Photos of 128 px a second with so many single-threaded processes, started anew and warm."""
    code = (
        "import torch, time; torch.set_num_threads(1); from ppe.synthetic import *;"
        f"p = sample_identities({count}, {POPULATION}); draw_photos(p[:2], torch.arange(2));"
        f"t = time.perf_counter(); draw_photos(p, torch.arange({count})); print(time.perf_counter() - t)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    return sum(count / float(process.communicate()[0]) for process in running)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--weights", required=True, help="a MobileFaceNet trained on real faces")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--photos", type=int, default=6)
    options = parser.parse_args()
    people = sample_identities(options.people, POPULATION)
    person = np.repeat(np.arange(options.people), options.photos)
    seeds = torch.arange(len(person)) + 10**6
    vectors = people[person]
    started = time.perf_counter()
    photos = draw_photos(vectors, seeds)
    print(f"{len(photos) / (time.perf_counter() - started):.1f} photos a second in this process")
    pictures = list(photos.permute(0, 2, 3, 1).numpy())
    table = detect_faces(pictures)
    found = table.detected.to_numpy()
    print(f"MTCNN finds a face in {found.mean():.1%} of {len(found)} photos of {options.people} people")
    landmarks = table.loc[found, LANDMARK_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)
    faces = align_faces([picture for picture, is_found in zip(pictures, found, strict=True) if is_found], landmarks)
    net = load("mobilefacenet", os.path.expanduser(options.weights))
    for resolution in (112, 32):
        auc, same, other = verify(faces, person[found], net, resolution)
        print(f"{resolution} px: AUC {auc:.4f}, mean cosine of one person {same:.3f}, of different people {other:.3f}")
    best = read_background(photos, vectors, person)
    print("read off the background, share of variance (0 or less: nothing):", ", ".join(f"{n} {v:.3f}" for n, v in best))
    for workers in (1, 2):
        print(f"{measure_speed(workers):.1f} photos a second in {workers} process(es) of one thread")


if __name__ == "__main__":
    main()
