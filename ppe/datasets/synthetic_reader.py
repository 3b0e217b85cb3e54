"""Synthetic identities as a data set: a photo is a function of the seed and of its name alone."""

import hashlib
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch

from ppe.datasets import synthetic

MANY_PHOTOS = 256
"""Number of photos from which on several processes are faster than one."""


def photo_seed(seed, identity, photo):
    """Seed of photo number ``photo`` of identity number ``identity``, both from 0: 63 bits of a SeedSequence."""
    return int(np.random.SeedSequence((seed, identity, photo)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _parse_image_id(image_id):
    """Numbers of identity and photo, from 0: (2, 0) for ``person-0003/0001``."""
    identity, photo = image_id.rsplit("/", 1)
    return int(identity.rsplit("-", 1)[1]) - 1, int(photo) - 1


def find_vectors_and_seeds(image_ids, seed):
    """Recompute the identity vector and the photo seed from which each photo is drawn.

    Parameters
    ----------
    image_ids : sequence of str [B], of ``ppe.datasets.readers.list_synthetic``.
    seed : int
        Seed of the data set.

    Returns
    -------
    vectors : Tensor [B, K], float32, the identity vector of each photo.
    seeds : Tensor [B], int64, photo seeds.
    """
    numbers = [_parse_image_id(image_id) for image_id in image_ids]
    identities = np.array([identity for identity, _ in numbers])
    first = identities.min()
    vectors = synthetic.sample_identities(int(identities.max() - first + 1), seed, first=int(first))
    return vectors[identities - first], torch.tensor([photo_seed(seed, *pair) for pair in numbers], dtype=torch.int64)


def describe_synthetic(files, seed):
    """Build the index of listed synthetic photos, with the known ``attribute_*`` and ``vector_*`` of each: DataFrame."""
    image_ids = [image_id for _, image_id, _, _ in files]
    vectors, seeds = find_vectors_and_seeds(image_ids, seed)
    hashes = [hashlib.sha256(vector.tobytes() + number.tobytes()).hexdigest()
              for vector, number in zip(vectors.numpy().astype("<f4"), seeds.numpy().astype("<i8"), strict=True)]
    index = pd.DataFrame({"image_id": image_ids, "identity": [file[0] for file in files], "path": "",
                          "bytes": np.zeros(len(files), dtype=np.int64), "sha256": hashes, "readable": True,
                          "reason": ""})
    attributes = {f"attribute_{name}": values for name, values in synthetic.read_attributes(vectors).items()}
    truth = {f"vector_{name}": vectors[:, k].numpy() for k, name in enumerate(synthetic.PARAMETERS)}
    return pd.concat([index, pd.DataFrame({**attributes, **truth})], axis=1)


def _draw(image_ids, seed, size):
    vectors, seeds = find_vectors_and_seeds(image_ids, seed)
    return list(synthetic.draw_photos(vectors, seeds, size=size).permute(0, 2, 3, 1).numpy())


def draw_batches(image_ids, seed, size, batch_size):
    """Draw listed photos in order, many of them in several processes.

    Yields batches of (positions int64 [B], list of uint8 [size, size, 3]).
    """
    if len(image_ids) >= MANY_PHOTOS:
        yield from _draw_side_by_side(image_ids, seed, size, batch_size)
        return
    for start in range(0, len(image_ids), batch_size):
        part = image_ids[start:start + batch_size]
        yield np.arange(start, start + len(part)), _draw(part, seed, size)


def _draw_side_by_side(image_ids, seed, size, batch_size):
    """Draw batches in one process for each core, since the arrays of a photo are too small for torch's own threads.

    At most two batches a process are pending, so that memory does not grow with the data set.
    """
    workers = min(os.cpu_count() or 1, 16)
    options = {"mp_context": get_context("spawn"), "initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(workers, **options) as pool:
        waiting = deque()
        for start in range(0, len(image_ids), batch_size):
            rows = np.arange(start, min(start + batch_size, len(image_ids)))
            waiting.append((rows, pool.submit(_draw, image_ids[start:start + batch_size], seed, size)))
            if len(waiting) > 2 * workers:
                positions, drawn = waiting.popleft()
                yield positions, drawn.result()
        for positions, drawn in waiting:
            yield positions, drawn.result()
