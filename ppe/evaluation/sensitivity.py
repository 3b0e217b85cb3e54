"""Sensitivity analysis: how the AUC of ``nearest`` depends on the attacker's effort, on likeness, and on who is in the photo.

The rows have the columns of ``ppe.evaluation.membership``'s rows; their column ``slice`` names the analysis.
"""

import numpy as np
import pandas as pd
import torch

from ppe.attacks.scores import score_nearest
from ppe.attacks.selection import MEMBER_GROUPS, aggregate_queries, select_queries
from ppe.evaluation.tables import NO_ROWS, judge_queries, label_rows
from ppe.statistics.intervals import bootstrap_identities

MIN_SLICE = 4
"""Identities on either side below which a slice is left out, since it would say more about them than about the slice."""


def judge_efforts(photos, embeddings, generated, members, sizes, *, embedder, settings):
    """Compute the AUC of the attack against the number of generated faces that the attacker has.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role.
    embeddings : Tensor [N, D], float32, unit L2 norm.
    generated : dict, group -> Tensor [M, D], float32, unit L2 norm. The attacker has the first ``size`` rows.
    members : DataFrame, written by the trainer.
    sizes : sequence of int. Those above M are left out; M is added.
    embedder : str
    settings : dict, as in ``ppe.evaluation.tables.judge_queries``.

    Returns
    -------
    DataFrame of rows, slice ``generated faces``, their number in ``num_generated``.
    """
    total = min(len(generated[group]) for group in MEMBER_GROUPS)
    best = {group: np.full(len(photos), -np.inf) for group in MEMBER_GROUPS}
    parts, start = [], 0
    for size in sorted({*(s for s in sizes if s < total), total}):
        for group in MEMBER_GROUPS:
            score = score_nearest(query_embeddings=embeddings, generated_embeddings=generated[group][start:size])
            best[group] = np.maximum(best[group], score)
        scores = pd.concat([photos.assign(face_set=group, score=best[group]) for group in MEMBER_GROUPS], ignore_index=True)
        queries = select_queries(scores, members, "identity_membership")
        rows = judge_queries(queries, ("auc",), settings, embedder=embedder, slice="generated faces")
        parts.append(rows.assign(num_generated=size))
        start = size
    return pd.concat(parts, ignore_index=True)


def judge_photos_held(scores, members, *, embedder, num_resamples, seed=0):
    """Compute the AUC per identity (mean score) against the number of query photos that the attacker holds of each.

    For each number, several choices of photos are made (cyclic, so that each photo is in equally many). The AUC is the mean over
    the choices, which are resampled together.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the attack ``nearest`` by one embedder.
    members, num_resamples, seed : as in ``ppe.evaluation.membership.evaluate_scores``.
    embedder : str

    Returns
    -------
    DataFrame of pooled rows, slice ``photos held: n``, level ``identity``.
    """
    queries = select_queries(scores, members, "identity_membership")
    rank = queries.groupby(["member_group", "identity"]).cumcount()
    most = int(queries.groupby(["member_group", "identity"]).size().min())
    parts = []
    for held in range(1, most + 1):
        choices = []
        for first in range(most if held < most else 1):
            chosen = queries[((rank - first) % most < held) & (rank < most)]
            choices.append(aggregate_queries(chosen.assign(member_group=chosen.member_group + str(first)), "mean"))
        row = bootstrap_identities(pd.concat(choices, ignore_index=True), num_resamples=num_resamples, seed=seed)
        keys = {"embedder": embedder, "level": "identity", "aggregate": "mean", "slice": f"photos held: {held}"}
        parts.append(label_rows([row], **keys))
    return pd.concat(parts, ignore_index=True)


def choose_likeness(verification, embedder):
    """Choose the face recognition model that measures how alike a query photo and the training photos are: not the attacking one.

    By the attacking model's own cosines, the query photos nearest to a training photo are nearest to any generated face like it
    as well, so a leak would always seem to be one of events.

    Parameters
    ----------
    verification : mapping, embedder -> AUC on identities that it never saw, at the run's resolution.
    embedder : str, the attacking one.

    Returns
    -------
    str : of the others, the one with the largest AUC; ``embedder`` itself where there is no other.
    """
    others = {name: -1.0 if np.isnan(auc) else auc for name, auc in verification.items() if name != embedder}
    return max(others, key=others.get) if others else embedder


@torch.no_grad()
def find_own_similarity(embeddings, photos):
    """Compute the cosine of each query photo to the nearest training photo of the same identity; near ones may be of one event.

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm.
    photos : DataFrame, N rows: identity, role.

    Returns
    -------
    ndarray [N], float64, in [-1, 1]; NaN for training photos.
    """
    query, train = (np.flatnonzero(photos.role == role) for role in ("query", "train"))
    number = pd.factorize(photos.identity)[0]
    own = torch.as_tensor(number[query][:, None] == number[train][None])
    nearest = (embeddings[query] @ embeddings[train].T).masked_fill(~own, -torch.inf).amax(1).cpu().numpy()
    similarity = np.full(len(photos), np.nan)
    similarity[query] = np.where(np.isfinite(nearest), nearest, np.nan)
    return similarity


def judge_slices(scores, members, columns, *, embedder, settings):
    """Compute the AUC of the attack within slices of the query photos, by columns of ``scores``.

    There may be dozens of slices. Of twenty slices without a leak, one is expected to have an interval that misses 0.5.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the attack ``nearest`` by one embedder, with the columns.
    columns : sequence of str
        A column of text is sliced by value, one of numbers into thirds. These are thirds of the identities where all photos of
        an identity have one number, else of the photos. Equal numbers stay together.
    members, embedder, settings : as in ``judge_efforts``.

    Returns
    -------
    DataFrame of rows, slice ``<column>: <value>``. There is no interval below ten identities a side, and a slice with fewer than
    ``MIN_SLICE`` is left out.
    """
    parts = []
    for column in columns:
        unseen = scores[scores.role == "query"]
        for value, ids in _cut(unseen.drop_duplicates("image_id"), column).items():
            part = _judge_slice(scores, members, ids, f"{column}: {value}", embedder, settings)
            if part[["num_members", "num_non_members"]].min(axis=None) >= MIN_SLICE:
                parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else NO_ROWS


def judge_events(scores, members, *, embedder, likeness, settings):
    """Compute the AUC by quarters of the query photos: by their similarity to the nearest training photo of the same identity.

    A leak that comes only from photos of one event disappears without the nearest quarter.

    Parameters
    ----------
    scores, members, embedder, settings : as in ``judge_slices``; ``scores`` has the column ``own_similarity`` of
        ``find_own_similarity``.
    likeness : str
        The embedder that measured this similarity, of ``choose_likeness``. Where it is ``embedder``, the slices are circular.

    Returns
    -------
    DataFrame of rows, slices ``own_similarity: 1 (far)`` to ``4 (near)``, and ``without the nearest quarter``; ``versus`` is
    ``likeness``. No rows for fewer than four photos.
    """
    unseen = scores[(scores.role == "query") & scores.own_similarity.notna()].drop_duplicates("image_id")
    if len(unseen) < 4:
        return NO_ROWS
    quarter = pd.qcut(unseen.own_similarity.rank(method="first"), 4, labels=["1 (far)", "2", "3", "4 (near)"])
    slices = {f"own_similarity: {q}": unseen.image_id[quarter == q] for q in quarter.cat.categories}
    slices["without the nearest quarter"] = unseen.image_id[quarter != "4 (near)"]
    parts = [_judge_slice(scores, members, ids, name, embedder, settings) for name, ids in slices.items()]
    return pd.concat(parts, ignore_index=True).assign(versus=likeness)


def _judge_slice(scores, members, ids, name, embedder, settings):
    """The rows of one slice, given by the image ids of its query photos."""
    queries = select_queries(scores[scores.image_id.isin(ids)], members, "identity_membership")
    return judge_queries(queries, ("auc",), settings, embedder=embedder, slice=name)


def _cut(photos, column):
    """Cut photos into slices: a dict, name -> image ids."""
    values = photos[column]
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 3:
        of_identity = photos.groupby("identity")[column]
        whole = of_identity.first() if (of_identity.nunique() <= 1).all() else values
        edges = np.unique(np.quantile(whole.dropna(), [0, 1 / 3, 2 / 3, 1]))
        names = [f"{k + 1} ({edges[k]:.3g} to {edges[k + 1]:.3g})" for k in range(len(edges) - 1)]
        third = pd.cut(values, edges, include_lowest=True, labels=names)
        return {name: photos.image_id[third == name] for name in names}
    return {str(name): ids.image_id for name, ids in photos.groupby(column)}
