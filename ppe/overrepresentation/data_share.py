"""The leak as a function of data share: from values of targets to means, tests and the rows of an experiment.

An experiment tests the fourth claim of Webster et al. (arXiv 2107.06018): one over-represented identity leaks, even where
everybody else is diverse. ``ppe.overrepresentation.measures`` makes its ``values``, one row a target and generator:
``identity``, ``group`` (the generator), ``data_share``, ``value`` (large = more visible) and ``KEYS``.
"""

import itertools
import math
import warnings

import numpy as np
import pandas as pd
from scipy import stats

from ppe.config import load_table
from ppe.statistics.intervals import MIN_IDENTITIES

MAX_EXACT = 5040
"""Orders of the generators, 7!, up to which all are counted; beyond, as many are drawn as there are permutations."""
KEYS = ["embedder", "measure", "calibration"]
ROW_COLUMNS = [
    *("experiment", "kind", "design", "baseline", "dataset", "resolution", "generator", "kimg", "num_photos", "num_generated"),
    "seed",
    *(*KEYS, "embedder_auc", "statistic", "data_share", "group", "pseudonym", "value", "low", "high", "p_value"),
    *("num_identities", "num_controls", "num_generators"),
]
"""Columns of an experiment's rows. ``statistic`` says what the value is of:

- ``identity``: one target in one generator;
- ``mean``, ``control``: the targets, or the control identities, at one data share;
- ``trend``: over all data shares; ``onset``: a data share, of ``find_onsets``;
- ``effect``: a data share minus 0; ``contrast``: the largest data share minus 0;
- ``imbalance``: the targets at a data share of 0, minus the control identities in the same generators;
- ``generator``, ``mean``, ``share``, ``precision`` of ``false_alarms``: see ``ppe.overrepresentation.density_scan.count_alarms``.
"""


def summarise_data_shares(values, *, num_resamples=2000, num_permutations=2000, confidence=0.95, seed=0):
    """Summarise values by data share, and test for a trend.

    The interval of a data share is the bias-corrected and accelerated bootstrap over targets (Efron and Tibshirani 1993). It is
    left out below 10 targets, and where all values are equal.

    p-values are of permutations within the experiment: of all of them where they are few, else of random ones.

    - To test one data share of a Latin square, each target's values at that data share and at 0 may be swapped, so that n targets
      resolve 1 / 2^n.
    - To test one data share where each generator has one target, the targets may take each other's generators: n targets resolve
      1 / n!. If training on a target changes nothing that is measured, generators of one data share differ in chance alone, since
      their background photos are the same. So the test is exact, however easy some targets are to match.
    - To test the trend, whole generators may be swapped with all their targets, since the faces of one generator are alike; five
      generators resolve 1/120.

    Parameters
    ----------
    values : DataFrame identity, group, data_share, value.
    num_resamples, num_permutations, seed : int
    confidence : float, in (0, 1)

    Returns
    -------
    DataFrame: ``data_share``, ``statistic``, ``value``, ``low``, ``high``, ``p_value``, ``num_identities``.

        - One row ``mean`` for each data share, smallest first; p_value is one-sided (larger than at 0), and NaN at 0.
        - One row ``trend`` (data_share NaN), if there is more than one data share: the mean over targets of Spearman's
          correlation of value and data share, which is Page's (1963) test; one-sided for a rise.
    """
    identities, groups = sorted(values.identity.unique()), sorted(values.group.unique())
    table = values.pivot(index="identity", columns="group", values="value").loc[identities, groups].to_numpy()
    data_share = values.pivot(index="identity", columns="group", values="data_share").loc[identities, groups].to_numpy()
    data_shares = np.unique(data_share)
    orders = _list_orders(len(groups), num_permutations, seed) if len(data_shares) > 1 else np.arange(len(groups))[None]
    rows = []
    for one in data_shares:
        own = np.array([table[i, data_share[i] == one].mean() for i in range(len(identities)) if (data_share[i] == one).any()])
        low, high = _bound_mean(own, num_resamples, confidence, seed)
        p_value = _compare_with_none(table, data_share, one, num_permutations, seed) if one > 0 else np.nan
        rows.append({"data_share": one, "statistic": "mean", "value": own.mean(), "low": low, "high": high, "p_value": p_value,
                     "num_identities": len(own)})  # fmt: skip
    if len(data_shares) > 1:
        trends = _correlate(table, data_share, orders)
        rows.append({"data_share": np.nan, "statistic": "trend", "value": trends[0], "low": np.nan, "high": np.nan,
                     "p_value": _count_reached(trends, len(orders)), "num_identities": len(identities)})  # fmt: skip
    return pd.DataFrame(rows)


def summarise_measures(values, **options):
    """``summarise_data_shares`` for each embedder and measure: the same columns, and ``KEYS``.

    values : DataFrame of ``values`` with ``KEYS``; options : as in ``summarise_data_shares``.
    """
    parts = [summarise_data_shares(part, **options).assign(**dict(zip(KEYS, names, strict=True)))
             for names, part in values.groupby(KEYS, sort=False)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def find_onsets(summary, measure="detected", share=0.5):
    """Find the smallest data share from which on the mean of a measure is at least ``share``, there and at every larger one.

    Parameters
    ----------
    summary : DataFrame of ``summarise_measures``.
    measure : str
    share : float, in [0, 1]

    Returns
    -------
    DataFrame: ``KEYS``, ``statistic`` (onset) and ``value``, the data share. An embedder and calibration that
    reach the share at no data share above 0 have no row.
    """
    means = summary[(summary.measure == measure) & (summary.statistic == "mean")].sort_values("data_share", ascending=False)
    rows = []
    for names, part in means.groupby(KEYS, sort=False):
        reached = part.data_share[(part.value >= share).cummin() & (part.data_share > 0)]
        if len(reached):
            rows.append({**dict(zip(KEYS, names, strict=True)), "statistic": "onset", "value": reached.min()})
    return pd.DataFrame(rows, columns=[*KEYS, "statistic", "value"])


def tabulate_detection(summary, alarms):
    """Tabulate what the density scan detects: a row an embedder and calibration.

    summary : DataFrame of ``summarise_measures`` and ``find_onsets``; alarms : of ``list_rows``.

    Returns a DataFrame: the share of targets detected, a column a data share (named "3.0%"), and where known, ``onset`` and
    ``precision``.
    """
    detected = summary[(summary.measure == "detected") & summary.statistic.isin(["mean", "onset"])]
    rows = pd.concat([detected, alarms[alarms.statistic == "precision"]], ignore_index=True)
    level = rows.data_share.map("{:.1%}".format)
    rows = rows.assign(column=level.where(rows.statistic == "mean", rows.statistic))
    table = rows.pivot(index=["embedder", "calibration"], columns="column", values="value")
    return table[list(dict.fromkeys(rows.column))].rename_axis(columns=None)


def list_rows(values, summary, alarms, plan, verified, experiment, settings):
    """List the numbers of an experiment, one row a number, with pseudonyms in place of names.

    Parameters
    ----------
    values : DataFrame of ``values`` with ``KEYS``.
    summary : DataFrame of ``summarise_measures``.
    alarms : DataFrame of ``ppe.overrepresentation.density_scan.count_alarms``, with ``KEYS``.
    plan : DataFrame identity, target (the number that is the pseudonym).
    verified : mapping, embedder -> AUC on identities that it never saw.
    experiment : str, its name.
    settings : mapping, its section of params.

    Returns
    -------
    DataFrame with ``ROW_COLUMNS``.
    """
    pseudonym = values.identity.map(plan.drop_duplicates("identity").set_index("identity").target).astype(str)
    targets = values.assign(statistic="identity", pseudonym=pseudonym, num_identities=1)
    rows = pd.concat([targets, summary, alarms], ignore_index=True)
    named = {name: settings[name] for name in ROW_COLUMNS if name in settings}
    return rows.assign(experiment=experiment, **named, embedder_auc=rows.embedder.map(verified)).reindex(columns=ROW_COLUMNS)


def collect_experiments(files):
    """Gather the rows of all experiments, in the order of params.yaml; a table without rows if there is no experiment.

    files : dict, experiment -> path of its rows.

    Raises
    ------
    FileNotFoundError
        If an experiment has no rows yet.
    """
    if missing := [experiment for experiment, path in files.items() if not path.exists()]:
        command = f"dvc repro overrepresentation@{missing[0]}"
        raise FileNotFoundError(f"no rows of the experiments {missing}: make them with `{command}`")
    empty = pd.DataFrame(columns=ROW_COLUMNS)
    return pd.concat([load_table(path) for path in files.values()], ignore_index=True) if files else empty


def average_generators(is_chosen):
    """Weights that average the chosen generators of each place: [P, G] of bool; rows sum to 1, or to 0 where none is chosen."""
    return is_chosen / np.maximum(1, is_chosen.sum(1, keepdims=True))


def _bound_mean(values, num_resamples, confidence, seed):
    if len(values) < MIN_IDENTITIES or np.ptp(values) == 0 or num_resamples < 2:
        return np.nan, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate draw is NaN, and the table shows it
        options = {"n_resamples": num_resamples, "confidence_level": confidence, "method": "BCa"}
        found = stats.bootstrap((values,), np.mean, **options, rng=np.random.default_rng(seed))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _list_orders(num_groups, num_permutations, seed):
    """Orders of the generators, int [R, G], the given one first: all of them, or random ones."""
    if math.factorial(num_groups) <= MAX_EXACT:
        return np.array(list(itertools.permutations(range(num_groups))))
    orders = np.tile(np.arange(num_groups), (1 + num_permutations, 1))
    return np.concatenate([orders[:1], np.random.default_rng(seed).permuted(orders[1:], axis=1)])


def _compare_with_none(table, data_share, one, num_permutations, seed):
    """p-value of the mean difference between a data share and 0, over targets that have both; NaN if none has."""
    if len(table) > 1 and ((data_share > 0).sum(0) == 1).all():
        return _exchange_targets(table, data_share, one, num_permutations, seed)
    both = [i for i in range(len(table)) if (data_share[i] == one).any() and (data_share[i] == 0).any()]
    if not both:
        return np.nan
    pair = [np.array([table[i, data_share[i] == level].mean() for i in both]) for level in (one, 0)]
    if len(both) == 1:
        return 0.5 if pair[0] > pair[1] else 1.0  # SciPy needs two targets; one target has two orders
    test = stats.permutation_test(
        pair, lambda high, low, axis: np.mean(high - low, axis=axis), permutation_type="samples", alternative="greater",
        vectorized=True, n_resamples=max(num_permutations, 2), rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(test.pvalue)


def _exchange_targets(table, data_share, one, num_permutations, seed):
    """p-value of the same difference where each generator has one target: targets take each other's generators."""
    weights = average_generators(data_share == one) - average_generators(data_share == 0)
    value = weights @ table.T  # of each place, if each target had it
    orders = _list_orders(len(table), num_permutations, seed)
    return _count_reached(value[np.arange(len(table)), orders].mean(1), len(orders))


def _correlate(table, data_share, orders):
    """Mean over targets of Spearman's correlation of value and data share: [R], one an order; 0 counts where values tie."""
    ranks, steps = stats.rankdata(table, axis=1), stats.rankdata(data_share, axis=1)
    ranks, steps = (r - r.mean(1, keepdims=True) for r in (ranks, steps))
    norm = np.sqrt((ranks**2).sum(1) * (steps**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.einsum("prg,pg->pr", ranks[:, orders], steps) / norm[:, None]
    return np.nan_to_num(each).mean(0)


def _count_reached(statistics, num_orders):
    """Share of the orders, the observed one included, whose statistic reaches the observed one's, but for rounding."""
    return float((statistics >= statistics[0] - 1e-9).sum() / num_orders)
