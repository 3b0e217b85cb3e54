"""Draws of people, never of photos: bootstrap samples and permutation p-values of how an attack is judged.

What is judged is a table ``queries``, one row a score: ``member_group`` (which GAN gave the score), ``identity``, ``is_member``
(in that GAN's training set) and ``score`` (large = member). A person of group a is a member for GAN a and a non-member
for GAN b, so each person carries both roles and both GANs are resampled together. Scores of two GANs are never compared
with one another: *pooled* is the mean of the two halves' values. Tables of one half, and tables of one row a person
(``attacks.aggregate_scores``), go through the same functions.

The AUC is a share of (member photo, non-member photo) pairs. So all that a resample of people needs is one matrix a
half, wins[p, q]: the number of pairs that photos of person p win against photos of person q. A resample in which person
p stands counts[p] times has AUC counts @ wins @ counts / (its pairs): two thousand of them are one matrix product.
"""

import numpy as np
import pandas as pd

from ppe.statistics.metrics import FPR_OF, METRICS, check_scores


def resample_identities(queries, metric="auc", *, num_resamples=2000, seed=0):
    """Draw people with replacement, a group at a time, and compute the metric of each draw: its mean over the halves.

    The draws depend on the people, their groups and the seed alone: two attacks on the same people are resampled alike.

    Parameters
    ----------
    queries : DataFrame. ``member_group``, ``identity``, ``is_member`` (bool), ``score`` (large = member).
    metric : str. One of ``METRICS``.
    num_resamples, seed : int

    Returns
    -------
    value : float. Of the queries as they are; large = the attack works. NaN where the metric is not defined.
    samples : ndarray [num_resamples], float64.

    Raises
    ------
    ValueError
        If a column is missing or of the wrong kind, a score is not finite, the metric is unknown, or the people are of
        more than two kinds (say, one has photos in one half only, so that there is no resampling both halves alike).
    """
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is not one of {list(METRICS)}")
    member_groups, group = arrange_identities(queries)
    counts = draw_identities(group, num_resamples, seed)
    values = np.mean([_weigh_half(*member_group, counts, metric) for member_group in member_groups], axis=0)
    return float(values[0]), values[1:]


def draw_identities(group, num_resamples, seed):
    """Draw identities with replacement, a group at a time: how often each one stands in each resample.

    Parameters
    ----------
    group : ndarray [P], int. Group number of each identity, as ``arrange_identities`` returns it.
    num_resamples, seed : int

    Returns
    -------
    counts : ndarray [1 + num_resamples, P], float64. Row 0 is the sample itself: each identity once.
    """
    rng = np.random.default_rng(seed)
    counts = np.ones((1 + num_resamples, len(group)))
    for people in (np.flatnonzero(group == g) for g in range(group.max() + 1)):
        counts[1:, people] = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), num_resamples)
    return counts


def arrange_identities(queries):
    """Check ``queries``; return one (score, person number, is_member) a half, and each person's group number [P]."""
    columns = ["member_group", "identity", "is_member", "score"]
    if missing := [name for name in columns if name not in queries]:
        raise ValueError(f"queries have no column {missing}; {columns} are needed")
    check_scores(queries["score"], queries["is_member"])
    person, _ = pd.factorize(queries["identity"], sort=True)
    if len(person) == 0 or person.min() < 0:
        raise ValueError("queries are empty or have a row without an identity; each row needs one")
    member_group, names = pd.factorize(queries["member_group"], sort=True)
    score, is_member = queries["score"].to_numpy(np.float64), queries["is_member"].to_numpy(bool)

    # People of one group have the same roles: a is member for GAN a and non-member for GAN b, b the other way round.
    roles = np.zeros((person.max() + 1, len(names), 2), dtype=bool)
    roles[person, member_group, is_member.astype(int)] = True
    kinds, group = np.unique(roles.reshape(len(roles), -1), axis=0, return_inverse=True)
    if len(kinds) > 2:
        raise ValueError(f"people have {len(kinds)} different sets of roles in the halves, but two groups have at most "
                         "2: score everybody in both halves")
    member_groups = [(score[member_group == h], person[member_group == h], is_member[member_group == h]) for h in range(len(names))]
    return member_groups, pd.factorize(group.reshape(-1))[0]  # the first person's group is 0, whichever role it has


def count_identities(member_groups):
    """People on either side, of the half that has fewest."""
    members = [len(np.unique(person[is_member])) for _, person, is_member in member_groups]
    non_members = [len(np.unique(person[~is_member])) for _, person, is_member in member_groups]
    return {"num_members": min(members), "num_non_members": min(non_members)}


def _weigh_half(score, person, is_member, counts, metric):
    """Compute the metric where person p stands ``counts[r, p]`` times: [R]."""
    num_identities = len(np.unique(person[~is_member]))
    if is_member.all() or not is_member.any() or FPR_OF.get(metric, 1) < 1 / num_identities:
        return np.full(len(counts), np.nan)
    if metric == "auc" and has_both_roles([(score, person, is_member)]):
        won, pairs = _count_own_pairs(score, person, is_member, counts.shape[1])
        with np.errstate(invalid="ignore"):  # nobody drawn has a pair
            return (counts @ won) / (counts @ pairs)
    if metric == "auc":
        return weigh_pairs(score, person, is_member, ~is_member, counts, counts)

    # Walk down the scores; equal ones are one threshold. Rows go in parts, so that memory does not grow with R * N.
    order = np.argsort(-score, kind="stable")
    person, is_member = person[order], is_member[order]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    values = []
    for part in np.array_split(counts, 1 + counts.shape[0] * len(score) // 2**20):
        weight = part[:, person]
        found = np.cumsum(weight * is_member, axis=1)[:, ends]
        false = np.cumsum(weight * ~is_member, axis=1)[:, ends]
        if metric == "average_precision":
            gained = np.diff(found, axis=1, prepend=0) / found[:, -1:]
            values.append((gained * found / np.maximum(found + false, 1)).sum(1))
        else:
            is_allowed = false / false[:, -1:] <= FPR_OF[metric]
            values.append((found * is_allowed).max(1) / found[:, -1])
    return np.concatenate(values)


def _count_own_pairs(score, person, is_member, num_identities):
    """(pairs won, pairs) of each person's own photos, member against non-member: [P] each."""
    won, pairs = np.zeros(num_identities), np.zeros(num_identities)
    for p in np.unique(person):
        inside, outside = score[(person == p) & is_member], score[(person == p) & ~is_member]
        pairs[p] = len(inside) * len(outside)
        won[p] = ((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)).sum()
    return won, pairs


def weigh_pairs(score, person, is_left, is_right, left_weight, right_weight):
    """Compute the AUC of the photos ``is_left`` against ``is_right`` for weights [R, P] of the people on both sides."""
    num_identities = left_weight.shape[1]
    left_score, left_person = score[is_left], person[is_left]
    wins = np.zeros((num_identities, num_identities))
    for q in np.unique(person[is_right]):
        other = np.sort(score[is_right & (person == q)])
        won = (np.searchsorted(other, left_score, "left") + np.searchsorted(other, left_score, "right")) / 2
        wins[:, q] = np.bincount(left_person, won, num_identities)
    num_left, num_right = (np.bincount(person[side], minlength=num_identities) for side in (is_left, is_right))
    with np.errstate(invalid="ignore"):  # 0 / 0 pairs is NaN
        return ((left_weight @ wins) * right_weight).sum(1) / ((left_weight @ num_left) * (right_weight @ num_right))


def has_both_roles(member_groups):
    return any(np.intersect1d(person[is_member], person[~is_member]).size for _, person, is_member in member_groups)
