"""Data sets that are much larger than a block. Each is computed in a process of its own, so that its peak memory is known.

``python tests/large_sets.py faces|pairs`` prints by how many megabytes the peak of the process's memory grows.
"""

import re
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ppe.config import LazyRows, create_array, load_array
from ppe.datasets.photos import Photo
from ppe.embedders.embed import verify_pairs
from ppe.faces import TEMPLATE, detection, measure_sharpness, prepare_faces, resize_faces
from ppe.faces.detector import Candidate

STATUS = Path("/proc/self/status")
NUM_FACES, SIDE = 2560, 256
"""Faces, and their side in pixels: 480 MB, forty times the 64 faces that are read at a time."""
NUM_EMBEDDINGS = 50_000
"""Embeddings, which form 1.25e9 pairs."""


class TemplateDetector:
    """Stands in for the detector, which would take minutes: it finds the template's landmarks in every photo."""

    device = "cpu"


def find_template(photos, look, detector):
    """Stands in for ``ppe.faces.detector.look_at``."""
    face = Candidate(1.0, np.concatenate([[[0, 0], [95, 95]], TEMPLATE * 96 / 112]), 1.0, 0.0, 0)
    return [[face]] * len(photos)


def draw_photos():
    """Yield photos of random patches as ``iter_photos`` does, one at a time, so that no other is in memory."""
    rng = np.random.default_rng(0)
    for row in range(NUM_FACES):
        patches = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        yield [row], [Photo(np.asarray(patches.resize((96, 96), Image.Resampling.BICUBIC)))]


def prepare_many(folder):
    """What notebook 1 does with a data set, and how later notebooks read most of it."""
    detection.look_at = find_template
    names = [str(row) for row in range(NUM_FACES)]
    index = pd.DataFrame({"image_id": names, "identity": [name[:-1] for name in names]})
    with create_array(folder / "faces.npy", (NUM_FACES, 3, SIDE, SIDE)) as written:
        _, table = prepare_faces(index, draw_photos(), SIDE, detector=TemplateDetector(), out=written)
    faces = load_array(folder / "faces.npy")
    sharpness = measure_sharpness(faces, batch_size=16)
    small = resize_faces(LazyRows(faces, table.index[1:]), 32)
    assert table.detected.all() and (sharpness > 0).all() and len(small) == NUM_FACES - 1


def pair_many(folder):
    """Draw as many verification pairs as notebook 2 does for photographs."""
    embeddings = torch.nn.functional.normalize(torch.randn(NUM_EMBEDDINGS, 16))
    _, is_same = verify_pairs(embeddings, np.arange(NUM_EMBEDDINGS) // 20, num_pairs=6000, seed=1)
    assert is_same.sum() == 3000


def read_peak():
    """Largest memory of this process so far, in megabytes."""
    return int(re.search(r"VmHWM:\s+(\d+)", STATUS.read_text())[1]) / 1024


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (2**32, resource.RLIM_INFINITY))  # an error instead of a machine without memory
    before = read_peak()  # with all libraries
    with tempfile.TemporaryDirectory(dir=".") as folder:  # the usual folder for temporary files may be in memory
        {"faces": prepare_many, "pairs": pair_many}[sys.argv[1]](Path(folder))
    print(f"{read_peak() - before:.0f} MB more than {before:.0f}")
