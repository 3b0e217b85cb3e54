"""What does dlib itself make of made pictures? The table that the tests compare our network with.

    pip install dlib-bin==20.0.1
    python bench/dlib_outputs.py      # writes tests/embedders/dlib_outputs.csv

The pictures are integers by formula, so that every machine makes the same bytes; none shows a face.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ppe.config import save_table
from ppe.embedders import dlib as own

FILE = Path(__file__).parents[1] / "tests" / "embedders" / "dlib_outputs.csv"
NUM_CHIPS, SIDE = 6, 150


def make_chips():
    """Ramps, waves, checks and noise in three colours: uint8 [6, 150, 150, 3], RGB."""
    y, x, colour = np.meshgrid(np.arange(SIDE), np.arange(SIDE), np.arange(3), indexing="ij")
    place = (y * SIDE + x) * 3 + colour
    chips = [
        x * 255 // (SIDE - 1),
        (x + 2 * y + 40 * colour) % 256,
        (x * x + y * y * (colour + 1)) // 64 % 256,
        ((x // 10 + y // 15 + colour) % 2) * 200 + 20,
        place * 1103515245 % 2147483648 // 8388608,
        np.full_like(x, 255),
    ]
    return np.stack(chips).astype(np.uint8)


def main():
    import dlib  # here, since the tests read the chips and do without dlib

    chips = make_chips()
    path = own.find_weights(own.PACKAGE)
    model = dlib.face_recognition_model_v1(str(path))
    start = time.perf_counter()
    theirs = np.array([model.compute_face_descriptor(chip) for chip in chips])
    seconds = time.perf_counter() - start
    save_table(pd.DataFrame(theirs, columns=[f"value_{k}" for k in range(theirs.shape[1])]), FILE, digits=9)
    net = own.build()
    net.load_state_dict(own.read_state(path)[0])
    with torch.inference_mode():
        ours = net.eval().embed_chips(own.normalise(torch.from_numpy(chips).permute(0, 3, 1, 2))).numpy()
    print(f"dlib {dlib.__version__}: {seconds / len(chips) * 1e3:.0f} ms a face; largest difference of a coordinate "
          f"{np.abs(ours - theirs).max():.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
