"""Is a person more exposed than people who were surely not in the training set? Conformal p-values, and one test of the group.

The controls are divided once. One part, the *cohort*, normalises scores. The other, the *comparison* people, gives p-values. A
person who was not in the training set is then exchangeable with the comparison people, and their p-value is uniform (Vovk et al.
2005, *Algorithmic Learning in a Random World*). A list of people is corrected as by Benjamini and Hochberg (1995), which holds
for conformal p-values that share their controls (Bates et al. 2023, *Testing for outliers with conformal p-values*).
"""

import hashlib
import math

import numpy as np
import pandas as pd
from scipy import stats

from ppe.statistics.intervals import bootstrap_identities
from ppe.statistics.permutation import permute_identities

MIN_COHORT, MIN_COMPARED = 2, 5
"""People of either part, at least."""
MAX_GROUP = 3000
"""People on a side of the group test, at most."""


def split_controls(identity, *, cohort_share, max_cohort, seed):
    """Divide control people into the cohort and the comparison people.

    Parameters
    ----------
    identity : array [N] of str, of each control photo.
    cohort_share, max_cohort : float, int. Share of the people in the cohort, and most of them.
    seed : int

    Returns
    -------
    is_cohort : ndarray [N], bool. All photos of a person are on one side.

    Raises
    ------
    ValueError
        If there are too few people.
    """
    people = np.unique(np.asarray(identity, str))
    refuse_few(len(people), "have a face")
    count = int(np.clip(round(cohort_share * len(people)), MIN_COHORT, min(max_cohort, len(people) - MIN_COMPARED)))
    chosen = np.random.default_rng(seed).choice(people, count, replace=False)
    return np.isin(np.asarray(identity, str), chosen)


def refuse_few(count, how):
    """Raise ValueError if ``count`` control people are too few for an audit. how : str, what the sentence says of them."""
    least = MIN_COHORT + MIN_COMPARED
    if count < least:
        raise ValueError(
            f"{count} control people {how}, but at least {least} are needed ({MIN_COHORT} to normalise scores and {MIN_COMPARED} "
            "to compare with), and a hundred or more to say anything about one person (--controls)"
        )


def order_photos(identity, seed):
    """The place of each photo in a random order of its person's photos, from 0; it depends on (seed, name) alone: int [N]."""
    identity = np.asarray(identity, str)
    place = np.zeros(len(identity), int)
    for name in np.unique(identity):
        rows = np.flatnonzero(identity == name)
        digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "backslashreplace")).digest()
        place[rows] = np.random.default_rng(int.from_bytes(digest[:8], "little")).permutation(len(rows))
    return place


def choose_count(num_photos, control_counts, photo_share):
    """How many photos of a person are used, so that enough controls have as many.

    Parameters
    ----------
    num_photos : int, of the person.
    control_counts : ndarray [n], int, photos of each comparison person.
    photo_share : float. Share of the comparison people who must have as many.

    Returns
    -------
    int, 1 to ``num_photos``.
    """
    for count in range(num_photos, 1, -1):
        if np.mean(control_counts >= count) >= photo_share:
            return count
    return 1


def average_photos(scores, identity, place, count):
    """Mean score of each person's first ``count`` photos: Series by name; people with fewer photos are left out.

    scores : ndarray [N]; identity : ndarray [N] of str; place : int [N] of ``order_photos``.
    """
    table = pd.Series(scores).groupby(identity).agg(["size"])
    used = place < count
    means = pd.Series(scores[used]).groupby(np.asarray(identity)[used]).mean()
    return means[table["size"].reindex(means.index) >= count]


def compute_p(score, controls):
    """Conformal p-value, (1 + controls that score at least as high) / (1 + controls): float, small = more exposed."""
    return (1 + int((np.asarray(controls) >= score).sum())) / (1 + len(controls))


def fuse_scores(person, controls):
    """Combine several scores: the mean of each, standardised over the controls and the person.

    The person counts among those who standardise, as each control does. The combination therefore treats all alike, and its
    p-value is as exact as that of one model.

    Parameters
    ----------
    person : ndarray [scores], float.
    controls : ndarray [scores, n], float.

    Returns
    -------
    (float, ndarray [n]). Large = member.
    """
    pool = np.column_stack([controls, person])
    spread = pool.std(1, keepdims=True)
    fused = ((pool - pool.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)).mean(0)
    return float(fused[-1]), fused[:-1]


def score_people(people, controls, *, photo_share, seed):
    """P-values of people by each model, and by all models together.

    Parameters
    ----------
    people, controls : (dict ``<model>/<attack>`` -> ndarray [N] of float, ndarray [N] of str)
        Scores of photos, large = member, and whose photos they are. The controls are the comparison people.
    photo_share : as in ``choose_count``.
    seed : int, of the photos that are used.

    Returns
    -------
    DataFrame, one row a person, smallest p-value first
        ``identity``; ``num_photos``, ``photos_used``, ``num_controls`` (with as many photos); ``p_<model>``; ``score``,
        ``p_value``: of all models together; ``min_p``, the smallest that so many controls can give.
    """
    (scores, identity), (control_scores, control_identity) = people, controls
    places = order_photos(identity, seed), order_photos(control_identity, seed)
    counts = pd.Series(1, index=control_identity).groupby(level=0).sum().to_numpy()
    sizes = pd.Series(1, index=identity).groupby(level=0).sum()
    rows = []
    used = {name: choose_count(size, counts, photo_share) for name, size in sizes.items()}
    for count in sorted(set(used.values())):
        own = {m: average_photos(v, identity, places[0], count) for m, v in scores.items()}
        others = {m: average_photos(v, control_identity, places[1], count) for m, v in control_scores.items()}
        against = np.array([others[key].to_numpy() for key in scores])
        models = pd.Series([key.partition("/")[0] for key in scores])
        for name in (name for name, needed in used.items() if needed == count):
            person = np.array([own[key][name] for key in scores])
            row = {"identity": name, "num_photos": int(sizes[name]), "photos_used": count, "num_controls": against.shape[1]}
            for model in models.unique():
                chosen = (models == model).to_numpy()
                row[f"p_{model}"] = compute_p(*fuse_scores(person[chosen], against[chosen]))
            score, others_fused = fuse_scores(person, against)
            row |= {"score": score, "p_value": compute_p(score, others_fused), "min_p": 1 / (1 + against.shape[1])}
            rows.append(row)
    return pd.DataFrame(rows).sort_values(["p_value", "score"], ascending=[True, False], ignore_index=True)


def flag_people(table, rate):
    """Add ``q_value`` (the p-value after the correction of Benjamini and Hochberg) and ``is_flagged`` to ``score_people``."""
    q_value = stats.false_discovery_control(table.p_value, method="bh")
    return table.assign(q_value=q_value, is_flagged=q_value <= rate)


def count_needed(num_people, num_controls, rate):
    """How many of ``num_people`` must have the smallest possible p-value before one can be flagged: int, at least 1."""
    return max(1, math.ceil(num_people / (rate * (num_controls + 1)) - 1e-9))


def compare_group(people, controls, *, photo_share, options, name):
    """Test whether people together score higher than the comparison people.

    Parameters
    ----------
    people, controls, photo_share : as in ``score_people``.
    options : dict, ``num_resamples``, ``num_permutations`` and ``seed``.
    name : str, of the group.

    Returns
    -------
    row : dict
        ``group``, ``auc``, ``low``, ``high`` (NaN below 10 people a side), ``p_value`` of the permutation, ``num_people``,
        ``num_controls``, ``photos_used``.
    queries : DataFrame, as in ``ppe.statistics.resampling``: one row a person, for the ROC curve.
    """
    queries, count = arrange_group(people, controls, photo_share=photo_share, seed=options["seed"])
    queries = _draw_people(queries, options["seed"])
    resampling = {key: options[key] for key in ("num_resamples", "seed")}
    row = bootstrap_identities(queries, **resampling)
    permuted = permute_identities(queries, num_permutations=options["num_permutations"], seed=options["seed"])
    return {
        "group": name, "auc": row["value"], "low": row["low"], "high": row["high"], "p_value": permuted["p_value"],
        "num_people": row["num_members"], "num_controls": row["num_non_members"], "photos_used": count,
    }, queries  # fmt: skip


def _draw_people(queries, seed):
    """At most ``MAX_GROUP`` people a side, drawn at random: the permutation test holds all pairs of people in memory."""
    order = np.random.default_rng(seed).permutation(len(queries))
    place = queries.iloc[order].groupby("is_member").cumcount()
    return queries.loc[np.sort(place.index[place < MAX_GROUP])].reset_index(drop=True)


def arrange_group(people, controls, *, photo_share, seed):
    """One row a person, with as many photos each: (queries of ``ppe.statistics.resampling``, int photos used of each).

    Scores of several models are standardised over people and controls together, which does not tell them apart.
    """
    (scores, identity), (control_scores, control_identity) = people, controls
    sizes, counts = (pd.Series(1, index=names).groupby(level=0).sum().to_numpy() for names in (identity, control_identity))
    # The group keeps at least the share of its people that it asks of the controls.
    count = choose_count(int(sizes.max()), np.concatenate([sizes, counts]), photo_share)
    parts = []
    for names, values, is_member in ((identity, scores, True), (control_identity, control_scores, False)):
        means = {m: average_photos(v, names, order_photos(names, seed), count) for m, v in values.items()}
        parts.append(pd.DataFrame(means).rename_axis("identity").reset_index().assign(is_member=is_member))
    queries = pd.concat(parts, ignore_index=True)
    columns = queries[list(scores)]
    spread = columns.std(ddof=0).replace(0, 1)
    return queries.assign(score=((columns - columns.mean()) / spread).mean(axis=1), member_group="people"), count
