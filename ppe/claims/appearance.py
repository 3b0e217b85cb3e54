"""Claim 1 speaks of identity: what it says where a measure that sees no identity does as well as the face recognition model."""

from ppe.attacks.appearance import RIVALS
from ppe.claims.evidence import EXPLORATORY
from ppe.evaluation.appearance import judge_appearance


def mark_appearance(claims, rows, runs):
    """Add to each judged row of C1 whether the leak is one of identity, in ``leak_of`` and in words.

    Parameters
    ----------
    claims : DataFrame with ``ppe.claims.evidence.COLUMNS``, before ``correct_verdicts``.
    rows : DataFrame of ``ppe.evaluation.collection.collect_rows``.
    runs : DataFrame of ``ppe.claims.evidence.describe_evidence``.

    Returns
    -------
    DataFrame, the same with ``leak_of``
        ``identity`` if the interval of ``nearest`` minus each rival lies above 0, the mean of its ends over the seeds; else
        ``appearance``; ``untested`` where a run has no rows of the rivals, which earlier versions did not score.
    """
    claims, embedders = claims.copy(), runs.set_index("run").embedder
    for index, row in claims[(claims.claim == "C1") & (claims.verdict != "shown")].iterrows():
        own = rows[rows.run.isin(row.runs.split())]
        compared = own[(own.metric == "auc_difference") & own.versus.isin(RIVALS)]
        if set(compared.run) != set(own.run) or set(compared.versus) != set(RIVALS):
            leak, words = "untested", "whether appearance explains it was not tested"
        else:
            rival, value, low, high, is_identity = judge_appearance(own, embedders[row.runs.split()[0]])
            leak = "identity" if is_identity else "appearance"
            interval = f" [{low:.2f}, {high:.2f}]" if low == low else ", without an interval"
            words = f"{value:+.2f}{interval} over the best measure that sees no identity ({rival})"
        reason = row.reason.removesuffix(f"; {EXPLORATORY}")
        end = row.reason[len(reason) :]  # that the verdict is exploratory is said last
        claims.loc[index, ["leak_of", "reason"]] = leak, f"{reason}; {words}{end}"
    return claims
