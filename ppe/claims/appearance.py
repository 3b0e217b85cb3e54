"""Claim 1 speaks of identity: what it says where a measure that sees no identity does as well as the face recognition model."""

import numpy as np

from ppe.attacks.rivals import RIVALS
from ppe.claims.evidence import EXPLORATORY, say_p
from ppe.evaluation.appearance import judge_appearance
from ppe.evaluation.shared_identities import find_correlations
from ppe.evaluation.tables import match_rows
from ppe.statistics.pooling import compute_mean_p


def mark_appearance(claims, rows, runs, shared=None):
    """Add to each judged row of C1 whether the leak is one of identity, in ``leak_of`` and in words.

    Parameters
    ----------
    claims : DataFrame with ``ppe.claims.evidence.COLUMNS``, before ``correct_verdicts``.
    rows : DataFrame of ``ppe.evaluation.collection.collect_rows``.
    runs : DataFrame of ``ppe.claims.evidence.describe_evidence``.
    shared : DataFrame of ``ppe.evaluation.shared_identities.relate_runs``, or None.

    Returns
    -------
    DataFrame, the same with ``lead_p``, of ``judge_lead``, and with ``leak_of``
        ``identity`` if the interval of ``nearest`` minus each rival lies above 0, the mean of its ends over the seeds; else
        ``appearance``; ``untested`` where a run has no rows of the rivals, which earlier versions did not score. It is judged by
        the embedder that gives the verdict. What the other sound ones say stands in the words.
    """
    claims, known = claims.copy(), runs.set_index("run")
    for index, row in claims[(claims.claim == "C1") & (claims.verdict != "shown")].iterrows():
        own = rows[rows.run.isin(row.runs.split())]
        compared = own[(own.metric == "auc_difference") & own.versus.isin(RIVALS)]
        if set(compared.run) != set(own.run) or set(compared.versus) != set(RIVALS):
            leak, lead_p, words = "untested", np.nan, "whether appearance explains it was not tested"
        else:
            first = known.loc[row.runs.split()[0]]
            leak, lead, rival = _compare_with_rivals(own, first.embedder)
            lead_p = judge_lead(own, row.runs.split(), first.embedder, shared)
            words = f"{lead} over the best measure that sees no identity ({rival})"
            words += f", over each of them {say_p(lead_p)}" if lead_p == lead_p else ""
            for embedder in first.others:
                other, lead, rival = _compare_with_rivals(own, embedder)
                words += f"; {lead} over {rival} by the embedder {embedder}, which would say {other}"
        reason = row.reason.removesuffix(f"; {EXPLORATORY}")
        end = row.reason[len(reason) :]  # that the verdict is exploratory is said last
        claims.loc[index, ["leak_of", "lead_p", "reason"]] = leak, lead_p, f"{reason}; {words}{end}"
    return claims


def judge_lead(rows, runs, embedder, shared=None):
    """Compute the p-value of ``nearest`` beating every rival: the largest of those of the rivals (Berger 1982).

    rows, embedder : as in ``ppe.evaluation.appearance.judge_appearance``; runs : list of str, the seeds of a setting; shared : as
    in ``mark_appearance``. Seeds go together at most as far as they share identities: the column ``bound``. Returns a float, NaN
    where there is no interval.
    """
    known = None if shared is None else shared.assign(correlation=np.nan)  # those of AUCs are not those of leads
    linked = find_correlations(known, runs, embedder, np.ones(len(runs)))
    found = match_rows(rows, attack="nearest", metric="auc_difference", embedder=embedder, slice="all", member_group="pooled")
    found = found[found.versus.isin(RIVALS)].astype({"value": float, "low": float, "high": float})
    return float(np.max([compute_mean_p(part.set_index("run").loc[runs], linked) for _, part in found.groupby("versus")]))


def _compare_with_rivals(rows, embedder):
    """``identity`` or ``appearance``, the lead over the best rival in words, and its name."""
    rival, value, low, high, is_identity = judge_appearance(rows, embedder)
    interval = f" [{low:.2f}, {high:.2f}]" if low == low else ", without an interval"
    return "identity" if is_identity else "appearance", f"{value:+.2f}{interval}", rival
