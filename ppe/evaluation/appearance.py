"""Identity or appearance? The face recognition model against rivals that see no identity, and against look-alikes.

A leak is one of identity only if a face recognition model finds more than the best measure that was never trained to know
people. The rivals are those of ``ppe.attacks.appearance``.
"""

import numpy as np
import pandas as pd

from ppe.attacks.rivals import BASELINES, RIVALS
from ppe.attacks.selection import select_queries
from ppe.evaluation.tables import NO_ROWS, label_rows, match_rows
from ppe.statistics.intervals import compare_attacks
from ppe.statistics.matching import bootstrap_matched

MATCHED_SHARE = 0.25
"""Share of the non-members with whom a member is compared: those most like them."""


def compare_with_appearance(scores, members, *, num_resamples, seed=0):
    """Compute paired differences in AUC on the same query photos: ``nearest`` minus the baseline that ``versus`` names.

    Parameters
    ----------
    scores : DataFrame of ``ppe.attacks.queries.score_photos``.
    members : DataFrame, written by the trainer: group, image_id, identity.
    num_resamples, seed : as in ``ppe.statistics.intervals.compare_attacks``.

    Returns
    -------
    DataFrame of rows, attack ``nearest``, metric ``auc_difference``, one row an embedder and baseline. Above 0 the face
    recognition model is better. A baseline of one embedder is compared with that embedder's ``nearest`` alone.
    """
    parts = []
    baselines = scores[scores.attack.isin(BASELINES)]
    for embedder, table in scores[scores.attack == "nearest"].groupby("embedder", sort=False):
        first = select_queries(table, members, "identity_membership")
        for (seen_by, baseline), other in baselines.groupby(["embedder", "attack"], sort=False):
            if seen_by in (embedder, ""):
                second = select_queries(other, members, "identity_membership")
                row = compare_attacks(first, second, num_resamples=num_resamples, seed=seed)
                parts.append(label_rows([row], embedder=embedder, versus=baseline))
    return pd.concat(parts, ignore_index=True) if parts else NO_ROWS


def judge_appearance(rows, embedder):
    """Judge whether the leak is one of identity: the interval of ``nearest`` minus a rival lies above 0 for *every* rival.

    The best rival is picked after the scores are seen, so its own interval alone would not be enough. If each interval must lie
    above 0, no correction is needed: where one rival is at least as good, this happens with at most that interval's error rate
    (an intersection-union test, Berger 1982). Where there is no interval, below ten identities, nothing is shown to be identity.

    Parameters
    ----------
    rows : DataFrame
        With those of ``compare_with_appearance``, of one run. Of several seeds, the ends of their intervals are averaged, which
        is no narrower than one seed's interval.
    embedder : str

    Returns
    -------
    rival, difference, low, high, is_identity : str, float, float, float, bool
        The rival with the largest AUC, and the interval of ``nearest`` minus this rival.

    Raises
    ------
    ValueError
        If a rival is missing.
    """
    found = match_rows(rows, attack="nearest", metric="auc_difference", embedder=embedder, slice="all", member_group="pooled")
    found = found[found.versus.isin(RIVALS)]
    if missing := sorted(set(RIVALS) - set(found.versus)):
        raise ValueError(f"there are no rows of nearest minus {missing} for {embedder!r}: run 5_attack and 6_evaluate again")
    means = found.astype(dict.fromkeys(("value", "low", "high"), float)).groupby("versus")[["value", "low", "high"]]
    means = means.agg(lambda ends: ends.mean(skipna=False))
    best = means.value.idxmin()
    return best, *map(float, means.loc[best, ["value", "low", "high"]]), bool((means.low > 0).all())


def judge_look_alikes(scores, members, photos, features, *, embedder, num_resamples, seed=0):
    """Compute the AUC of the attack where each member is compared only with the non-members most like them.

    Alike by general features, and by the attributes of the photos where there are any. If the leak is one of appearance, the AUC
    falls towards 0.5.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the attack ``nearest`` by one embedder.
    members, num_resamples, seed : as in ``compare_with_appearance``.
    photos : DataFrame, N rows: identity, and columns ``attribute_*`` if there are any.
    features : Tensor or ndarray [N, D], float32. General features of the photos (``general`` of ``ppe.attacks.appearance``).
    embedder : str

    Returns
    -------
    DataFrame of pooled rows, slice ``look-alikes: all non-members`` (the headline, to compare with), ``look-alikes: general
    features`` and ``look-alikes: attributes``.
    """
    queries = select_queries(scores, members, "identity_membership")
    others = int(queries[~queries.is_member].groupby("member_group").identity.nunique().min())
    matches, attributes = max(1, int(np.ceil(MATCHED_SHARE * others))), encode_attributes(photos)
    by = {"all non-members": (features, others), "general features": (features, matches), "attributes": (attributes, matches)}
    rows = []
    for name, (values, num_matches) in by.items():
        if values.shape[1]:
            distance = measure_unlikeness(photos.identity, values)
            row = bootstrap_matched(queries, distance, num_matches, num_resamples=num_resamples, seed=seed)
            rows.append(label_rows([row], embedder=embedder, slice=f"look-alikes: {name}"))
    return pd.concat(rows, ignore_index=True)


def encode_attributes(photos):
    """Turn the columns ``attribute_*`` into numbers, each attribute of about equal weight: ndarray [N, K], K = 0 without any.

    Numbers are divided by their standard deviation. A text becomes one column a value, at a distance of 1 between two values.
    """
    columns = photos.filter(like="attribute_")
    numbers = columns.select_dtypes("number")
    texts = columns.drop(columns=numbers.columns)
    texts = pd.get_dummies(texts.astype(str), dtype=float) if texts.shape[1] else texts
    spread = numbers.std().replace(0, 1)
    return np.column_stack([((numbers - numbers.mean()) / spread).fillna(0), texts / np.sqrt(2)]).astype(np.float64)


def measure_unlikeness(identity, values):
    """Compute the Euclidean distance between the means of any two identities: DataFrame [P, P], small = alike.

    identity : sequence of N; values : ndarray [N, K].
    """
    means = pd.DataFrame(np.asarray(values, np.float64)).groupby(np.asarray(identity)).mean()
    rows = means.to_numpy()
    squares = (rows**2).sum(1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0))
    return pd.DataFrame(apart, means.index, means.index)
