"""The placebo test of an experiment: would control identities, in place of the targets, have looked the same?

Every generator has modes, and a mode may look like a target. Control identities are in no training set and are matched with the
same faces, so whatever a generator does by itself is in both. The test is a permutation test of one number, the *contrast*: the
mean over targets of the value at the largest data share, minus the mean at a data share of 0. The contrast measures how large
an effect is; a correlation of ranks would not.
"""

import math

import numpy as np
import pandas as pd

from ppe.overrepresentation.data_share import KEYS

MAX_COUNTED = 10**9
"""Assignments are counted up to here: with more of them, the smallest p-value is below any threshold in use."""


def compare_with_controls(values, control_values, *, num_draws=2000, confidence=0.95, seed=0):
    """Test the contrast of the targets by dealing targets and control identities out to the places of the Latin square.

    A place is a row of the square: a data share for each generator. Under the null hypothesis a target does not differ from a
    control identity, so all of them may be dealt out at random. p is the share of deals, the true one included, whose contrast
    reaches the true one. The test assumes that an identity with enough photos to be a target is no easier to match than others.

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
        - One row ``contrast`` (data_share NaN), if some target has both a data share above 0 and one of 0: the contrast, its
          one-sided p-value and its interval. The interval holds the shifts of a null contrast that the test does not reject.
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
        weights = _average(data_share[: alone.shape[1]] == level)
        low, high = np.quantile(_weigh(alone, weights), tails)
        rows.append({"data_share": level, "statistic": "control", "value": control.mean(), "low": low, "high": high})
    weights = _average(data_share == data_share.max()) - _average(data_share == 0)
    has_both = (data_share == data_share.max()).any(1) & (data_share == 0).any(1) & (data_share.max() > 0)
    if has_both.any():
        weights[~has_both] = 0
        value = _weigh(table[None], weights)[0]
        together = np.concatenate([table, control])
        dealt = _weigh(together[_deal(random, num_identities + num_controls, num_identities, num_draws)], weights)
        low, high = value - np.quantile(dealt, tails[::-1])
        p_value = (1 + (dealt >= value - 1e-12).sum()) / (1 + num_draws)
        rows.append({"data_share": np.nan, "statistic": "contrast", "value": value, "low": low, "high": high, "p_value": p_value})
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


def _average(is_chosen):
    """Weights that average the chosen generators of each place: [P, G], rows that sum to 1, or to 0 where none is chosen."""
    return is_chosen / np.maximum(1, is_chosen.sum(1, keepdims=True))


def _weigh(values, weights):
    """The mean over places of their weighted values: [R] of [R, P, G]; places without a weight do not count."""
    counted = max(1, int((weights != 0).any(1).sum()))
    return (values * weights).sum((1, 2)) / counted
