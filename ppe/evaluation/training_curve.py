"""Leakage over training: quality, memorisation and leak of a generator, measured in the same way on each of its snapshots.

The numbers come from snapshots after training, so that another embedder or measure needs no new training.
"""

import numpy as np
import pandas as pd
import torch

from ppe.attacks.nearest import find_nearest
from ppe.attacks.queries import score_photos
from ppe.attacks.selection import MEMBER_GROUPS, select_queries
from ppe.embedders.embed import embed_faces
from ppe.evaluation.tables import NO_ROWS, judge_queries, label_rows
from ppe.faces import resize_faces
from ppe.generators.sampling import sample_faces
from ppe.statistics.set_distances import (
    MIN_FID_FACES,
    compute_fid,
    compute_frechet_distance,
    compute_kernel_distance,
    measure_moments,
)

SNAPSHOT_BLOCK = 1000
"""Faces of a snapshot that are in memory at a time; what is kept of them is their embeddings."""


def measure_quality(generated, real):
    """Compute the Fréchet and the kernel distance between generated and real faces in an embedder's space.

    The Fréchet distance is biased upwards where faces are few: compare it only between sets of one size.

    Parameters
    ----------
    generated, real : Tensor or memmap [M, D], [N, D], float32, unit L2 norm. They are read in blocks.

    Returns
    -------
    dict, ``frechet_distance`` and ``kernel_distance`` (float, small = similar).
    """
    frechet = compute_frechet_distance(*measure_moments(generated), *measure_moments(real))
    return {"frechet_distance": frechet, "kernel_distance": compute_kernel_distance(generated, real)}


def judge_snapshots(snapshots, load, net, count, last=None, **known):
    """List the rows of every snapshot of generators A and B, in the order of training, and the change since the first.

    Parameters
    ----------
    snapshots : dict, group -> list of paths ``snapshot-<images>.safetensors``
        The numbers of images are the same in both groups, the untrained generator's first.
    load : callable, path -> generator.
    net : nn.Module. The embedder.
    count : int. Generated faces of each snapshot.
    last : dict, group -> Tensor [M, D], float32, or None
        Embeddings of the last snapshot's faces, where they are known: the attack embedded them. The first ``count`` are taken.
    known : the other parameters of ``judge_snapshot``.

    Returns
    -------
    DataFrame of rows: those of ``judge_snapshot``, and metric ``kernel_gap``.

    Raises
    ------
    ValueError
        If two snapshots of a pair are from different times of training.
    """
    pairs, parts = list(zip(*(snapshots[group] for group in MEMBER_GROUPS), strict=True)), []
    for pair in pairs:
        images = {int(path.stem.split("-")[1]) for path in pair}
        if len(images) > 1:
            raise ValueError(f"snapshots {[path.name for path in pair]} are from different times: train both generators again")
        if pair is pairs[-1] and last and min(map(len, last.values())) >= count:
            generated = {group: vectors[:count] for group, vectors in last.items()}
        else:
            generated = {group: _embed_snapshot(load(path), net, count) for group, path in zip(MEMBER_GROUPS, pair, strict=True)}
        parts.append(judge_snapshot(generated=generated, kimg=images.pop() / 1000, **known))
    rows = pd.concat(parts, ignore_index=True)
    return pd.concat([rows, _measure_memory(rows)], ignore_index=True)


def _embed_snapshot(generator, net, count):
    """Embed the first ``count`` faces of a generator: Tensor [count, D]."""
    parts, device = [], next(net.parameters()).device
    for start in range(0, count, SNAPSHOT_BLOCK):
        faces = torch.cat(list(sample_faces(generator, range(start, min(start + SNAPSHOT_BLOCK, count)))))
        parts.append(embed_faces(faces, net, device=device))
    return torch.cat(parts)


def judge_snapshot(photos, query, generated, members, kimg, *, embedder, settings):
    """List the rows of one snapshot of generators A and B.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role, as in ``score_photos``.
    query : Tensor [N, D], float32, unit L2 norm. The photos' embeddings.
    generated : dict, group -> Tensor [M, D], float32, unit L2 norm.
    members : DataFrame, written by the trainer.
    kimg : float. Training images so far, in thousands.
    embedder : str
    settings : dict, as in ``ppe.evaluation.tables.judge_queries``.

    Returns
    -------
    DataFrame of rows, slice ``kimg: ...``
        - ``auc`` of the attack ``nearest`` on query photos.
        - ``frechet_distance`` and ``kernel_distance`` between the generated faces and the group's training photos, query photos
          of the same identities, or the other group's query photos (``versus``). All three hold equally many photos of each
          identity; ``num_members`` counts the identities.
        - ``effective_identities``: the number of the group's identities to whom the faces are nearest. It is the exponential of
          the entropy of their shares (1: all faces are nearest to one identity).
    """
    key = {"embedder": embedder, "attack": "nearest", "slice": f"kimg: {kimg:g}"}
    sets = {group: {"generated_embeddings": vectors} for group, vectors in generated.items()}
    scores = score_photos(photos, {"query_embeddings": query}, sets, ["nearest"], embedder)
    leak = judge_queries(select_queries(scores, members, "identity_membership"), ("auc",), settings, **key)
    is_train = photos.image_id.isin(members.image_id)
    each = photos.assign(is_train=is_train).groupby(["identity", "is_train"]).size().min()
    chosen = photos.assign(is_train=is_train, row=np.arange(len(photos))).groupby(["identity", "is_train"]).head(each)
    quality = pd.DataFrame([row for group in MEMBER_GROUPS for row in _compare_faces(generated[group], query, chosen, group)])
    pooled = quality.groupby(["versus", "metric"], as_index=False, sort=False)
    pooled = pooled.agg({"value": "mean", "num_members": "min", "num_non_members": "min"}).assign(member_group="pooled")
    parts = [leak]
    for table in (quality, pooled):
        for versus, part in table.groupby("versus", sort=False):
            parts.append(label_rows(part.drop(columns="versus").to_dict("records"), **key, versus=versus))
    return pd.concat(parts, ignore_index=True).assign(num_generated=min(len(vectors) for vectors in generated.values()))


def _compare_faces(generated, query, chosen, group):
    """Compare a generator's faces with the chosen photos of its own and the other group: a list of rows, as dicts."""
    is_own = chosen.group == group
    real = {"train photos": is_own & chosen.is_train, "unseen photos": is_own & ~chosen.is_train}
    real["other people"] = ~is_own & ~chosen.is_train
    vectors = {name: query[torch.tensor(chosen.row[is_chosen].tolist())] for name, is_chosen in real.items()}
    identity = chosen[real["train photos"]].identity
    known = {"member_group": group, "num_members": identity.nunique(), "num_non_members": np.nan}
    rows = []
    for name, photos in vectors.items():
        for metric, value in measure_quality(generated, photos).items():
            rows.append({**known, "versus": name, "metric": metric, "value": value})
    _, nearest = find_nearest(generated, vectors["train photos"])
    share = identity.iloc[nearest.cpu().numpy()].value_counts(normalize=True).to_numpy()
    value = float(np.exp(-(share * np.log(share)).sum()))
    return [*rows, {**known, "versus": "", "metric": "effective_identities", "value": value}]


def _measure_memory(rows):
    """Measure how much nearer generated faces came to training photos than to query photos, and to members than to non-members.

    The real sets differ from each other, which adds a constant to a difference of kernel distances. Each difference is therefore
    taken relative to the untrained generator. Metric ``kernel_gap``, above 0 = memorised; ``versus`` names the two sets.
    """
    distance = rows[rows.metric == "kernel_distance"].set_index(["member_group", "slice", "versus"]).value.unstack("versus")
    gaps = {
        "photos: unseen minus train": distance["unseen photos"] - distance["train photos"],
        "people: others minus unseen": distance["other people"] - distance["unseen photos"],
    }
    like = rows[rows.metric == "kernel_distance"].drop_duplicates(["member_group", "slice"])
    parts = []
    for name, gap in gaps.items():
        since = gap - gap.index.get_level_values("member_group").map(gap.xs(rows.slice.iloc[0], level="slice"))
        value = pd.MultiIndex.from_frame(like[["member_group", "slice"]]).map(since)
        parts.append(like.assign(metric="kernel_gap", versus=name, value=np.asarray(value, float)))
    return pd.concat(parts, ignore_index=True)


def judge_fid(sets, real, weights, device="cpu", resolution=None):
    """List the FID of generators A and B as rows, metric ``fid``, ``versus`` auxiliary people.

    Parameters
    ----------
    sets : mapping, group -> array [M, 3, H, H], uint8.
    real : array, memmap or LazyRows [N, 3, S, S], uint8. Photos of auxiliary identities.
    weights : path of ``ppe.statistics.set_distances.FID_WEIGHTS``, or None: no rows.
    device : str or torch.device
    resolution : int or None
        H, to which photos are reduced, a batch at a time, as a generator's training photos are; None where S is H.

    Returns
    -------
    DataFrame of rows; ``value`` is NaN where a side has fewer faces than FID needs.
    """
    if weights is None:
        return NO_ROWS
    reduce = (lambda faces: resize_faces(faces, resolution)) if resolution else None
    rows = []
    for group in MEMBER_GROUPS:
        is_enough = min(len(sets[group]), len(real)) >= MIN_FID_FACES
        value = compute_fid(sets[group], real, weights, device=device, prepare=reduce) if is_enough else np.nan
        rows.append({"member_group": group, "metric": "fid", "value": value, "low": np.nan, "high": np.nan,
                     "num_members": np.nan, "num_non_members": np.nan})
    return label_rows(rows, attack="", membership="", versus="auxiliary people")
