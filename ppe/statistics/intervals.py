"""Intervals whose unit is the identity: of one attack, of a difference between two, and of a share of the ceiling.

Tables ``queries`` are as in ``ppe.statistics.resampling``. ``bench/coverage.py`` measures how often the intervals hold the truth.
"""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from ppe.statistics.permutation import permute_identities
from ppe.statistics.pooling import NO_SPREAD, invert_interval, pool_values
from ppe.statistics.resampling import arrange_identities, count_identities, resample_identities

MIN_IDENTITIES = 10  # identities a side below which there is no interval: (NaN, NaN)
MIN_CEILING = 0.55  # AUC below which a ceiling is so close to chance that a share of it means nothing


def evaluate_groups(queries, metrics=("auc",), *, pooled=True, num_resamples=2000, num_permutations=2000, seed=0):
    """Evaluate an attack on each member group and pooled: the rows that a run adds to the study's table.

    Parameters
    ----------
    queries : DataFrame. ``member_group``, ``identity``, ``is_member`` (bool), ``score`` (large = member).
    metrics : sequence of str. Names of ``ppe.statistics.metrics.METRICS``.
    pooled : bool
        False leaves the pooled row out. Where one generator scores both member groups (the negative control), the second
        mirrors the first, and their mean is 0.5 for every generator.
    num_resamples, num_permutations, seed : as in ``bootstrap_identities`` and ``permute_identities``. Both member groups are
        drawn together.

    Returns
    -------
    table : DataFrame
        One row a metric for each member group, then for ``pooled``: ``member_group``, ``metric``, ``value``, ``low``, ``high``,
        ``p_value`` (of the AUC, else NaN), ``num_members``, ``num_non_members``.

    Raises
    ------
    ValueError
        As ``resample_identities``.
    """
    parts = list(queries.groupby("member_group", sort=True))
    if pooled and len(parts) > 1:
        parts.append(("pooled", queries))
    rows = []
    for member_group, part in parts:
        for metric in metrics:
            interval = bootstrap_identities(part, metric, num_resamples=num_resamples, seed=seed, whole=queries)
            row = {"member_group": member_group, **interval, "p_value": np.nan}
            if metric == "auc":
                row["p_value"] = permute_identities(part, num_permutations=num_permutations, seed=seed)["p_value"]
            rows.append(row)
    columns = ["member_group", "metric", "value", "low", "high", "p_value", "num_members", "num_non_members"]
    return pd.DataFrame(rows, columns=columns)


def bootstrap_identities(queries, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0, whole=None):
    """Compute a metric, averaged over the member groups in ``queries``, and its interval by bootstrap over identities.

    The interval is symmetric on the logit scale: logit(value) +- t * s / (value * (1 - value)). Here s is the standard deviation
    of the resamples (Efron and Tibshirani 1993) times sqrt(n / (n - 1)), since a resample of n identities spreads too little. n
    is the number of identities of the smaller group, and t is Student's quantile with n - 1 degrees of freedom a group.

    At value 0 or 1 the resamples do not spread, and the interval is one-sided (Clopper and Pearson 1934). n disjoint pairs of a
    member and a non-member are independent, and all are in order with probability AUC^n. An AUC below
    (1 - confidence)^(1/n) is therefore rejected. The same holds for the TPR and n identities of whom all are found, or none.

    Parameters
    ----------
    queries, metric, num_resamples, seed, whole : as in ``resample_identities``.
    confidence : float, in (0, 1).

    Returns
    -------
    row : dict
        ``metric``, ``value``, ``low``, ``high``, ``num_members``, ``num_non_members`` (identities, of the member group that has
        fewest). ``low`` and ``high`` are NaN below 10 identities a side, for an average precision of 1, and where nothing
        spreads at another value, as when all scores are equal.

    Raises
    ------
    ValueError
        As ``resample_identities``, or if ``confidence`` is not between 0 and 1.
    """
    value, samples = resample_identities(queries, metric, num_resamples=num_resamples, seed=seed, whole=whole)
    member_groups, group = arrange_identities(queries)
    num_identities, scale, quantile = _measure_groups(group, confidence)
    low = high = np.nan
    is_at_end = min(value, 1 - value) < NO_SPREAD
    if num_identities >= MIN_IDENTITIES and is_at_end and metric != "average_precision":
        bound = (1 - confidence) ** (1 / num_identities)
        low, high = (bound, 1.0) if value > 0.5 else (0.0, 1 - bound)
    elif num_identities >= MIN_IDENTITIES and not is_at_end and num_resamples > 1 and np.std(samples) > NO_SPREAD:
        reach = quantile * scale * np.std(samples, ddof=1) / (value * (1 - value))
        low, high = expit(logit(value) - reach), expit(logit(value) + reach)
    return {"metric": metric, "value": value, "low": float(low), "high": float(high), **count_identities(member_groups)}


def compare_runs(first, second, metric="auc", *, correlation=np.nan, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the interval of the difference between two runs, for example of two sizes, and the p-value that it implies.

    The two bootstrap intervals are combined by their arms (``ppe.statistics.pooling.pool_values``).

    Parameters
    ----------
    first, second : DataFrame. Queries of the two runs, as in ``resample_identities``.
    correlation : float
        Of the two values, when identities are drawn anew: above 0 where the runs share identities, as nested sizes do. NaN is
        unknown and counts as 0, so that the interval is wider than necessary.
    metric, num_resamples, confidence, seed : as in ``bootstrap_identities``.

    Returns
    -------
    row : dict
        ``metric`` (with ``_difference``), ``value``: first minus second; ``low``, ``high`` (NaN where one run has no interval);
        ``p_value``, one-sided, of ``ppe.statistics.pooling.invert_interval``; ``num_members``, ``num_non_members`` (identities,
        of the smaller run).

    Raises
    ------
    ValueError
        As ``bootstrap_identities``.
    """
    settings = {"num_resamples": num_resamples, "seed": seed}
    rows = pd.DataFrame([bootstrap_identities(queries, metric, **settings) for queries in (first, second)])
    together = (rows, [1, -1], np.array([[1, correlation], [correlation, 1]]))
    value, low, high = pool_values(*together, confidence=confidence)
    fewest = {name: int(rows[name].min()) for name in ("num_members", "num_non_members")}
    row = {"metric": f"{metric}_difference", "value": value, "low": low, "high": high, "p_value": invert_interval(*together)}
    return {**row, **fewest}


def compare_attacks(first, second, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the interval of the difference between two attacks on the same queries, which share their draws.

    Parameters
    ----------
    first, second : DataFrame
        Queries as in ``resample_identities``, alike row by row except for ``score``.
    metric, num_resamples, confidence, seed : as in ``bootstrap_identities``.

    Returns
    -------
    row : dict
        ``metric`` (with ``_difference``), ``value``: first minus second; ``low``, ``high``: value +- t * s as in
        ``bootstrap_identities``, but without the logit (NaN below 10 identities a side, and where no resample changes the
        difference); ``num_members``, ``num_non_members`` (identities).

    Raises
    ------
    ValueError
        As ``bootstrap_identities``, or if the two are not on the same queries.
    """
    member_groups, group = arrange_identities(first)
    for name in ("member_group", "identity", "is_member"):
        if list(first[name]) != list(second[name]):
            raise ValueError(f"the two attacks differ in the column {name!r}: score the same queries in the same order")
    (value_1, samples_1), (value_2, samples_2) = (
        resample_identities(queries, metric, num_resamples=num_resamples, seed=seed) for queries in (first, second)
    )
    num_identities, scale, quantile = _measure_groups(group, confidence)
    value, samples = value_1 - value_2, samples_1 - samples_2
    low = high = np.nan
    if num_identities >= MIN_IDENTITIES and num_resamples > 1 and np.std(samples) > NO_SPREAD:
        reach = quantile * scale * np.std(samples, ddof=1)
        low, high = max(-1.0, value - reach), min(1.0, value + reach)
    row = {"metric": f"{metric}_difference", "value": value, "low": float(low), "high": float(high)}
    return {**row, **count_identities(member_groups)}


def compare_ceiling(queries, ceiling, *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the share of the ceiling that an attack reaches, (AUC - 0.5) / (ceiling - 0.5); both share their draws.

    Parameters
    ----------
    queries, ceiling : DataFrame
        As in ``compare_attacks``: the attack, and the same photos compared with other photos in place of generated faces.
    num_resamples, confidence, seed : as in ``bootstrap_identities``.

    Returns
    -------
    row : dict
        ``metric`` leak_share; ``value`` (1: as much as this embedder can find; 0: nothing; NaN under a ceiling of 0.55);
        ``low``, ``high``: value +- t * s as in ``compare_attacks`` (NaN below 10 identities a side, or where the ceiling of a
        resample is not above 0.5); ``num_members``, ``num_non_members`` (identities).

    Raises
    ------
    ValueError
        As ``compare_attacks``.
    """
    row = compare_attacks(queries, ceiling, num_resamples=0, seed=seed)
    (value_1, samples_1), (value_2, samples_2) = (
        resample_identities(table, num_resamples=num_resamples, seed=seed) for table in (queries, ceiling)
    )
    num_identities, scale, quantile = _measure_groups(arrange_identities(queries)[1], confidence)
    value = (value_1 - 0.5) / (value_2 - 0.5) if value_2 >= MIN_CEILING else np.nan
    low = high = np.nan
    if num_identities >= MIN_IDENTITIES and num_resamples > 1 and np.isfinite(value) and samples_2.min() > 0.5:
        reach = quantile * scale * np.std((samples_1 - 0.5) / (samples_2 - 0.5), ddof=1)
        low, high = value - reach, value + reach
    return {**row, "metric": "leak_share", "value": float(value), "low": float(low), "high": float(high)}


def _measure_groups(group, confidence):
    """Return the identities of the smaller group, the bootstrap's small-sample factor, and Student's quantile."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is not between 0 and 1")
    sizes = np.bincount(group)
    num_identities = int(sizes.min())
    free = max(1, num_identities - 1)
    return num_identities, np.sqrt(num_identities / free), stats.t.ppf((1 + confidence) / 2, len(sizes) * free)


def bound_mean(values, confidence=0.95):
    """Student's interval of a mean: (low, high), floats; NaN with fewer than two values.

    values : ndarray [n], float, one an identity. With five of them a bootstrap would be too narrow.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return np.nan, np.nan
    if np.ptp(values) < 1e-12:  # but for rounding
        return float(values[0]), float(values[0])
    low, high = stats.t.interval(confidence, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return float(low), float(high)
