"""Scores of twelve identities a group against every set of faces, with a leak of known size."""

import numpy as np
import pandas as pd

RUN = {
    "dataset": "d", "resolution": 32, "generator": "fastgan", "num_identities": 12, "train_photos": 2,
    "max_train_photos": None, "query_photos": 2, "kimg": 1, "seed": 1, "defence": "none", "num_generated": 9,
}  # fmt: skip


def make_photos():
    """Twelve identities a group, with two training and two query photos each."""
    rows = [
        (f"{group}{i}-{role}{k}", f"{group}{i}", group, role)
        for group in "ab" for i in range(12) for role in ("train", "query") for k in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["image_id", "identity", "group", "role"])


def make_scores(photos, leak):
    """Photos score ``leak`` higher under the generator of their group; noise is shared by the photos of an identity."""
    rng = np.random.default_rng(0)
    parts = []
    for face_set in ("a", "b", "c", "train-a", "train-b", "twin-a", "twin-b", "untrained-a", "untrained-b"):
        noise = dict(zip(photos.identity.unique(), rng.normal(size=24), strict=True))
        own = photos.group == face_set.removeprefix("train-").removeprefix("twin-")
        score = photos.identity.map(noise) + own * (5 + leak if "-" in face_set else leak)
        for embedder, attack in (("net", "nearest"), ("", "pixel")):
            parts.append(photos.assign(face_set=face_set, embedder=embedder, attack=attack, calibration="", score=score))
    return pd.concat(parts, ignore_index=True)
