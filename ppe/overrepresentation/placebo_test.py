"""Null people in the places of a square's subjects: how much would be seen of somebody whom no GAN was shown?

A GAN has modes whoever it was shown, and a mode may look like a subject. Null people are matched to the same faces of the same
GANs, so that what a GAN does by itself is in both. What is tested is one number, the *contrast*: the mean over subjects of the
value at the largest dose minus the value at dose 0. It weighs how much is seen, where a correlation of ranks would not.
"""

import math

import numpy as np
import pandas as pd

MAX_COUNTED = 10**9
"""Beyond so many assignments of people to places nobody asks whether a p-value can be reached."""


def compare_with_controls(values, control_values, *, num_draws=2000, confidence=0.95, seed=0):
    """Test the contrast of subjects against that of people drawn in their places.

    Under the null hypothesis a subject is as any null person is: then subjects and null people may be dealt out to the places of
    the square at random (each place has a dose in each GAN), and p is the share of deals, the true one among them, whose
    contrast reaches the true one. It assumes that who has photos enough to be a subject is not easier to match than others.

    Parameters
    ----------
    values : DataFrame identity, group, dose, value. Each subject once in each GAN.
    control_values : DataFrame identity, group, value. Each null person once in each of the same GANs.
    num_draws, seed : int
    confidence : float, in (0, 1).

    Returns
    -------
    DataFrame: dose, statistic, value, low, high, p_value, num_identities, num_controls. A row "null" a dose: the mean of null people,
    and the band in which the mean of as many null people as there are subjects lies. And, where some subject has both a dose
    above 0 and dose 0, a row "contrast" (dose NaN): the contrast, its interval (the shifts of a null contrast that the test
    does not refuse) and its one-sided p-value.
    """
    table, data_share = (values.pivot(index="identity", columns="group", values=name) for name in ("value", "data_share"))
    null = control_values.pivot(index="identity", columns="group", values="value").loc[:, table.columns].to_numpy()
    table, data_share = table.to_numpy(), data_share.to_numpy()
    num_identities, num_controls = len(table), len(null)
    random = np.random.default_rng(seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    alone = null[_deal(random, num_controls, min(num_identities, num_controls), num_draws)]
    rows = []
    for level in np.unique(data_share):
        weights = _average(data_share[: alone.shape[1]] == level)
        low, high = np.quantile(_weigh(alone, weights), tails)
        rows.append({"data_share": level, "statistic": "control", "value": null.mean(), "low": low, "high": high})
    weights = _average(data_share == data_share.max()) - _average(data_share == 0)
    has_both = (data_share == data_share.max()).any(1) & (data_share == 0).any(1) & (data_share.max() > 0)
    if has_both.any():
        weights[~has_both] = 0
        value = _weigh(table[None], weights)[0]
        dealt = _weigh(np.concatenate([table, null])[_deal(random, num_identities + num_controls, num_identities, num_draws)], weights)
        low, high = value - np.quantile(dealt, tails[::-1])
        p_value = (1 + (dealt >= value - 1e-12).sum()) / (1 + num_draws)
        rows.append({"data_share": np.nan, "statistic": "contrast", "value": value, "low": low, "high": high, "p_value": p_value})
    columns = ["data_share", "statistic", "value", "low", "high", "p_value"]
    return pd.DataFrame(rows).reindex(columns=columns).assign(num_identities=num_identities, num_controls=num_controls)


def find_smallest_p(num_identities, num_controls):
    """The smallest p-value that so many people in the places, and so many beside them, can give."""
    return 1 / min(math.perm(int(num_identities + num_controls), int(num_identities)), MAX_COUNTED)


def _deal(random, num_identities, num_peaks, num_draws):
    """Different people for the places, drawn again and again: int [num_draws, num_peaks]."""
    return random.permuted(np.tile(np.arange(num_identities), (num_draws, 1)), axis=1)[:, :num_peaks]


def _average(is_chosen):
    """Weights that average each person's chosen GANs: [P, G], rows that sum to 1, or to 0 where none is chosen."""
    return is_chosen / np.maximum(1, is_chosen.sum(1, keepdims=True))


def _weigh(people, weights):
    """The mean over people of their weighted values: [R] of [R, P, G]; people without a weight do not count."""
    counted = max(1, int((weights != 0).any(1).sum()))
    return (people * weights).sum((1, 2)) / counted
