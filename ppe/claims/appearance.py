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
        ``appearance``; ``untested`` where a run has no rows of the rivals, which earlier versions did not score. It is judged by
        the embedder that gives the verdict. What the other sound ones say stands in the words.
    """
    claims, known = claims.copy(), runs.set_index("run")
    for index, row in claims[(claims.claim == "C1") & (claims.verdict != "shown")].iterrows():
        own = rows[rows.run.isin(row.runs.split())]
        compared = own[(own.metric == "auc_difference") & own.versus.isin(RIVALS)]
        if set(compared.run) != set(own.run) or set(compared.versus) != set(RIVALS):
            leak, words = "untested", "whether appearance explains it was not tested"
        else:
            first = known.loc[row.runs.split()[0]]
            leak, lead, rival = _compare_with_rivals(own, first.embedder)
            words = f"{lead} over the best measure that sees no identity ({rival})"
            for embedder in first.others:
                other, lead, rival = _compare_with_rivals(own, embedder)
                words += f"; {lead} over {rival} by the embedder {embedder}, which would say {other}"
        reason = row.reason.removesuffix(f"; {EXPLORATORY}")
        end = row.reason[len(reason) :]  # that the verdict is exploratory is said last
        claims.loc[index, ["leak_of", "reason"]] = leak, f"{reason}; {words}{end}"
    return claims


def _compare_with_rivals(rows, embedder):
    """``identity`` or ``appearance``, the lead over the best rival in words, and its name."""
    rival, value, low, high, is_identity = judge_appearance(rows, embedder)
    interval = f" [{low:.2f}, {high:.2f}]" if low == low else ", without an interval"
    return "identity" if is_identity else "appearance", f"{value:+.2f}{interval}", rival
