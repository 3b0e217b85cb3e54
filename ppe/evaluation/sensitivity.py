"""What the leak depends on: how much the attacker has, how alike query and training photo are, who the person is, and
which net looks. Rows of the same table as ``ppe.evaluation.membership``'s, told apart by their column ``slice``.
"""


import numpy as np
import pandas as pd
import torch

from ppe.attacks.queries import MEMBER_GROUPS, aggregate_queries, select_queries
from ppe.attacks.scores import score_nearest
from ppe.evaluation.tables import NO_ROWS, judge_queries, label_rows
from ppe.statistics.intervals import bootstrap_identities

MIN_SLICE = 4
"""Identities on either side below which a slice is left out: one to three say nothing about a slice."""


def judge_efforts(photos, embeddings, generated, members, sizes, *, embedder, settings):
    """AUC of the identity attack against the number of generated faces that the attacker looks at.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role.
    embeddings : Tensor [N, D], float32, unit L2 norm.
    generated : dict, half -> Tensor [M, D]. The first ``size`` rows are looked at.
    members : DataFrame, written by the trainer.
    sizes : sequence of int. Those above M are left out; M is added.
    embedder : str
    settings : dict for ``ppe.statistics.intervals.evaluate_groups``.

    Returns
    -------
    DataFrame of rows, slice ``generated faces``, their number in ``num_generated``.
    """
    total = min(len(generated[member_group]) for member_group in MEMBER_GROUPS)
    best = {member_group: np.full(len(photos), -np.inf) for member_group in MEMBER_GROUPS}
    parts, start = [], 0
    for size in sorted({*(s for s in sizes if s < total), total}):
        for member_group in MEMBER_GROUPS:
            block = generated[member_group][start:size]
            best[member_group] = np.maximum(best[member_group], score_nearest(query_embeddings=embeddings, generated_embeddings=block))
        scores = pd.concat([photos.assign(face_set=member_group, score=best[member_group]) for member_group in MEMBER_GROUPS], ignore_index=True)
        queries = select_queries(scores, members, "identity_membership")
        rows = judge_queries(queries, ("auc",), settings, embedder=embedder, slice="generated faces")
        parts.append(rows.assign(num_generated=size))
        start = size
    return pd.concat(parts, ignore_index=True)


def judge_photos_held(scores, members, *, embedder, num_resamples, seed=0):
    """AUC per person (mean score) against how many unseen photos of each person the attacker holds.

    Every photo stands in as many of the hands as any other (cyclic choices), and the AUC is the mean over the hands,
    resampled together.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the identity attack by one embedder.
    members, num_resamples, seed : as in ``ppe.evaluation.membership.evaluate_scores``.

    Returns
    -------
    DataFrame of pooled rows, slice ``photos held: n``, level ``person``.
    """
    queries = select_queries(scores, members, "identity_membership")
    rank = queries.groupby(["member_group", "identity"]).cumcount()
    most = int(queries.groupby(["member_group", "identity"]).size().min())
    parts = []
    for held in range(1, most + 1):
        hands = []
        for first in range(most if held < most else 1):
            chosen = queries[((rank - first) % most < held) & (rank < most)]
            hands.append(aggregate_queries(chosen.assign(member_group=chosen.member_group + str(first)), "mean"))
        row = bootstrap_identities(pd.concat(hands, ignore_index=True), num_resamples=num_resamples, seed=seed)
        keys = {"embedder": embedder, "level": "identity", "aggregate": "mean", "slice": f"photos held: {held}"}
        parts.append(label_rows([row], **keys))
    return pd.concat(parts, ignore_index=True)


def find_own_similarity(embeddings, photos):
    """Cosine of each query to the nearest of its own person's train photos: near ones may be of the same event.

    embeddings Tensor [N, D], unit norm; photos DataFrame with N rows. Returns ndarray [N], NaN for train photos.
    """
    asked, train = (np.flatnonzero(photos.role == role) for role in ("query", "train"))
    identity = pd.factorize(photos.identity)[0]
    own = torch.as_tensor(identity[asked][:, None] == identity[train][None])
    nearest = (embeddings[asked] @ embeddings[train].T).masked_fill(~own, -torch.inf).amax(1).cpu().numpy()
    similarity = np.full(len(photos), np.nan)
    similarity[asked] = np.where(np.isfinite(nearest), nearest, np.nan)
    return similarity


def judge_slices(scores, members, columns, *, embedder, settings):
    """AUC of the identity attack within slices of the queries, by columns of ``scores``.

    Dozens of slices are looked at: of twenty that hold nothing, one is expected to lie outside its interval.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the identity attack by one embedder, with the columns.
    columns : sequence of str. A column of text is sliced by value, one of numbers into thirds: of the people where it is
        the same in all photos of a person, else of the queries. Equal numbers stay together.
    members, embedder, settings : as in ``judge_efforts``.

    Returns
    -------
    DataFrame of rows, slice ``<column>: <value>``. Below ten people a side there is no interval.
    """
    parts = []
    for column in columns:
        asked = scores[scores.role == "query"]
        for value, ids in _cut(asked.drop_duplicates("image_id"), column).items():
            part = _judge_slice(scores, members, ids, f"{column}: {value}", embedder, settings)
            if part[["num_members", "num_non_members"]].min(axis=None) >= MIN_SLICE:
                parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else NO_ROWS


def judge_events(scores, members, *, embedder, settings):
    """AUC by the queries' similarity to their person's nearest train photo, and without the nearest quarter.

    scores : as in ``judge_slices``, with the column ``own_similarity`` of ``find_own_similarity``. A leak that lived on
    photos of one event would vanish with the nearest quarter. Slices ``own_similarity: 1 (far)`` to ``4 (near)`` and
    ``without the nearest quarter``.
    """
    asked = scores[(scores.role == "query") & scores.own_similarity.notna()].drop_duplicates("image_id")
    if len(asked) < 4:
        return NO_ROWS
    quarter = pd.qcut(asked.own_similarity.rank(method="first"), 4, labels=["1 (far)", "2", "3", "4 (near)"])
    slices = {f"own_similarity: {q}": asked.image_id[quarter == q] for q in quarter.cat.categories}
    slices["without the nearest quarter"] = asked.image_id[quarter != "4 (near)"]
    parts = [_judge_slice(scores, members, ids, name, embedder, settings) for name, ids in slices.items()]
    return pd.concat(parts, ignore_index=True)


def _judge_slice(scores, members, ids, name, embedder, settings):
    queries = select_queries(scores[scores.image_id.isin(ids)], members, "identity_membership")
    return judge_queries(queries, ("auc",), settings, embedder=embedder, slice=name)


def _cut(photos, column):
    """Slice name -> image ids."""
    values = photos[column]
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 3:
        of_person = photos.groupby("identity")[column]
        whole = of_person.first() if (of_person.nunique() <= 1).all() else values
        edges = np.unique(np.quantile(whole.dropna(), [0, 1 / 3, 2 / 3, 1]))
        names = [f"{k + 1} ({edges[k]:.3g} to {edges[k + 1]:.3g})" for k in range(len(edges) - 1)]
        third = pd.cut(values, edges, include_lowest=True, labels=names)
        return {name: photos.image_id[third == name] for name in names}
    return {str(name): ids.image_id for name, ids in photos.groupby(column)}
