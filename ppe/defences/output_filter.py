"""The output filter: generated faces that look like a training identity to the owner's face model are not published."""

import numpy as np
import pandas as pd
import torch

from ppe.attacks.nearest import find_nearest
from ppe.attacks.selection import GROUPS
from ppe.config.storage import LazyRows, load_array
from ppe.embedders.embed import embed_faces

NUM_DRAWS = 20
"""Draws of control identities over which the threshold is averaged."""


def set_threshold(generated, controls, identity, *, num_identities, num_photos, rate, seed):
    """Set the cosine above which a generated face is too near to a training identity.

    It is the cosine that only the share ``rate`` of the generated faces reach to some of as many control identities, with as many
    photos each, as the training set has. Control identities are in no training set, so that this nearness is chance.

    Parameters
    ----------
    generated : Tensor [M, D], float32, unit L2 norm.
    controls : Tensor [C, D], float32, unit L2 norm. Photos of control identities.
    identity : ndarray [C]. The identity of each.
    num_identities, num_photos : int. All control identities, or photos of one, are taken where there are fewer.
    rate : float, in (0, 1).
    seed : int. Decides which control identities are drawn; the threshold is the mean over several draws.

    Returns
    -------
    float, in [-1, 1].
    """
    random, names = np.random.default_rng(seed), np.unique(identity)
    few = pd.Series(identity).groupby(identity).cumcount().to_numpy() < num_photos
    cuts = []
    for _ in range(NUM_DRAWS):
        drawn = random.permutation(names)[:num_identities]
        chosen = torch.tensor(np.flatnonzero(few & np.isin(identity, drawn)))
        distance, _ = find_nearest(generated, controls[chosen])
        cuts.append(float((1 - distance).quantile(1 - rate)))
    return float(np.mean(cuts))


def keep_distant(generated, training, threshold, count):
    """List the first ``count`` rows of ``generated`` whose cosine to every training photo is below the threshold.

    Parameters
    ----------
    generated, training : Tensor [M, D], [N, D], float32, unit L2 norm.
    threshold : float
    count : int

    Returns
    -------
    rows : ndarray [count], int64, rising.
    share : float. Of all faces, how many are rejected.

    Raises
    ------
    ValueError
        If fewer than ``count`` faces pass.
    """
    distance, _ = find_nearest(generated, training)
    passes = ((1 - distance) < threshold).cpu().numpy()
    rows = np.flatnonzero(passes)
    if len(rows) < count:
        raise ValueError(f"only {len(rows)} of {len(passes)} generated faces pass the filter, but num_generated={count} are "
                         "needed: raise defences.filter_limit, or lower num_generated (params.yaml)")
    return rows[:count], float(1 - passes.mean())


def choose_published(folder, net, training, members, controls, identity, *, run, rules, device="cpu"):
    """Choose the faces of each generator that its owner publishes: all, or under the defence ``filter`` those that pass.

    Parameters
    ----------
    folder : path. Generated faces: ``a.npy``, ``b.npy``, ``c.npy``, uint8 [P, 3, H, H].
    net : ppe.embedders.Embedder or None
        The owner's face model, which filters; the attacker looks through another one. None: there is no filter.
    training : array or LazyRows uint8 [N, 3, S, S], the aligned face of each row of ``members``.
    members : DataFrame, written by the trainer: group, image_id, identity.
    controls : array or LazyRows uint8 [C, 3, S, S]; identity : ndarray [C]. Photos of auxiliary identities.
    run, rules : the run's line of ``runs``, and the section ``defences``, of params.
    device : str or torch.device

    Returns
    -------
    rows : dict, group -> ndarray, int64. Rows of the group's file: ``run.num_generated`` if there is a filter.
    table : DataFrame, a row a group: ``threshold``, and ``rejected``, the share of the faces that are not published.
    """
    if net is None:
        rows = {group: np.arange(len(load_array(folder / f"{group}.npy"))) for group in GROUPS}
        return rows, pd.DataFrame(index=pd.Index(list(GROUPS), name="group"), columns=["threshold", "rejected"])
    size = {"resolution": run.resolution, "device": device}
    others = embed_faces(controls, net, **size)
    rows, table = {}, {}
    for group in GROUPS:
        generated = embed_faces(load_array(folder / f"{group}.npy"), net, device=device)
        own = np.flatnonzero((members.group == group).to_numpy())
        photos = embed_faces(LazyRows(training, own), net, **size)
        counts = {"num_identities": members.identity.iloc[own].nunique(), "num_photos": run.train_photos}
        threshold = set_threshold(generated, others, np.asarray(identity), **counts, rate=rules.filter_rate, seed=run.seed)
        rows[group], rejected = keep_distant(generated, photos, threshold, run.num_generated)
        table[group] = {"threshold": threshold, "rejected": rejected}
    return rows, pd.DataFrame(table).T.rename_axis("group")
