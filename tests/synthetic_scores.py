"""Scores of twelve people a group under every set of faces, with a leak that is chosen."""

import numpy as np
import pandas as pd

RUN = {
    "dataset": "d", "resolution": 32, "generator": "fastgan", "num_identities": 12, "train_photos": 2,
    "max_train_photos": None, "query_photos": 2,
    "kimg": 1, "seed": 1, "num_generated": 9,
}  # fmt: skip


def make_photos():
    """Twelve people a group, two train and two query photos each."""
    rows = [
        (f"{group}{i}-{role}{k}", f"{group}{i}", group, role)
        for group in "ab" for i in range(12) for role in ("train", "query") for k in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["image_id", "identity", "group", "role"])


def make_scores(photos, leak):
    """A person's photos score ``leak`` higher under the GAN of their group, with noise that people carry."""
    rng = np.random.default_rng(0)
    parts = []
    for generator in ("a", "b", "c", "train-a", "train-b", "twin-a", "twin-b", "untrained-a", "untrained-b"):
        person = dict(zip(photos.identity.unique(), rng.normal(size=24), strict=True))
        own = photos.group == generator.removeprefix("train-").removeprefix("twin-")
        score = photos.identity.map(person) + own * (5 + leak if "-" in generator else leak)
        for e, k in (("net", "nearest"), ("", "pixel")):
            parts.append(photos.assign(face_set=generator, embedder=e, attack=k, calibration="", score=score))
    return pd.concat(parts, ignore_index=True)
