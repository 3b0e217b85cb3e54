"""Intervals whose unit is the person: of one attack, of the difference of two, of a share of the ceiling; and the check
that neither they nor the test find a leak where there is none. Tables ``queries`` are as in ``ppe.statistics.resampling``.
"""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from ppe.statistics.permutation import permute_identities
from ppe.statistics.resampling import arrange_identities, count_identities, resample_identities

MIN_IDENTITIES = 10  # people a side; below, an interval is (nan, nan) and only several seeds tell more
MIN_CEILING = 0.55  # AUC; under a lower ceiling there is next to nothing to have a share of
NO_SPREAD = 1e-12  # what rounding leaves of a difference of metrics that is 0


def evaluate_groups(queries, metrics=("auc",), *, pooled=True, num_resamples=2000, num_permutations=2000, seed=0):
    """Judge an attack on each half and pooled: the rows that a run adds to the study's table.

    Parameters
    ----------
    queries : DataFrame. ``member_group``, ``identity``, ``is_member`` (bool), ``score`` (large = member).
    metrics : sequence of str. Names of ``METRICS``.
    pooled : bool
        False leaves the pooled row out: where one generator scores both halves (the disjoint control) the second half
        mirrors the first, and their mean is 0.5 whatever the generator does.
    num_resamples, num_permutations, seed : as in ``bootstrap_identities`` and ``permute_identities``.

    Returns
    -------
    table : DataFrame
        For each half, then ``pooled``, a row a metric: ``member_group``, ``metric``, ``value``, ``low``, ``high``, ``p_value``
        (of the AUC, else NaN), ``num_members``, ``num_non_members``, as the two functions return them.

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
            interval = bootstrap_identities(part, metric, num_resamples=num_resamples, seed=seed)
            row = {"member_group": member_group, **interval, "p_value": np.nan}
            if metric == "auc":
                row["p_value"] = permute_identities(part, num_permutations=num_permutations, seed=seed)["p_value"]
            rows.append(row)
    return pd.DataFrame(
        rows, columns=["member_group", "metric", "value", "low", "high", "p_value", "num_members", "num_non_members"]
    )


def bootstrap_identities(queries, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute a metric, pooled over the halves in ``queries``, and its interval by bootstrap over people.

    The interval is symmetric on the logit scale: logit(value) +- t * s / (value * (1 - value)), where s is the standard
    deviation of the resamples (Efron and Tibshirani 1993) times sqrt(n / (n - 1)), since a resample of n people spreads
    too little, and t is Student's with n - 1 degrees of freedom a group, n being the people of the smaller one.

    At value 0 or 1 nothing spreads, and the interval is one-sided (Clopper and Pearson 1934): n disjoint pairs of a
    member and a non-member are independent, all in order with probability AUC^n, so that an AUC below
    (1 - confidence)^(1/n) is refused. The same holds for the TPR and n people of whom all are found, or none.

    Parameters
    ----------
    queries, metric, num_resamples, seed : as in ``resample_identities``.
    confidence : float, in (0, 1).

    Returns
    -------
    row : dict
        ``metric``, ``value``, ``low``, ``high`` (NaN below 10 people a side, where nothing spreads between 0 and 1, as
        when all scores are equal, and for an average precision of 1), ``num_members``, ``num_non_members`` (people; of
        the half that has fewest).

    Raises
    ------
    ValueError
        As ``resample_identities``.
    """
    value, samples = resample_identities(queries, metric, num_resamples=num_resamples, seed=seed)
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


def compare_runs(first, second, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the interval of the difference between two runs on different people, say of two sizes.

    Each run's own bootstrap interval is combined with the other's by the squares of their arms (MOVER, Zou and Donner
    2008), which keeps them as uneven as they are near 0 and 1. At 0 or 1 a run has one arm, whose bound is one-sided: MOVER
    takes it at the level of either end of a two-sided interval, (1 + confidence) / 2, and the other arm is 0. Where the runs
    share people (sizes are nested) their values move together, and the interval is wider than it needs to be.

    Parameters
    ----------
    first, second : DataFrame. Queries of the two runs, as in ``resample_identities``.
    metric, num_resamples, confidence, seed : as in ``bootstrap_identities``.

    Returns
    -------
    row : dict
        ``metric`` (with ``_difference``), ``value``: first minus second; ``low``, ``high`` (NaN where one run has no
        interval), ``num_members``, ``num_non_members`` (people; of the smaller run).

    Raises
    ------
    ValueError
        As ``resample_identities``.
    """
    settings = {"num_resamples": num_resamples, "seed": seed}
    one, two = (_bound_arms(queries, metric, confidence, settings) for queries in (first, second))
    value = one["value"] - two["value"]
    low = value - np.hypot(one["value"] - one["low"], two["high"] - two["value"])
    high = value + np.hypot(one["high"] - one["value"], two["value"] - two["low"])
    fewest = {name: min(one[name], two[name]) for name in ("num_members", "num_non_members")}
    return {"metric": f"{metric}_difference", "value": value, "low": float(low), "high": float(high), **fewest}


def compare_attacks(first, second, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the interval of the difference between two attacks on the same queries, resampled alike.

    Parameters
    ----------
    first, second : DataFrame
        Queries as in ``resample_identities``, alike row by row but for ``score``.
    metric, num_resamples, confidence, seed : as in ``bootstrap_identities``.

    Returns
    -------
    row : dict
        ``metric`` (with ``_difference``), ``value``: first minus second; ``low``, ``high``: value +- t * s as in
        ``bootstrap_identities`` but on the plain scale (NaN below 10 people a side and where no resample changes the
        difference), ``num_members``, ``num_non_members`` (people).

    Raises
    ------
    ValueError
        As ``resample_identities``, or if the two are not on the same queries.
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
    """Compute which share of the ceiling a leak reaches: (AUC - 0.5) / (ceiling - 0.5), both resampled alike.

    Parameters
    ----------
    queries, ceiling : DataFrame
        As in ``compare_attacks``: the attack, and the same photos held against what gives their people away at best.
    num_resamples, confidence, seed : as in ``bootstrap_identities``.

    Returns
    -------
    row : dict
        ``metric`` leak_share, ``value`` (1: as much as this embedder can find; 0: none; NaN under a ceiling of 0.55),
        ``low``, ``high``: value +- t * s
        as in ``compare_attacks`` (NaN below 10 people a side, or where a resample's ceiling is chance), and the people.

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


def _bound_arms(queries, metric, confidence, settings):
    """``bootstrap_identities``, with the bound at an end such that a two-sided interval may be built of it."""
    row = bootstrap_identities(queries, metric, confidence=confidence, **settings)
    if min(row["value"], 1 - row["value"]) < NO_SPREAD:
        row = bootstrap_identities(queries, metric, confidence=(1 + confidence) / 2, **settings)
    return row


def _measure_groups(group, confidence):
    """Return the people of the smaller group, the bootstrap's small-sample factor, and Student's quantile."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is not between 0 and 1")
    sizes = np.bincount(group)
    num_identities = int(sizes.min())
    free = max(1, num_identities - 1)
    return num_identities, np.sqrt(num_identities / free), stats.t.ppf((1 + confidence) / 2, len(sizes) * free)
