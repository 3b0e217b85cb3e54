"""Several tests at once: p-values that hold for all of them together (Holm 1979, "A simple sequentially rejective procedure")."""

import numpy as np


def adjust_holm(p_values):
    """Correct p-values for their number: rejecting those below a level makes one false rejection or more at most that often.

    The smallest of m p-values is multiplied by m, the next by m - 1, and so on. A corrected value is never smaller than that of a
    smaller p-value, and at most 1. It is valid however the tests depend on each other.

    Parameters
    ----------
    p_values : sequence of float, in [0, 1]. NaN is no test: it stays NaN and is not counted.

    Returns
    -------
    adjusted : ndarray, float64, in [0, 1], in the same order.

    Raises
    ------
    ValueError
        If a p-value is not in [0, 1].
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted, tested = p_values.copy(), np.flatnonzero(~np.isnan(p_values))
    if ((p_values[tested] < 0) | (p_values[tested] > 1)).any():
        raise ValueError(f"p-values {p_values[tested].tolist()} are not all in [0, 1]")
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p_values[order]))
    return adjusted
