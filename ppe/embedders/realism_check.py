"""Check what synthetic identities promise (``ppe.embedders.realism``) on a data set, as far as it can be measured."""

import numpy as np

from ppe.datasets.index import iter_photos, read_index
from ppe.embedders import load
from ppe.embedders.realism import measure_likeness, read_scenery, tabulate_promises

FACES_PER_IDENTITY, MAX_FACES = 5, 500
"""Faces that the face recognition model compares; 500 have 124,750 pairs."""
PHOTOS_PER_IDENTITY, MAX_PHOTOS = 2, 200
"""Photos whose scenery is examined."""


def check_realism(faces, table, settings, index_settings, weights=None, device="cpu"):
    """Compare a synthetic data set with its promises, or say why there is nothing to measure.

    Parameters
    ----------
    faces : array [N, 3, H, W], uint8, RGB, aligned.
    table : DataFrame, N rows: identity, detected (bool). Row i is face i.
    settings : ppe.config.schema.Dataset
        The data set's section of params.yaml.
    index_settings : dict
        What ``ppe.datasets.index.read_index`` needs besides reader and seed.
    weights : path or None
        A MobileFaceNet that was trained on photographs; None leaves out what only such a model can measure.
    device : str or torch.device

    Returns
    -------
    DataFrame of ``ppe.embedders.realism.tabulate_promises``, where NaN was not measured; for real photos a str.
    """
    if settings.reader != "synthetic":
        return "Not measured: the data set holds photographs of people, not synthetic identities."
    likeness = None
    if weights is not None:
        some = table[table.detected].groupby("identity").head(FACES_PER_IDENTITY).iloc[:MAX_FACES]
        likeness = measure_likeness(faces[some.index], some.identity, load("mobilefacenet", weights), device=device)
    index = read_index(settings.reader, seed=settings.seed, **index_settings)
    sample = index.groupby("identity").head(PHOTOS_PER_IDENTITY).iloc[:MAX_PHOTOS]
    reading = iter_photos(sample, settings.reader, seed=settings.seed, size=settings.photo_size)
    photos = np.stack([photo.pixels for _, block in reading for photo in block]).transpose(0, 3, 1, 2)
    scenery = read_scenery(photos, sample.filter(like="vector_"), sample.identity)
    return tabulate_promises(table.detected.mean(), likeness, scenery)
