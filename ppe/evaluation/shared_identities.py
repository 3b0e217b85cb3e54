"""Which runs share identities, and how their AUCs move together: what the interval of several seeds needs, without a name.

Committed scores have pseudonyms, which are numbered anew for each run. A table that said which pseudonym of one run is which of
another would give names away: splits are a function of the data set and the seed, so anybody can list who stands in which group
of two seeds. With 10 of 158 identities in a group, half of the shared ones have a pair of groups to themselves. So the link is
used where the scores with names lie, and what is committed is a number for each pair of runs.
"""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks.selection import select_queries
from ppe.statistics.pooling import correlate_runs

COLUMNS = ["run", "versus", "embedder", "num_shared", "bound", "correlation", "scores"]
MIN_SHARED = 5
"""Shared identities below which no correlation is committed: one of a single identity would tell its scores."""
DIGITS = 1
"""Decimals of a committed correlation: many links fit a number this coarse, and an interval hardly depends on more."""
SETTING = ["dataset", "generator", "resolution"]


def relate_runs(runs, named, digests, kept=None, *, num_resamples=2000, seed=0):
    """Measure for each pair of runs of one data set, generator and resolution how their AUCs of ``nearest`` move together.

    The correlation is that of a joint bootstrap over identities (``correlate_runs``). It is rounded, and left out where fewer
    than five identities are shared. Then ``bound`` serves: the correlation if shared identities mattered as much, and as
    alike, in both runs as one identity matters in one. The number of shared identities is no secret, since splits are none.

    Parameters
    ----------
    runs : DataFrame, index run, with ``SETTING``, in the order of params.yaml.
    named : dict, run -> DataFrame
        Queries of identity membership with names (``name_queries``). A run whose scores do not lie on this machine is left out.
    digests : dict, run -> str. The hash of its committed scores.
    kept : DataFrame of this function, or None
        Rows that were committed. They stand in for pairs that cannot be computed here, if both runs' scores are still the same.
    num_resamples, seed : int

    Returns
    -------
    DataFrame with ``COLUMNS``, one row a pair and embedder; ``scores`` are both digests. A pair that is not known has no row.
    """
    parts = []
    for first, second in itertools.combinations(runs.index, 2):
        if any(runs.loc[first, name] != runs.loc[second, name] for name in SETTING):
            continue
        scores = f"{digests.get(first, '')} {digests.get(second, '')}"
        if first in named and second in named:
            pair = _relate_pair(named[first], named[second], num_resamples, seed)
            parts.append(pair.assign(run=first, versus=second, scores=scores))
        elif kept is not None and len(kept):
            parts.append(kept[(kept.run == first) & (kept.versus == second) & (kept.scores == scores)])
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def name_queries(scores, members):
    """Select what ``relate_runs`` needs of a run's scores: the queries of ``nearest``, with names and the column ``embedder``.

    scores : DataFrame of ``ppe.attacks.queries.score_photos``; members : DataFrame, written by the trainer.
    """
    nearest = scores[scores.attack == "nearest"]
    parts = [select_queries(own, members, "identity_membership").assign(embedder=embedder)
             for embedder, own in nearest.groupby("embedder")]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def find_correlations(shared, runs, embedder, weights):
    """Look up the correlations of several runs' values, for a weighted sum of them.

    shared : DataFrame of ``relate_runs``, or None; runs : list of str; embedder : str; weights : sequence of float, [K].

    Returns
    -------
    correlation : ndarray [K, K], float
        NaN where a pair is not known, 1 on the diagonal. Where too few identities are shared for a correlation, ``bound`` between
        weights of one sign, and 0 between weights of two. These are the cautious values, and so is the end of what a rounded
        correlation may have been: the upper one between weights of one sign, the lower one between weights of two.
    """
    correlation, known = np.eye(len(runs)), {}
    if shared is not None:
        known = {frozenset((row.run, row.versus)): row for row in shared[shared.embedder == embedder].itertuples()}
    for i, j in itertools.combinations(range(len(runs)), 2):
        row, value = known.get(frozenset((runs[i], runs[j]))), np.nan
        if row is not None:
            sign = np.sign(weights[i] * weights[j])
            few = row.bound if sign > 0 else 0.0
            rounded = 0.5 * 10.0**-DIGITS if row.num_shared else 0.0  # of none that are shared it is 0
            value = np.clip(row.correlation + sign * rounded, -1, 1) if np.isfinite(row.correlation) else few
        correlation[i, j] = correlation[j, i] = value
    return correlation


def _relate_pair(first, second, num_resamples, seed):
    """The rows of one pair of runs, an embedder each."""
    rows = []
    for embedder in first.embedder.unique():
        pair = [queries[queries.embedder == embedder] for queries in (first, second)]
        if not all(map(len, pair)):
            continue
        num_shared, correlation = correlate_runs(*pair, num_resamples=num_resamples, seed=seed)
        sizes = [queries.identity.nunique() for queries in pair]
        is_told = num_shared == 0 or num_shared >= MIN_SHARED
        rows.append({"embedder": embedder, "num_shared": num_shared, "bound": round(num_shared / np.sqrt(np.prod(sizes)), 2),
                     "correlation": round(correlation, DIGITS) + 0.0 if is_told else np.nan})  # fmt: skip
    return pd.DataFrame(rows, columns=["embedder", "num_shared", "bound", "correlation"])
