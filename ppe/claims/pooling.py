"""The numbers that a verdict is built on: the mean AUC of several seeds, or their mean difference between two sizes."""

import numpy as np

from ppe.attacks.selection import restore_queries
from ppe.claims.evidence import NULLS
from ppe.evaluation.shared_identities import find_correlations
from ppe.evaluation.tables import HEADLINE, match_rows
from ppe.statistics.permutation import permute_runs
from ppe.statistics.pooling import combine_p_values, invert_interval, pool_values

NUMBERS = ["value", "low", "high", "p_value", "num_members", "num_non_members"]


def list_numbers(rows):
    """List each run's headline number for each embedder: DataFrame of ``NUMBERS`` by (run, embedder).

    rows : DataFrame of ``ppe.evaluation.collection.collect_rows``.
    """
    found = match_rows(rows, **HEADLINE, metric="auc").drop_duplicates(["run", "embedder"])
    return found.set_index(["run", "embedder"]).reindex(columns=NUMBERS).sort_index()


def pool_leaks(runs, embedder, numbers, num_permutations, scores=None, shared=None):
    """Compute the mean AUC of several seeds, its interval and the p-value of C1.

    The interval is that of a bootstrap over identities, jointly over all seeds: an identity that stands in several of them is
    drawn with all its rows. It is conditional on the trained generators. The p-value is that of one permutation test over all
    seeds (``permute_runs``).

    Parameters
    ----------
    runs : list of str. Runs that differ in seed alone.
    embedder : str
    numbers : DataFrame of ``list_numbers``.
    num_permutations : int
    scores : dict, run -> DataFrame of ``pseudonymise_scores``, or None
        Where a run's are missing, p is that of its rows, and that of several seeds is twice the mean (Vovk and Wang 2020).
    shared : DataFrame of ``ppe.evaluation.shared_identities.relate_runs``, or None
        Where it does not know which identities two seeds share, the interval is no narrower than one seed's.

    Returns
    -------
    dict: value, low, high, p_value (float).
    """
    values, weights = numbers.loc[[(run, embedder) for run in runs]], np.full(len(runs), 1 / len(runs))
    first = values.iloc[0]
    value, low, high = first.value, first.low, first.high
    if len(runs) > 1:
        value, low, high = pool_values(values, weights, find_correlations(shared, runs, embedder, weights))
    tables = [_find_queries(scores, run, embedder) for run in runs]
    p_value = combine_p_values(values.p_value)
    if all(table is not None and len(table) for table in tables):
        p_value = permute_runs(tables, num_permutations=num_permutations)["p_value"]
    return {"value": float(value), "low": float(low), "high": float(high), "p_value": float(p_value)}


def pool_differences(runs, others, embedder, numbers, shared=None):
    """Compute the mean difference between two sizes over several seeds, its interval and the p-value of C2.

    The interval is that of a joint bootstrap over all runs, those of both sizes. No labels can be exchanged between two sizes, so
    p is the smallest at which the one-sided interval begins at 0 (``invert_interval`` says why).

    Parameters
    ----------
    runs, others : list of str. Runs with fewer and with more identities, in the same order of seeds.
    embedder, numbers, shared : as in ``pool_leaks``.

    Returns
    -------
    dict: value, low, high, p_value (float). NaN where a run has no such number.
    """
    pairs = [(run, embedder) for run in (*runs, *others)]
    if not set(pairs) <= set(numbers.index):
        return dict.fromkeys(("value", "low", "high", "p_value"), np.nan)
    values, weights = numbers.loc[pairs], np.repeat([1 / len(runs), -1 / len(runs)], len(runs))
    together = (values, weights, find_correlations(shared, [*runs, *others], embedder, weights))
    value, low, high = pool_values(*together)
    return {"value": value, "low": low, "high": high, "p_value": invert_interval(*together, null=NULLS["C2"])}


def describe_sharing(runs, embedder, shared):
    """Say how many identities any two of several seeds share, or that it is not known: str, empty for one seed."""
    if len(runs) < 2:
        return ""
    known = shared[shared.run.isin(runs) & shared.versus.isin(runs) & (shared.embedder == embedder)] if shared is not None else ()
    if len(known) < len(runs) * (len(runs) - 1) // 2:
        return "; it is unknown which identities the seeds share, so the interval is no narrower than one seed's"
    fewest, most = known.num_shared.min(), known.num_shared.max()
    return f"; two seeds share {fewest:g}{f' to {most:g}' if most > fewest else ''} identities, which are resampled together"


def _find_queries(scores, run, embedder):
    """A run's queries under pseudonyms, or None."""
    hidden = (scores or {}).get(run)
    return None if hidden is None else restore_queries(hidden[(hidden.embedder == embedder) & (hidden.attack == "nearest")])
