"""Permutation tests whose unit is the identity: is an attack's AUC larger than chance, and is the test itself sound?"""

import numpy as np
from scipy import stats

from ppe.statistics.resampling import arrange_identities, count_identities, has_both_roles, weigh_pairs

BLOCK = 2**21
"""Labels that are shuffled at a time (16 MB). Memory does not grow with the permutations, and p does not depend on it."""


def permute_identities(queries, *, num_permutations=2000, seed=0):
    """Test whether the AUC, averaged over member groups, is larger than chance, by reassigning identities to groups.

    Group labels are shuffled over whole identities. An identity keeps its scores under both generators, and its role changes
    in both member groups. Where identities are member and non-member of one member group (which of their photos were used for
    training?), the photos of each identity are shuffled instead.

    Parameters
    ----------
    queries : DataFrame, as in ``ppe.statistics.resampling.resample_identities``.
    num_permutations, seed : int

    Returns
    -------
    row : dict
        ``metric``, ``value``; ``p_value``: (1 + shuffles that reach the value) / (1 + shuffles) (Phipson and Smyth 2010),
        one-sided, small = larger than chance, NaN where the AUC is; ``num_members``, ``num_non_members`` (identities).

    Raises
    ------
    ValueError
        As ``resample_identities``.
    """
    arranged = arrange_identities(queries)
    values = _permute(queries, *arranged, num_permutations, np.random.default_rng(seed), seed)
    return {"metric": "auc", "value": float(values[0]), "p_value": _count_reached(values), **count_identities(arranged[0])}


def permute_runs(tables, *, num_permutations=2000, seed=0):
    """Test whether the mean AUC of several runs is larger than chance, by reassigning each run's identities to its groups.

    The runs are several seeds of one setting. What is exchangeable: a seed deals the identities that it draws out to the groups
    at random, and each seed deals anew. If nothing leaks, scores do not depend on that deal. So the labels of each run may be
    shuffled among its own identities, independently of the other runs. This holds also where an identity stands in several runs,
    in whatever groups: its scores stay as they are, however alike, and only labels move. Names are therefore not needed.

    Runs of *one* seed and different sizes are another case, since they deal their shared identities alike: not for this test.

    Parameters
    ----------
    tables : list of DataFrame. Queries of each run, as in ``permute_identities``.
    num_permutations, seed : int

    Returns
    -------
    row : dict
        ``metric``, ``value``: the mean; ``p_value`` as in ``permute_identities``.

    Raises
    ------
    ValueError
        As ``permute_identities``, or if there is no run.
    """
    if not tables:
        raise ValueError("no runs to test: at least one is needed")
    # The first run's random numbers are those that it has alone.
    streams = [np.random.default_rng([seed, number] if number else seed) for number in range(len(tables))]
    pairs = zip(tables, streams, strict=True)
    values = [_permute(queries, *arrange_identities(queries), num_permutations, stream, seed) for queries, stream in pairs]
    values = np.mean(values, axis=0)
    return {"metric": "auc", "value": float(values[0]), "p_value": _count_reached(values)}


def permute_often(queries, *, num_shuffles, num_permutations=199, level=0.05, seed=0):
    """Check the permutation test where nothing leaks: how often is it significant after identities swap groups?

    Group labels are shuffled in the table itself, independently of the code under test. ``permute_identities`` then tests the
    shuffled table. A test whose unit were the photo would be significant far too often.

    Parameters
    ----------
    queries : DataFrame as in ``permute_identities``, one group of identities a member group.
    num_shuffles : int. Tables with shuffled labels.
    num_permutations : int. Permutations of each test.
    level : float. A table counts where its p-value is at most this.
    seed : int

    Returns
    -------
    row : dict
        ``metric`` permuted_share; ``value``, the share of significant tables, about ``level`` if the test is sound; ``low``,
        ``high``, its binomial interval (Clopper and Pearson 1934), which is not an interval over identities; ``num_members``,
        ``num_non_members`` (identities).
    """
    member_groups, _ = arrange_identities(queries)
    identities = queries["identity"].unique()
    group = queries[queries["is_member"]].drop_duplicates("identity").set_index("identity")["member_group"].reindex(identities)
    rng = np.random.default_rng([seed, 1])
    found = []
    for number in range(num_shuffles):
        label = dict(zip(identities, rng.permutation(group.to_numpy()), strict=True))
        shuffled = queries.assign(is_member=queries["identity"].map(label) == queries["member_group"])
        found.append(permute_identities(shuffled, num_permutations=num_permutations, seed=number)["p_value"] <= level)
    interval = stats.binomtest(int(np.sum(found)), num_shuffles).proportion_ci(0.95)
    row = {"metric": "permuted_share", "value": float(np.mean(found)), "low": float(interval.low), "high": float(interval.high)}
    return {**row, **count_identities(member_groups)}


def _permute(queries, member_groups, group, num_permutations, rng, seed):
    """Compute the AUC, averaged over member groups, as it is (row 0) and under shuffled labels: [1 + num_permutations]."""
    if not has_both_roles(member_groups):
        return _permute_groups(member_groups, group, num_permutations, rng)
    # Other people in each member group: so each has random numbers of its own, which its name chooses.
    streams = [np.random.default_rng([seed, *str(name).encode()]) for name in np.unique(queries["member_group"])]
    shuffled = [_permute_photos(*own, num_permutations, stream) for own, stream in zip(member_groups, streams, strict=True)]
    return np.mean(shuffled, axis=0)


def _count_reached(values):
    """The p-value of a permutation test: the share of values, the true one (row 0) among them, that reach the true one."""
    if not np.isfinite(values[0]):
        return np.nan
    return float((values >= values[0] - 1e-9).mean())  # values that differ by rounding alone count as reached


def _permute_groups(member_groups, group, num_permutations, rng):
    """Compute the AUC, averaged over member groups, under the true labels (row 0) and under shuffled ones."""
    values, size = np.zeros(1 + num_permutations), BLOCK // len(group) + 1
    for start in range(0, len(values), size):
        part = values[start : start + size]
        order = rng.permuted(np.tile(np.arange(len(group)), (len(part), 1)), axis=1)
        if start == 0:
            order[0] = np.arange(len(group))
        for score, number, is_member in member_groups:
            role, every = np.zeros(len(group)), np.ones(len(score), dtype=bool)
            role[number[is_member]] = 1
            part += weigh_pairs(score, number, every, every, role[order], 1 - role[order]) / len(member_groups)
    return values


def _permute_photos(score, number, is_member, num_permutations, rng):
    """Compute the AUC of each identity's own photos, member against non-member: as they are (row 0) and shuffled within it."""
    won, pairs = np.zeros(1 + num_permutations), 0
    for p in np.unique(number):
        own = number == p
        inside = int(is_member[own].sum())
        rank = stats.rankdata(score[own])
        first = np.concatenate([rank[is_member[own]], rank[~is_member[own]]])
        ranks = rng.permuted(np.tile(first, (1 + num_permutations, 1)), axis=1)
        ranks[0] = first
        won += ranks[:, :inside].sum(1) - inside * (inside + 1) / 2
        pairs += inside * (len(rank) - inside)
    return won / pairs if pairs else np.full(1 + num_permutations, np.nan)
