"""Drawn people as a data set: what each photo is drawn from is a function of the seed and its name alone."""

import hashlib
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch

from ppe.datasets import synthetic

MANY_DRAWN = 256  # drawn photos from which on starting processes pays for itself


def list_synthetic(root, *, num_identities, num_auxiliary, photos_per_identity, num_prominent=0, photos_per_prominent=None):
    """List drawn people: person-0001/0001 and so on, those to attack first and the auxiliary people after them.

    The first ``num_prominent`` have ``photos_per_prominent`` photos each.
    """
    if not num_identities or num_identities < 1 or num_auxiliary < 0 or not photos_per_identity \
            or photos_per_identity < 1:
        raise ValueError(f"num_identities={num_identities}, num_auxiliary={num_auxiliary}, photos_per_identity="
                         f"{photos_per_identity}: drawn people need >= 1, >= 0 and >= 1 (params.yaml: datasets)")
    if not 0 <= num_prominent <= num_identities or (num_prominent and not photos_per_prominent):
        raise ValueError(f"num_prominent={num_prominent}, photos_per_prominent={photos_per_prominent}: up to num_identities="
                         f"{num_identities} people may have more photos, and then their number is needed (params.yaml: datasets)")
    # One width for all, so that the sorted order is the order of the numbers.
    total = num_identities + num_auxiliary
    photos = [photos_per_prominent] * num_prominent + [photos_per_identity] * (total - num_prominent)
    width, photo_width = max(4, len(str(total))), max(4, len(str(max(photos))))
    return [(f"person-{i:0{width}d}", f"person-{i:0{width}d}/{p:0{photo_width}d}", "", "")
            for i, count in enumerate(photos, start=1) for p in range(1, count + 1)]


def photo_seed(seed, person, photo):
    """Seed of photo ``photo`` of person ``person`` (both from 0): the first 63 bits of SeedSequence((seed, i, p))."""
    return int(np.random.SeedSequence((seed, person, photo)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _person_and_photo(image_id):
    """Numbers, from 0, of ``person-0003/0001``: (2, 0)."""
    person, photo = image_id.rsplit("/", 1)
    return int(person.rsplit("-", 1)[1]) - 1, int(photo) - 1


def sample_people(image_ids, seed):
    """Recompute what drawn photos are drawn from.

    Returns
    -------
    vectors : Tensor [B, K], float32, identity vector of each photo's person.
    seeds : Tensor [B], int64, photo seeds.
    """
    numbers = [_person_and_photo(image_id) for image_id in image_ids]
    people = np.array([person for person, _ in numbers])
    first = people.min()
    vectors = synthetic.sample_identities(int(people.max() - first + 1), seed, first=int(first))
    return vectors[people - first], torch.tensor([photo_seed(seed, *pair) for pair in numbers], dtype=torch.int64)


def describe_drawn(files, seed):
    """The index table of listed drawn photos, with what is known of each: ``attribute_*`` and ``vector_*``."""
    image_ids = [image_id for _, image_id, _, _ in files]
    vectors, seeds = sample_people(image_ids, seed)
    hashes = [hashlib.sha256(vector.tobytes() + number.tobytes()).hexdigest()
              for vector, number in zip(vectors.numpy().astype("<f4"), seeds.numpy().astype("<i8"), strict=True)]
    index = pd.DataFrame({"image_id": image_ids, "identity": [file[0] for file in files], "path": "",
                          "bytes": np.zeros(len(files), dtype=np.int64), "sha256": hashes, "readable": True,
                          "reason": ""})
    attributes = {f"attribute_{name}": values for name, values in synthetic.read_attributes(vectors).items()}
    truth = {f"vector_{name}": vectors[:, k].numpy() for k, name in enumerate(synthetic.PARAMETERS)}
    return pd.concat([index, pd.DataFrame({**attributes, **truth})], axis=1)


def _draw(image_ids, seed, size):
    vectors, seeds = sample_people(image_ids, seed)
    return list(synthetic.draw_photos(vectors, seeds, size=size).permute(0, 2, 3, 1).numpy())


def draw_batches(image_ids, seed, size, batch_size):
    """Draw listed photos in order: (positions, list of uint8 [size, size, 3]) a batch, in several processes if many."""
    if len(image_ids) >= MANY_DRAWN:
        yield from _draw_side_by_side(image_ids, seed, size, batch_size)
        return
    for start in range(0, len(image_ids), batch_size):
        part = image_ids[start:start + batch_size]
        yield np.arange(start, start + len(part)), _draw(part, seed, size)


def _draw_side_by_side(image_ids, seed, size, batch_size):
    """Draw batches in as many processes as there are cores: a photo's planes are too small for torch's own threads.

    At most two batches a process wait, so that memory does not grow with the data set.
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
