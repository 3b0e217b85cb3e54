"""ROC, AUC and TPR at low FPR of one set of scores: how an identity membership attack (Webster et al., arXiv 2107.06018)
is judged. Intervals and p-values are in ``ppe.statistics.intervals`` and ``ppe.statistics.resampling``: their unit is the person.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

FPR_OF = {"tpr_at_fpr_1e-1": 1e-1, "tpr_at_fpr_1e-2": 1e-2, "tpr_at_fpr_1e-3": 1e-3}
METRICS = ("auc", "average_precision", *FPR_OF)


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


def compute_average_precision(score, is_member):
    """Compute the mean precision over members, best score first; parameters and raises as in ``compute_auc``.

    Returns
    -------
    average_precision : float, in [0, 1]; the share of members is chance. NaN where one of the two classes is empty.
    """
    score, is_member = check_scores(score, is_member)
    return float(average_precision_score(is_member, score)) if is_member.any() and not is_member.all() else np.nan


def compute_roc(score, is_member):
    """Compute every point of the ROC curve; parameters and raises as in ``compute_auc``.

    Returns
    -------
    roc : DataFrame
        ``fpr``, ``tpr`` and ``threshold`` (a score; at or above it means member), from threshold infinity at (0, 0)
        down to (1, 1). Equal scores are one point. No rows where one of the two classes is empty.
    """
    score, is_member = check_scores(score, is_member)
    if not is_member.any() or is_member.all():
        return pd.DataFrame({name: pd.Series(dtype=float) for name in ("fpr", "tpr", "threshold")})
    fpr, tpr, threshold = roc_curve(is_member, score, drop_intermediate=False)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": threshold})


def compute_tpr_at_fpr(score, is_member, fpr, num_non_member_identities):
    """Compute the largest TPR of a threshold whose FPR is at most ``fpr``; never interpolated.

    Members that share their score with a non-member are found only at a threshold that lets that non-member in too.

    Parameters
    ----------
    score, is_member : as in ``compute_auc``.
    fpr : float, in (0, 1).
    num_non_member_identities : int
        Distinct people among the non-members; n people resolve 1 / n, however many photos they have.

    Returns
    -------
    tpr : float, in [0, 1]; ``fpr`` is chance. NaN where ``fpr`` < 1 / ``num_non_member_identities`` or a class is empty.

    Raises
    ------
    ValueError
        As ``compute_auc``, or if ``fpr`` is not between 0 and 1.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr={fpr} is not between 0 and 1")
    roc = compute_roc(score, is_member)
    if roc.empty or num_non_member_identities < 1 or fpr < 1 / num_non_member_identities:
        return np.nan
    return float(roc.loc[roc["fpr"] <= fpr, "tpr"].max())


def check_scores(score, is_member):
    """Both as arrays, if they are finite scores and bools of one length; else a ValueError that says what is wrong."""
    score, is_member = np.asarray(score), np.asarray(is_member)
    if score.ndim != 1 or score.shape != is_member.shape:
        raise ValueError(f"score {list(score.shape)} and is_member {list(is_member.shape)} must be lists of one length")
    if is_member.dtype != bool:
        raise ValueError(f"is_member is {is_member.dtype}, but bool is needed")
    if num_bad := int((~np.isfinite(score.astype(np.float64))).sum()):
        raise ValueError(f"{num_bad} of {len(score)} scores are not finite numbers")
    return score, is_member
