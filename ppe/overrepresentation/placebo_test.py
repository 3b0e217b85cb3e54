"""The placebo test of an experiment: would control identities, in place of the targets, have looked the same?

Every generator has modes, and a mode may look like a target. Control identities are in no training set and are matched with the
same faces, so whatever a generator does by itself is in both. The test is a permutation test of one number, the *contrast*: the
mean over targets of the value at the largest data share, minus the mean at a data share of 0. The contrast measures how large
an effect is; a correlation of ranks would not.

The labels that are exchanged are identities, each with its values in all generators, and so it is in both designs. Where each
generator has one target (``single``), this includes the exchanges of ``ppe.overrepresentation.data_share``, in which targets take
each other's generators. Control identities add exchanges, so that few targets can reach a small p, and they add an assumption: an
identity with enough photos to be a target is no easier to match than others. The row ``imbalance`` checks it.
"""

import math

import numpy as np
import pandas as pd

from ppe.overrepresentation.data_share import KEYS, average_generators
from ppe.statistics.intervals import bound_mean

MAX_COUNTED = 10**9
"""Assignments are counted up to here: with more of them, the smallest p-value is below any threshold in use."""


def compare_with_controls(values, control_values, *, num_draws=2000, confidence=0.95, seed=0):
    """Test the contrast of the targets by dealing targets and control identities out to the places of the design.

    A place is a row of the design: a data share for each generator. Under the null hypothesis a target does not differ from a
    control identity, so all of them may be dealt out at random. p is the share of deals, the true one included, whose contrast
    reaches the true one.

    Parameters
    ----------
    values : DataFrame identity, group, data_share, value
        Each target once in each generator.
    control_values : DataFrame identity, group, value
        Each control identity once in each of the same generators.
    num_draws, seed : int
        Random deals.
    confidence : float, in (0, 1)

    Returns
    -------
    DataFrame: data_share, statistic, value, low, high, p_value, num_identities, num_controls.

        - One row ``control`` for each data share: the mean of control identities, and the band that holds the mean of as many
          control identities as there are targets.
        - One row ``imbalance`` (data_share 0), if some target has a data share of 0: the mean of targets there minus the mean of
          control identities in the same generators, and its two-sided p-value.
        - One row ``effect`` for each data share above 0, if some target has both it and one of 0: the mean over targets of the
          value there minus that at 0, Student's interval over the targets, and the one-sided p-value.
        - One row ``contrast`` (data_share NaN): the effect of the largest data share.
    """
    table, data_share = (values.pivot(index="identity", columns="group", values=name) for name in ("value", "data_share"))
    control = control_values.pivot(index="identity", columns="group", values="value").loc[:, table.columns].to_numpy()
    table, data_share = table.to_numpy(), data_share.to_numpy()
    num_identities, num_controls = len(table), len(control)
    random = np.random.default_rng(seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    alone = control[_deal(random, num_controls, min(num_identities, num_controls), num_draws)]
    rows = []
    for level in np.unique(data_share):
        weights = average_generators(data_share[: alone.shape[1]] == level)
        low, high = np.quantile(_weigh(alone, weights), tails)
        rows.append({"data_share": level, "statistic": "control", "value": control.mean(), "low": low, "high": high})
    order = _deal(random, num_identities + num_controls, num_identities, num_draws)
    dealt = np.concatenate([table, control])[order]
    levels = np.unique(data_share)
    if levels[0] == 0:
        imbalance = _test_imbalance(table, control, order, data_share == 0)
        rows.append({"data_share": 0.0, "statistic": "imbalance", **imbalance})
    for level in levels[levels > 0]:
        has_both = (data_share == level).any(1) & (data_share == 0).any(1)
        if has_both.any():
            weights = average_generators(data_share == level) - average_generators(data_share == 0)
            effect = _test_effect(table[has_both], dealt[:, has_both], weights[has_both], confidence)
            rows.append({"data_share": level, "statistic": "effect", **effect})
            if level == levels[-1]:
                rows.append({"data_share": np.nan, "statistic": "contrast", **effect})
    columns = ["data_share", "statistic", "value", "low", "high", "p_value"]
    return pd.DataFrame(rows).reindex(columns=columns).assign(num_identities=num_identities, num_controls=num_controls)


def compare_measures(values, control_values, **options):
    """``compare_with_controls`` for each embedder and measure: the same columns, and ``KEYS``.

    values, control_values : DataFrame with ``KEYS``, as in ``compare_with_controls``; options : its keywords.
    """
    controls = dict(list(control_values.groupby(KEYS, sort=False)))
    parts = [compare_with_controls(part, controls[names], **options).assign(**dict(zip(KEYS, names, strict=True)))
             for names, part in values.groupby(KEYS, sort=False)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def find_smallest_p(num_identities, num_controls):
    """The smallest p-value that so many targets, and so many control identities beside them, can give: float, in (0, 1]."""
    return 1 / min(math.perm(int(num_identities + num_controls), int(num_identities)), MAX_COUNTED)


def _deal(random, num_identities, num_places, num_draws):
    """Different identities for the places, drawn ``num_draws`` times: int [num_draws, num_places]."""
    return random.permuted(np.tile(np.arange(num_identities), (num_draws, 1)), axis=1)[:, :num_places]


def _test_effect(table, dealt, weights, confidence):
    """Value, interval and one-sided p-value of a weighted mean: table [P, G] and deals [R, P, G] of values, weights [P, G]."""
    value, null = _weigh(table[None], weights)[0], _weigh(dealt, weights)
    low, high = bound_mean((table * weights).sum(1), confidence)
    return {"value": value, "low": low, "high": high, "p_value": (1 + (null >= value - 1e-12).sum()) / (1 + len(null))}


def _test_imbalance(table, control, order, is_none):
    """Value and two-sided p-value of targets minus control identities, in the generators of ``is_none``, [P, G].

    Where a target was used for training, its value may be large for that reason: its mean elsewhere stands there.
    """
    weights = average_generators(is_none)
    of_generators = weights.sum(0) / max(1, int(is_none.any(1).sum()))
    table = np.where(is_none, table, (table * weights).sum(1, keepdims=True))
    together = np.concatenate([table, control])

    def compare(values):
        return _weigh(values, weights) - (together.sum(0) - values.sum(1)) @ of_generators / len(control)

    value, null = compare(table[None])[0], compare(together[order])
    reached = min((null >= value - 1e-12).sum(), (null <= value + 1e-12).sum())
    return {"value": value, "p_value": min(1.0, 2 * (1 + reached) / (1 + len(null)))}


def _weigh(values, weights):
    """The mean over places of their weighted values: [R] of [R, P, G]; places without a weight do not count."""
    counted = max(1, int((weights != 0).any(1).sum()))
    return (values * weights).sum((1, 2)) / counted
