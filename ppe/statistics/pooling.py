"""Several runs as one number: the mean over seeds, or the difference between two sizes, with its interval and p-value.

Each run has a value and an interval over its own identities. What is missing is how much two values move together when people
are drawn anew, since an identity may stand in several runs. ``correlate_runs`` measures it by a joint bootstrap: identities are
drawn once for both runs, each with all its rows, whatever its groups. All results are conditional on the trained generators.
"""

import numpy as np
from scipy import optimize, stats
from scipy.special import expit, logit

from ppe.statistics.resampling import resample_together

NO_SPREAD = 1e-12  # a difference of metrics up to this is rounding
SMALLEST_P = 1e-12  # below it, an inverted interval says nothing


def pool_values(values, weights, correlation=None, *, confidence=0.95):
    """Compute the weighted sum of several runs' values and its interval, from their own intervals.

    The arms of the intervals are combined as correlated errors are (MOVER, Zou 2007 and Zou and Donner 2008), which keeps arms
    unequal where they are unequal, near 0 and 1. With weights 1/k the sum is a mean, with 1 and -1 a difference.

    Parameters
    ----------
    values : DataFrame, K rows
        ``value``; ``low``, ``high``: its 95 % interval as ``bootstrap_identities`` makes it; ``num_members``,
        ``num_non_members``: identities, which give Student's degrees of freedom.
    weights : ndarray [K], float.
    correlation : ndarray [K, K], float, or None
        Of the runs' values. NaN is unknown: then 1 between weights of one sign and 0 between weights of two. Both make the
        interval wide: a mean's is then no narrower than the mean of its runs' intervals.
    confidence : float, in (0, 1).

    Returns
    -------
    value, low, high : float
        ``low`` and ``high`` are NaN where a run has no interval.
    """
    weights = np.asarray(weights, dtype=np.float64)
    value = float(weights @ values.value)
    lower, upper = np.transpose([_find_arms(row, confidence) for row in values.itertuples()])
    correlation = _fill_correlation(weights, correlation)
    # A negative weight turns a run's interval round.
    below, above = (weights * np.where(weights > 0, *arms) for arms in ((lower, upper), (upper, lower)))
    reach = [np.sqrt(max(0.0, arm @ correlation @ arm)) if np.isfinite(arm).all() else np.nan for arm in (below, above)]
    return value, value - float(reach[0]), value + float(reach[1])


def invert_interval(values, weights, correlation=None, *, null=0.0):
    """Compute the one-sided p-value that the interval of ``pool_values`` implies: is the weighted sum larger than ``null``?

    It is the smallest p at which an interval of confidence 1 - 2 p begins at ``null``. For a difference between two sizes this
    takes the place of a permutation test. Both sizes leak, so under "no difference" no labels can be exchanged: the two runs have
    other non-members, other numbers of identities, and other generators, whose scores are on other scales.

    values, weights, correlation : as in ``pool_values``. Returns a float in [1e-12, 1], NaN where there is no interval.
    """
    value, low, high = pool_values(values, weights, correlation)
    if not np.isfinite(low) or max(value - low, high - value) < NO_SPREAD:
        return np.nan
    is_above = value > null

    def miss(log_p):
        ends = pool_values(values, weights, correlation, confidence=1 - 2 * np.exp(log_p))
        return ends[1] - null if is_above else null - ends[2]

    edges = np.log(SMALLEST_P), np.log(0.5)
    if miss(edges[1]) <= 0:
        return 0.5
    tail = SMALLEST_P if miss(edges[0]) >= 0 else float(np.exp(optimize.brentq(miss, *edges, xtol=1e-6)))
    return tail if is_above else 1 - tail


def compute_mean_p(values, correlation=None):
    """Compute the one-sided p-value of the mean of several runs' differences: is it larger than 0?

    Parameters
    ----------
    values : DataFrame, K rows
        ``value``; ``low``, ``high``: its 95 % interval as ``ppe.statistics.intervals.compare_attacks`` makes it, value +- t * s;
        ``num_members``, ``num_non_members``: identities, which give Student's degrees of freedom.
    correlation : ndarray [K, K], float, or None. As in ``pool_values``.

    Returns
    -------
    float, in [0, 1], by Student's t with the degrees of freedom of the run with the fewest identities; NaN without an interval.
    """
    weights = np.full(len(values), 1 / len(values))
    free = 2 * (values[["num_members", "num_non_members"]].min(axis=1).to_numpy(np.float64) - 1)
    errors = weights * (values.value - values.low).to_numpy() / stats.t.ppf(0.975, free)
    error = np.sqrt(errors @ _fill_correlation(weights, correlation) @ errors)
    return float(stats.t.sf(weights @ values.value / error, free.min()))


def correlate_runs(first, second, *, num_resamples=2000, seed=0):
    """Measure how the AUCs of two runs move together when identities are drawn anew, once for both runs.

    Parameters
    ----------
    first, second : DataFrame
        Queries of the two runs, as in ``ppe.statistics.resampling``. An identity has one name in both.
    num_resamples, seed : int

    Returns
    -------
    num_shared : int. Identities that stand in both runs, in whatever groups.
    correlation : float, in [-1, 1]. Exactly 0 where no identity is shared, or where an AUC does not move.
    """
    num_shared = len(np.intersect1d(first["identity"], second["identity"]))
    if not num_shared:
        return 0, 0.0
    samples = resample_together([first, second], num_resamples=num_resamples, seed=seed)
    samples = samples[:, np.isfinite(samples).all(0)]
    if samples.shape[1] < 2 or samples.std(1).min() < NO_SPREAD:
        return num_shared, 0.0
    return num_shared, float(np.corrcoef(samples)[0, 1])


def combine_p_values(p_values):
    """Combine p-values of one hypothesis into one, valid however they depend on each other: twice their mean.

    Source: Vovk and Wang 2020, "Combining p-values via averaging". A single one stays as it is; NaN where one is.
    """
    return float(min(1.0, 2 * np.mean(p_values)) if len(p_values) > 1 else np.mean(p_values))


def _find_arms(row, confidence):
    """How far an interval of this confidence reaches below and above a run's value: (float, float), NaN without an interval."""
    if not np.isfinite(row.low):
        return np.nan, np.nan
    num_identities = min(row.num_members, row.num_non_members)
    if min(row.value, 1 - row.value) < NO_SPREAD:
        # The bound is one-sided: it is taken at the level of either end of a two-sided interval, and the other arm is 0.
        bound = 1 - ((1 - confidence) / 2) ** (1 / num_identities)
        return (bound, 0.0) if row.value > 0.5 else (0.0, bound)
    free = 2 * max(1, num_identities - 1)  # as ``bootstrap_identities``, whose two groups have as many identities each
    factor = stats.t.ppf((1 + confidence) / 2, free) / stats.t.ppf(0.975, free)
    place = logit(row.value)
    ends = np.clip([row.low, row.high], SMALLEST_P, 1 - SMALLEST_P)  # of which the logit is finite
    low, high = expit(place + factor * (logit(ends) - place))
    return row.value - low, high - row.value


def _fill_correlation(weights, correlation):
    """The correlations with the cautious value where one is unknown, and 1 on the diagonal."""
    is_alike = np.outer(weights, weights) > 0
    known = np.full(is_alike.shape, np.nan) if correlation is None else np.asarray(correlation, dtype=np.float64)
    filled = np.where(np.isfinite(known), known, np.where(is_alike, 1.0, 0.0))
    np.fill_diagonal(filled, 1.0)
    return filled
