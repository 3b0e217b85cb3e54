"""AUC and ROC curve of one set of scores: the measures of an identity membership attack (Webster et al., arXiv 2107.06018).

Intervals and p-values, whose unit is the identity, are in ``ppe.statistics.intervals`` and ``ppe.statistics.permutation``.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

FPR_OF = {"tpr_at_fpr_1e-1": 1e-1, "tpr_at_fpr_1e-2": 1e-2, "tpr_at_fpr_1e-3": 1e-3}
METRICS = ("auc", "average_precision", *FPR_OF)
"""Names of the metrics; ``ppe.statistics.resampling`` computes all of them."""


def compute_auc(score, is_member):
    """Compute the area under the ROC curve: the share of (member, non-member) pairs in order; a tie is half a pair.

    Parameters
    ----------
    score : ndarray [N], float. Large = member.
    is_member : ndarray [N], bool.

    Returns
    -------
    auc : float, in [0, 1]; 0.5 is chance. NaN where one of the two classes is empty.

    Raises
    ------
    ValueError
        If the lengths differ, a score is not finite or ``is_member`` is not bool.
    """
    score, is_member = check_scores(score, is_member)
    return float(roc_auc_score(is_member, score)) if is_member.any() and not is_member.all() else np.nan


def compute_roc(score, is_member):
    """Compute every point of the ROC curve; parameters and errors as in ``compute_auc``.

    Returns
    -------
    roc : DataFrame
        ``fpr``, ``tpr`` and ``threshold``: a score at or above it counts as a member. The first row is (0, 0) at threshold
        infinity, the last is (1, 1). Equal scores are one point. No rows where one of the two classes is empty.
    """
    score, is_member = check_scores(score, is_member)
    if not is_member.any() or is_member.all():
        return pd.DataFrame({name: pd.Series(dtype=float) for name in ("fpr", "tpr", "threshold")})
    fpr, tpr, threshold = roc_curve(is_member, score, drop_intermediate=False)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": threshold})


def check_scores(score, is_member):
    """Return both as arrays; a ValueError says what is wrong unless they are finite scores and bools of one length."""
    score, is_member = np.asarray(score), np.asarray(is_member)
    if score.ndim != 1 or score.shape != is_member.shape:
        raise ValueError(f"score {list(score.shape)} and is_member {list(is_member.shape)} must be lists of one length")
    if is_member.dtype != bool:
        raise ValueError(f"is_member is {is_member.dtype}, but bool is needed")
    if num_bad := int((~np.isfinite(score.astype(np.float64))).sum()):
        raise ValueError(f"{num_bad} of {len(score)} scores are not finite numbers")
    return score, is_member
