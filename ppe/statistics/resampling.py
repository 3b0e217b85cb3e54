"""Bootstrap samples of identities, and the metric of each sample. Photos are never resampled: those of one person are alike.

The input is a table ``queries``, one row a score: ``member_group`` (the group on which the scoring generator was trained),
``identity``, ``is_member`` (whether this identity is in that group) and ``score`` (large = member). An identity of group A is a
member for generator A and a non-member for generator B. So each identity has both roles, and both generators are resampled
together. Scores of two generators are never compared with each other: a *pooled* value is the mean of the two generators'
values. The same functions take tables of one member group, and tables with one row an identity
(``ppe.attacks.selection.aggregate_scores``).

The AUC is a share of (member photo, non-member photo) pairs. A matrix holds, for each member group, the pairs that photos of
identity p win against photos of identity q: wins[p, q]. If a sample holds identity p counts[p] times, its AUC is
counts @ wins @ counts, divided by its number of pairs. Two thousand samples are one matrix product.
"""

import numpy as np
import pandas as pd

from ppe.statistics.metrics import FPR_OF, METRICS, check_scores


def resample_identities(queries, metric="auc", *, num_resamples=2000, seed=0, whole=None):
    """Draw identities with replacement within each group, and compute the metric of each draw, averaged over member groups.

    The draws depend only on the groups of the identities, in the order of their names, and on the seed. Two attacks on the same
    identities share their draws.

    Parameters
    ----------
    queries : DataFrame. ``member_group``, ``identity``, ``is_member`` (bool), ``score`` (large = member).
    metric : str. One of ``ppe.statistics.metrics.METRICS``.
    num_resamples, seed : int
    whole : DataFrame or None
        The table of both member groups, where ``queries`` is one of them: an identity then has the draws that it has in the
        pooled value. Where each member group holds its own people (``photo_given_identity``), two groups that are drawn
        apart with one seed would have the same numbers for different people.

    Returns
    -------
    value : float
        The metric of the queries themselves; large = the attack works. NaN where the metric is not defined. A TPR at an FPR is
        the largest TPR of a threshold whose FPR does not exceed it. It is not interpolated, and not defined below 1 / n for n
        non-members (identities).
    samples : ndarray [num_resamples], float64.

    Raises
    ------
    ValueError
        If a column is missing or of the wrong kind, a score is not finite, or the metric is unknown; if the identities have more
        than two different sets of roles, for example where one of them is scored by one generator only.
    """
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is not one of {list(METRICS)}")
    member_groups, group = arrange_identities(queries)
    counts = draw_identities(group if whole is None else arrange_identities(whole)[1], num_resamples, seed)
    if whole is not None:
        counts = counts[:, np.isin(np.unique(whole["identity"]), queries["identity"])]
    values = np.mean([_weigh_metric(*member_group, counts, metric) for member_group in member_groups], axis=0)
    return float(values[0]), values[1:]


def resample_together(tables, metric="auc", *, num_resamples=2000, seed=0):
    """Draw identities with replacement from all that stand in several runs, and compute each run's metric of each draw.

    An identity is drawn once for all runs, with all its rows, whatever its group in each. So the number of identities of a group
    varies from draw to draw, unlike in ``resample_identities``.

    Parameters
    ----------
    tables : list of DataFrame. Queries as in ``resample_identities``; an identity has one name in all of them.
    metric, num_resamples, seed : as in ``resample_identities``.

    Returns
    -------
    samples : ndarray [runs, num_resamples], float64. NaN where a draw leaves a run without members or non-members.

    Raises
    ------
    ValueError
        As ``resample_identities``.
    """
    names = [np.unique(table["identity"]) for table in tables]
    everybody = np.unique(np.concatenate(names))
    share = np.full(len(everybody), 1 / len(everybody))
    counts = np.random.default_rng(seed).multinomial(len(everybody), share, num_resamples).astype(np.float64)
    samples = []
    for table, own in zip(tables, names, strict=True):
        drawn = counts[:, np.searchsorted(everybody, own)]
        member_groups, _ = arrange_identities(table)
        samples.append(np.mean([_weigh_metric(*member_group, drawn, metric) for member_group in member_groups], axis=0))
    return np.stack(samples)


def draw_identities(group, num_resamples, seed):
    """Draw identities with replacement within each group: how often is each one in each sample?

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
    for own in (np.flatnonzero(group == g) for g in range(group.max() + 1)):
        counts[1:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), num_resamples)
    return counts


def arrange_identities(queries):
    """Check ``queries`` and turn it into arrays.

    Returns
    -------
    member_groups : list of (score [N], identity number [N], is_member [N]), one for each member group.
    group : ndarray [P], int. Group number of each identity.

    Raises
    ------
    ValueError
        As ``resample_identities``.
    """
    columns = ["member_group", "identity", "is_member", "score"]
    if missing := [name for name in columns if name not in queries]:
        raise ValueError(f"queries have no column {missing}; {columns} are needed")
    check_scores(queries["score"], queries["is_member"])
    number, _ = pd.factorize(queries["identity"], sort=True)
    if len(number) == 0 or number.min() < 0:
        raise ValueError("queries are empty or have a row without an identity; each row needs one")
    member_group, names = pd.factorize(queries["member_group"], sort=True)
    score, is_member = queries["score"].to_numpy(np.float64), queries["is_member"].to_numpy(bool)

    # Identities of one group have the same roles: member for their own generator, non-member for the other.
    roles = np.zeros((number.max() + 1, len(names), 2), dtype=bool)
    roles[number, member_group, is_member.astype(int)] = True
    kinds, group = np.unique(roles.reshape(len(roles), -1), axis=0, return_inverse=True)
    if len(kinds) > 2:
        raise ValueError(f"identities have {len(kinds)} different sets of roles, but two groups have at most 2: "
                         "score every identity by both generators")
    rows = [member_group == g for g in range(len(names))]
    # Groups are numbered by first appearance, so that the order of draws does not depend on which roles a group has.
    return [(score[own], number[own], is_member[own]) for own in rows], pd.factorize(group.reshape(-1))[0]


def count_identities(member_groups):
    """Count the member and the non-member identities of the member group that has fewest."""
    members = [len(np.unique(number[is_member])) for _, number, is_member in member_groups]
    non_members = [len(np.unique(number[~is_member])) for _, number, is_member in member_groups]
    return {"num_members": min(members), "num_non_members": min(non_members)}


def weigh_pairs(score, number, is_left, is_right, left_weight, right_weight):
    """Compute the AUC of the photos ``is_left`` against ``is_right`` for weights [R, P] of the identities on each side: [R]."""
    num_identities = left_weight.shape[1]
    left_score, left_number = score[is_left], number[is_left]
    wins = np.zeros((num_identities, num_identities))
    for q in np.unique(number[is_right]):
        other = np.sort(score[is_right & (number == q)])
        won = (np.searchsorted(other, left_score, "left") + np.searchsorted(other, left_score, "right")) / 2
        wins[:, q] = np.bincount(left_number, won, num_identities)
    num_left, num_right = (np.bincount(number[side], minlength=num_identities) for side in (is_left, is_right))
    with np.errstate(invalid="ignore"):  # 0 / 0 pairs is NaN
        return ((left_weight @ wins) * right_weight).sum(1) / ((left_weight @ num_left) * (right_weight @ num_right))


def has_both_roles(member_groups):
    """Whether an identity is both member and non-member of one member group, as in ``photo_given_identity``."""
    return any(np.intersect1d(number[is_member], number[~is_member]).size for _, number, is_member in member_groups)


def _weigh_metric(score, number, is_member, counts, metric):
    """Compute the metric of samples that hold identity p ``counts[r, p]`` times: [R]."""
    num_non_members = len(np.unique(number[~is_member]))
    if is_member.all() or not is_member.any() or FPR_OF.get(metric, 1) < 1 / num_non_members:
        return np.full(len(counts), np.nan)
    if metric == "auc" and has_both_roles([(score, number, is_member)]):
        won, pairs = _count_own_pairs(score, number, is_member, counts.shape[1])
        with np.errstate(invalid="ignore"):  # a sample may hold no identity with a pair
            return (counts @ won) / (counts @ pairs)
    if metric == "auc":
        return weigh_pairs(score, number, is_member, ~is_member, counts, counts)

    # Walk down the scores; equal ones are one threshold. Samples go in parts, so that memory does not grow with R * N.
    order = np.argsort(-score, kind="stable")
    number, is_member = number[order], is_member[order]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    values = []
    for part in np.array_split(counts, 1 + counts.shape[0] * len(score) // 2**20):
        weight = part[:, number]
        found = np.cumsum(weight * is_member, axis=1)[:, ends]
        false = np.cumsum(weight * ~is_member, axis=1)[:, ends]
        if metric == "average_precision":
            gained = np.diff(found, axis=1, prepend=0) / found[:, -1:]
            values.append((gained * found / np.maximum(found + false, 1)).sum(1))
        else:
            is_allowed = false / false[:, -1:] <= FPR_OF[metric]
            values.append((found * is_allowed).max(1) / found[:, -1])
    return np.concatenate(values)


def _count_own_pairs(score, number, is_member, num_identities):
    """Count the pairs won, and all pairs, of each identity's own photos, member against non-member: [P] each."""
    won, pairs = np.zeros(num_identities), np.zeros(num_identities)
    for p in np.unique(number):
        inside, outside = score[(number == p) & is_member], score[(number == p) & ~is_member]
        pairs[p] = len(inside) * len(outside)
        won[p] = ((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)).sum()
    return won, pairs
