"""How good, how overfit and how leaky a GAN is while it trains: the same measures for each of its snapshots.

Computed from the snapshots after training, so that another embedder or measure never trains a GAN again.
"""

import numpy as np
import pandas as pd
import torch

from ppe.attacks.nearest import find_nearest
from ppe.attacks.queries import MEMBER_GROUPS, score_photos, select_queries
from ppe.embedders.embed import embed_faces
from ppe.evaluation.tables import NO_ROWS, judge_queries, label_rows
from ppe.generators.sampling import sample_faces
from ppe.statistics.set_distances import MIN_FID_FACES, compute_fid, compute_frechet_distance, compute_kernel_distance


def measure_quality(generated, real):
    """Fréchet and kernel distance between generated and real faces in an embedder's space.

    The Fréchet distance of a few faces is biased upwards by how few they are: compare it between sets of one size alone.

    generated, real : Tensor [M, D], [N, D], float32. Returns {"frechet_distance": float, "kernel_distance": float}.
    """
    statistics = [(x.double().mean(0).numpy(), np.cov(x.double().numpy(), rowvar=False)) for x in (generated, real)]
    frechet = compute_frechet_distance(*statistics[0], *statistics[1])
    return {"frechet_distance": frechet, "kernel_distance": compute_kernel_distance(generated, real)}


def judge_snapshots(snapshots, load, net, count, **known):
    """The rows of every snapshot of GANs a and b, in the order of training, and what changed since the first.

    snapshots : dict, half -> list of paths ``snapshot-<images>.safetensors``, the same images in both, the untrained net
    first; load : path -> generator; net : embedder; count : generated faces a snapshot; known : what ``judge_snapshot``
    takes besides.
    """
    parts = []
    for pair in zip(*(snapshots[member_group] for member_group in MEMBER_GROUPS), strict=True):
        images = {int(path.stem.split("-")[1]) for path in pair}
        if len(images) > 1:
            raise ValueError(f"snapshots {[path.name for path in pair]} are not of one moment: train both GANs anew")
        generated = {}
        for member_group, path in zip(MEMBER_GROUPS, pair, strict=True):
            faces = torch.cat(list(sample_faces(load(path), range(count))))
            generated[member_group] = embed_faces(faces, net, device=next(net.parameters()).device)
        parts.append(judge_snapshot(generated=generated, kimg=images.pop() / 1000, **known))
    rows = pd.concat(parts, ignore_index=True)
    return pd.concat([rows, _measure_memory(rows)], ignore_index=True)


def _measure_memory(rows):
    """How much nearer generated faces have come to train photos than to unseen ones, and to members than to other people.

    Differences of kernel distances hold what tells the real sets apart by themselves, which no training changes: so each
    is taken against the untrained net's. Metric ``kernel_gap``, above 0 = remembered; ``versus`` says of what.
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


def judge_snapshot(photos, query, generated, members, kimg, *, embedder, settings):
    """The rows of one snapshot of GANs a and b.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role, as in ``score_photos``.
    query : Tensor [N, D], float32, unit L2 norm: the photos' embeddings.
    generated : dict, half -> Tensor [M, D], float32, unit L2 norm.
    members : DataFrame, written by the trainer.
    kimg : float. Thousands of real faces shown so far.
    embedder : str; settings : num_resamples, num_permutations, seed.

    Returns
    -------
    DataFrame of rows with ``slice`` "kimg: ...": the AUC of the attack ``identity`` on unseen photos; frechet_distance and
    kernel_distance to the half's train photos, to unseen photos of the same people and to the other half's unseen photos
    (``versus``), equally many of each person in all three (the people are in ``num_members``); effective_identities, to how many
    of the half's people the faces are nearest: the exponential of the entropy of their shares (1: all to one person).
    """
    key = {"embedder": embedder, "attack": "nearest", "slice": f"kimg: {kimg:g}"}
    sets = {member_group: {"generated_embeddings": vectors} for member_group, vectors in generated.items()}
    scores = score_photos(photos, {"query_embeddings": query}, sets, ["nearest"], embedder)
    parts = [judge_queries(select_queries(scores, members, "identity_membership"), ("auc",), settings, **key)]
    is_train = photos.image_id.isin(members.image_id)
    each = photos.assign(is_train=is_train).groupby(["identity", "is_train"]).size().min()
    chosen = photos.assign(is_train=is_train, row=np.arange(len(photos))).groupby(["identity", "is_train"]).head(each)
    rows = []
    for member_group in MEMBER_GROUPS:
        is_own = chosen.group == member_group
        versus = {"train photos": is_own & chosen.is_train, "unseen photos": is_own & ~chosen.is_train}
        versus["other people"] = ~is_own & ~chosen.is_train
        people = chosen[versus["train photos"]].identity
        known = {"member_group": member_group, "num_members": people.nunique(), "num_non_members": np.nan}
        for name, is_chosen in versus.items():
            for metric, value in measure_quality(generated[member_group], query[torch.tensor(chosen.row[is_chosen].tolist())]).items():
                rows.append({**known, "versus": name, "metric": metric, "value": value})
        _, nearest = find_nearest(generated[member_group], query[torch.tensor(chosen.row[versus["train photos"]].tolist())])
        share = people.iloc[nearest.cpu().numpy()].value_counts(normalize=True).to_numpy()
        value = float(np.exp(-(share * np.log(share)).sum()))
        rows.append({**known, "versus": "", "metric": "effective_identities", "value": value})
    quality = pd.DataFrame(rows)
    pooled = quality.groupby(["versus", "metric"], as_index=False, sort=False)
    pooled = pooled.agg({"value": "mean", "num_members": "min", "num_non_members": "min"}).assign(member_group="pooled")
    for part in (quality, pooled):
        for versus, group in part.groupby("versus", sort=False):
            parts.append(label_rows(group.drop(columns="versus").to_dict("records"), **key, versus=versus))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(num_generated=min(len(vectors) for vectors in generated.values()))


def judge_fid(sets, real, weights, device="cpu"):
    """Rows of GANs a and b, metric ``fid``, ``versus`` auxiliary people, the faces of both counted.

    sets : mapping, half -> array [M, 3, H, H], uint8; real : array [N, 3, H, H], uint8; weights : path of
    ``ppe.statistics.set_distances.FID_WEIGHTS``, or None: no rows. NaN where a side has fewer faces than FID needs.
    """
    if weights is None:
        return NO_ROWS
    rows = []
    for member_group in MEMBER_GROUPS:
        is_enough = min(len(sets[member_group]), len(real)) >= MIN_FID_FACES
        value = compute_fid(sets[member_group], real, weights, device=device) if is_enough else np.nan
        rows.append({"member_group": member_group, "metric": "fid", "value": value, "low": np.nan, "high": np.nan,
                     "num_members": np.nan, "num_non_members": np.nan})
    return label_rows(rows, attack="", membership="", versus="auxiliary people")
