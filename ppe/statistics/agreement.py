"""Agreement of two face recognition models' verdicts on the same photos: Cohen's kappa, bootstrapped over identities."""

import warnings

import numpy as np
from sklearn.metrics import cohen_kappa_score

from ppe.statistics.resampling import arrange_identities, draw_identities


def bootstrap_kappa(first, second, *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute Cohen's (1960) kappa of two columns of verdicts, averaged over member groups, and its percentile interval.

    Identities are drawn once for both member groups, as for every other interval of the study.

    Parameters
    ----------
    first, second : DataFrame
        ``member_group``, ``identity``, ``is_member`` (bool), ``verdict`` (bool); alike row by row except for ``verdict``.
    num_resamples, seed : int
    confidence : float, in (0, 1).

    Returns
    -------
    value, low, high : float, in [-1, 1]
        1: the same verdicts; 0: the agreement of chance. ``value`` is NaN where both models give all photos of a member group
        one and the same verdict. ``low`` and ``high`` are NaN below two resamples.

    Raises
    ------
    ValueError
        As ``ppe.statistics.resampling.resample_identities``.
    """
    tables = [table.assign(score=table.verdict.astype(float)) for table in (first, second)]
    (groups, group), (others, _) = (arrange_identities(table) for table in tables)
    counts = draw_identities(group, num_resamples, seed)
    values = [_weigh_kappa(own[0], other[0], counts[:, own[1]]) for own, other in zip(groups, others, strict=True)]
    drawn = np.mean(values, axis=0)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.nanquantile(drawn[1:], tails) if num_resamples > 1 else (np.nan, np.nan)
    return float(drawn[0]), float(low), float(high)


def _weigh_kappa(first, second, weights):
    """Compute kappa of two lists of verdicts for each row of weights [R, N]: [R]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kappa of a sample in which all verdicts are equal is 0 / 0
        return np.array([cohen_kappa_score(first, second, labels=[0.0, 1.0], sample_weight=row) for row in weights])
