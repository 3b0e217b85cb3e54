"""Identities that come back too often: the density scan, which needs no query photo, against photos of the controls."""

import numpy as np
import torch

from ppe.audit.face_sets import read_vectors
from ppe.overrepresentation.density_scan import average_peaks, find_peaks

MAX_PAIRS = 1_000_000
"""Pairs of control photos from which the radius is taken, at most about so many."""


def scan_density(generated, controls, people, model, *, num_peaks, max_scanned, false_match_rate, seed):
    """List the densest clusters of generated faces, and the person whom each resembles most.

    There are no generators of other people to set a threshold with, so a cluster is no alarm: every generator has modes.

    Parameters
    ----------
    generated, controls, people : ppe.audit.face_sets.FaceSet
    model : str
    num_peaks, max_scanned : int. Clusters that are listed, and generated faces that are read, drawn at random.
    false_match_rate : float. Share of pairs of different controls within the radius.
    seed : int

    Returns
    -------
    DataFrame, densest first
        ``num_faces`` (n within the radius), ``expected`` (by the controls), ``score`` (large = too dense), ``identity`` (of the
        most similar person), ``cosine`` (of the cluster's mean face and the person's mean photo), ``control_cosine`` (the
        largest with a control), ``is_closer`` (bool: closer to this person than to any control); ``center`` (row of
        ``generated``).
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(generated))[:max_scanned])
    faces = torch.from_numpy(read_vectors(generated.vectors[model], rows))
    calibration = torch.from_numpy(read_vectors(controls.vectors[model], np.arange(len(controls))))
    radius = find_radius(calibration, controls.identity.astype(str), false_match_rate, seed)
    peaks, peak = find_peaks(faces, calibration, radius, num_peaks)
    if not len(peaks):
        return peaks.assign(identity="", cosine=np.nan, control_cosine=np.nan, is_closer=False)
    means = average_peaks(faces, peak, len(peaks))
    names, templates = average_people(people, model)
    cosine, nearest = (means @ templates.T).max(1)
    control_cosine = (means @ average_people(controls, model)[1].T).max(1).values
    return peaks.assign(
        center=rows[peaks.center], identity=names[nearest.numpy()], cosine=cosine.numpy(),
        control_cosine=control_cosine.numpy(), is_closer=(cosine > control_cosine).numpy(),
    )  # fmt: skip


def average_people(faces, model):
    """Names, and the unit mean embedding of each person's photos: (ndarray [P] of str, Tensor [P, D])."""
    names, number = np.unique(faces.identity.astype(str), return_inverse=True)
    vectors = torch.from_numpy(read_vectors(faces.vectors[model], np.arange(len(faces))))
    totals = torch.zeros((len(names), vectors.shape[1])).index_add_(0, torch.from_numpy(number), vectors)
    return names, torch.nn.functional.normalize(totals)


def find_radius(vectors, identity, rate, seed):
    """Cosine distance within which a share ``rate`` of pairs of different people lies: float, in (0, 2]."""
    count = int(np.sqrt(2 * MAX_PAIRS))
    rows = np.random.default_rng(seed).permutation(len(vectors))[:count]
    distance = 1 - vectors[rows] @ vectors[rows].T
    is_other = np.triu(identity[rows][:, None] != identity[rows][None], 1)
    return float(np.clip(np.quantile(distance.numpy()[is_other], rate), 1e-3, 2))
