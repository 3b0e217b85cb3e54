"""The AUC among identities that look alike: each member is compared only with the non-members most like them.

An attack that ranks by appearance alone loses its advantage there. Tables ``queries`` are as in ``ppe.statistics.resampling``.
Matching makes this a covariate-adjusted AUC (Janes and Pepe 2009, *Adjusting for covariate effects on classification accuracy
using the covariate-adjusted ROC curve*).
"""

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from ppe.statistics.intervals import MIN_IDENTITIES, NO_SPREAD
from ppe.statistics.resampling import arrange_identities, count_identities, draw_identities


def bootstrap_matched(queries, distance, num_matches, *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the AUC of each member's photos against the photos of the most similar non-members, and its interval.

    Parameters
    ----------
    queries : DataFrame. ``member_group``, ``identity``, ``is_member`` (bool), ``score`` (large = member).
    distance : DataFrame [P, P], float, by identity. Small = alike.
    num_matches : int, at least 1. Non-members with whom a member is compared; equal distances by the order of names.
    num_resamples, confidence, seed : as in ``ppe.statistics.intervals.bootstrap_identities``. The matches stay fixed.

    Returns
    -------
    row : dict
        ``metric`` auc, ``value`` (mean over member groups; large = the attack works), ``low``, ``high`` (on the logit scale as in
        ``bootstrap_identities``; NaN below 10 identities a side, and at value 0 or 1), ``num_members``, ``num_non_members``.

    Raises
    ------
    ValueError
        As ``ppe.statistics.resampling.resample_identities``, or if ``num_matches`` is below 1 or ``distance`` lacks an identity.
    """
    names = np.unique(queries["identity"])
    if num_matches < 1 or not np.isin(names, distance.index).all():
        raise ValueError(f"num_matches={num_matches} must be at least 1, and distance must have a row for each identity; "
                         f"{(~np.isin(names, distance.index)).sum()} are missing")
    member_groups, group = arrange_identities(queries)
    apart = distance.loc[names, names].to_numpy(np.float64)
    counts = draw_identities(group, num_resamples, seed)
    values = np.mean([_weigh_matches(*part, apart, num_matches, counts) for part in member_groups], axis=0)
    value, sizes, low, high = float(values[0]), np.bincount(group), np.nan, np.nan
    if sizes.min() >= MIN_IDENTITIES and num_resamples > 1 and NO_SPREAD < value < 1 - NO_SPREAD:
        free = int(sizes.min()) - 1
        reach = stats.t.ppf((1 + confidence) / 2, len(sizes) * free) * np.sqrt((free + 1) / free) * np.nanstd(values[1:], ddof=1)
        if reach > NO_SPREAD:
            low, high = expit(logit(value) + np.array([-reach, reach]) / (value * (1 - value)))
    return {"metric": "auc", "value": value, "low": float(low), "high": float(high), **count_identities(member_groups)}


def _weigh_matches(score, number, is_member, apart, num_matches, counts):
    """The AUC over matched pairs, of samples that hold identity p ``counts[r, p]`` times: [R]; NaN without a pair."""
    won, pairs = np.zeros(apart.shape), np.zeros(apart.shape)
    others = np.unique(number[~is_member])
    for p in np.unique(number[is_member]):
        own = score[is_member & (number == p)][:, None]
        for q in others[np.argsort(apart[p, others], kind="stable")[:num_matches]]:
            other = score[~is_member & (number == q)]
            won[p, q], pairs[p, q] = ((own > other) + 0.5 * (own == other)).sum(), own.size * other.size
    with np.errstate(invalid="ignore"):
        return ((counts @ won) * counts).sum(1) / ((counts @ pairs) * counts).sum(1)
