"""Are the drawn people good enough? What nets that were trained on real faces say of them, and how fast they are drawn.

    python bench/drawn_people.py --weights ../shared/weights/mobilefacenet-casia.pth

Measured on people of a population that no study uses: the share of photos in which MTCNN finds a face; how well the
MobileFaceNet tells two photos of one person from two of different people, at 112 px and after going through 32 px; how
alike different people are; whether anything about the person can be read off the scenery; photos a second.
"""

import argparse
import os
import subprocess
import sys

import numpy as np
import torch

from ppe.datasets.synthetic import PARAMETERS, draw_photos, sample_identities
from ppe.embedders import load
from ppe.embedders.realism import measure_likeness, read_scenery, tabulate_promises
from ppe.faces import LANDMARK_COLUMNS, align_faces, detect_faces

POPULATION = 777  # seed of the people


def measure_speed(workers, count=64):
    """Photos of 128 px a second with so many single-threaded processes, started anew and warm."""
    code = (
        "import torch, time; torch.set_num_threads(1); from ppe.datasets.synthetic import *;"
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
    photos = draw_photos(vectors, seeds)
    pictures = list(photos.permute(0, 2, 3, 1).numpy())
    table = detect_faces(pictures)
    found = table.detected.to_numpy()
    print(f"MTCNN finds a face in {found.mean():.1%} of {len(found)} photos of {options.people} people")
    landmarks = table.loc[found, LANDMARK_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)
    faces = align_faces([picture for picture, is_found in zip(pictures, found, strict=True) if is_found], landmarks)
    net = load("mobilefacenet", os.path.expanduser(options.weights))
    likeness = measure_likeness(faces, person[found], net)
    print(likeness.round(4).to_string())
    shares = read_scenery(photos, vectors, person)
    best = sorted(zip(shares, PARAMETERS, strict=True), reverse=True)[:3]
    print("read off the scenery, share of variance (0 or less: nothing):", ", ".join(f"{n} {v:.3f}" for v, n in best))
    print(tabulate_promises(found.mean(), likeness, shares).round(4).to_string())
    for workers in (1, 2):
        print(f"{measure_speed(workers):.1f} photos a second in {workers} process(es) of one thread")


if __name__ == "__main__":
    main()
