"""From queries to a run's rows, one row a number: every attack under three memberships, its controls and its ceilings."""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks.queries import CONTROLS, MEMBER_GROUPS, MEMBERSHIPS, aggregate_queries, select_queries
from ppe.evaluation.tables import HEADLINE, NO_ROWS, judge_queries, label_rows, match_rows
from ppe.statistics.agreement import bootstrap_kappa
from ppe.statistics.intervals import MIN_IDENTITIES, compare_attacks, compare_ceiling
from ppe.statistics.metrics import compute_roc
from ppe.statistics.permutation import permute_often

AGGREGATES = ("mean", "largest")
CEILINGS = ("memorisation_ceiling", "held_out_ceiling")
CALIBRATED = {
    "nearest_calibrated": "nearest", "nearest_top_k_calibrated": "nearest_top_k", "density_ratio": "density",
}  # fmt: skip
"""Calibrated attack -> the same without a reference."""
def evaluate_scores(scores, members, *, num_resamples, num_permutations, num_shuffles, seed=0):
    """Judge every attack of a run: three memberships, per photo and per person, with the controls and the ceilings.

    The attack ``identity`` is looked at in full; of the others the AUC and the TPR per photo, the AUC per person (mean),
    and the judged control. The permutation control is in the metrics ``permuted_share`` and ``permuted_misses``.

    Returns
    -------
    DataFrame, a row a number: the columns of ``KEYS``, half, metric, value, low, high, p_value, num_members,
    num_non_members.
    """
    settings = {"num_resamples": num_resamples, "num_permutations": num_permutations, "seed": seed}
    parts = []
    for (embedder, attack, reference), table in scores.groupby(["embedder", "attack", "calibration"], sort=False):
        key = {"embedder": embedder, "attack": attack, "calibration": reference}
        is_main = attack == "nearest"
        for membership in MEMBERSHIPS:
            queries = select_queries(table, members, membership)
            metrics = ("auc", "tpr_at_fpr_1e-1", *(["average_precision"] * is_main))
            if membership == "photo_given_identity":
                metrics = ("auc",)  # the others would rank photos of different people
            parts.append(judge_queries(queries, metrics, settings, **key, membership=membership))
            for how in AGGREGATES if is_main and membership == "identity_membership" else ("mean",) * (membership == "identity_membership"):
                person = aggregate_queries(queries, how)
                parts.append(judge_queries(person, ("auc", "tpr_at_fpr_1e-1"), settings, **key, level="identity", aggregate=how))
        for control in list(CONTROLS)[1:] if is_main else ("negative_control",):
            if table.face_set.isin({CONTROLS[control].format(member_group=member_group) for member_group in MEMBER_GROUPS}).any():
                queries = select_queries(table, members, "identity_membership", control)
                parts.append(judge_queries(queries, ("auc",), settings, **key, control=control))
        if is_main:
            parts += _judge_ceilings(table, members, settings, key)
            queries = select_queries(table, members, "identity_membership")
            parts.append(label_rows([permute_often(queries, num_shuffles=num_shuffles, seed=seed)], **key, control="permuted"))
    return pd.concat(parts, ignore_index=True)


def compare_attack_rows(scores, members, *, num_resamples, seed=0):
    """Rows of paired differences in AUC on the same unseen photos: ``attack`` minus the one that ``versus`` names.

    Every other attack is compared with the paper's: it minus ``identity``. And every calibrated attack with itself without
    the reference (``CALIBRATED``), which is what calibration gains. Above 0 ``attack`` is better.

    scores, members : as in ``evaluate_scores``. An attack without an embedder is compared with each embedder's.
    """
    parts = []
    tables = dict(list(scores.groupby(["embedder", "attack", "calibration"], sort=False)))
    for (embedder, versus, base), first in tables.items():
        for (other_embedder, attack, reference), second in tables.items():
            is_pair = versus in {"nearest", CALIBRATED.get(attack)} and attack != versus and not base
            if is_pair and other_embedder in (embedder, ""):
                pair = [select_queries(t, members, "identity_membership") for t in (second, first)]
                row = compare_attacks(*pair, num_resamples=num_resamples, seed=seed)
                parts.append(label_rows([row], embedder=embedder, attack=attack, calibration=reference, versus=versus))
    return pd.concat(parts, ignore_index=True) if parts else NO_ROWS


def _judge_ceilings(table, members, settings, key):
    """The leak as a share of what this embedder could find at best."""
    queries = select_queries(table, members, "identity_membership")
    parts = []
    for control in CEILINGS:
        if table.face_set.eq(CONTROLS[control].format(member_group="a")).any():
            ceiling = select_queries(table, members, "identity_membership", control)
            row = compare_ceiling(queries, ceiling, num_resamples=settings["num_resamples"], seed=settings["seed"])
            parts.append(label_rows([row], **key, versus=control))
    return parts


def judge_control(rows, control_p, embedder):
    """Whether the judged control failed: GAN c, who saw nobody of either half, must not tell the halves apart.

    rows : of ``evaluate_scores``. Returns (failed, p): the halves mirror each other, so p is twice the smaller of their
    one-sided permutation p-values (identity attack, identity membership, per photo); failed where p < ``control_p``. It
    finds a GAN c or an embedder that knows one half's people; it says nothing about the labels of members.
    """
    judged = {**HEADLINE, "control": "negative_control", "metric": "auc", "embedder": embedder}
    del judged["member_group"]
    p = 2 * match_rows(rows, **judged).p_value.min()
    if not np.isfinite(p):
        raise ValueError(f"the judged control of {embedder!r} has no p-value: rows of control 'disjoint' are missing")
    return bool(p < control_p), float(min(1.0, p))


def judge_agreement(scores, members, verdict_fpr, *, num_resamples=2000, confidence=0.95, seed=0):
    """Cohen's (1960) kappa of two embedders' verdicts on the same unseen photos, each at its threshold of one FPR.

    scores : DataFrame of ``score_photos``, the identity attack by all embedders. verdict_fpr : float, in (0, 1).
    num_resamples, confidence, seed : of the interval, percentiles over draws of people of either group; thresholds stay.
    Returns rows, metric ``cohen_kappa`` (1: the same verdicts, 0: as chance would agree), ``versus`` the other embedder;
    mean over the halves; NaN where the people do not resolve that FPR, and no interval below ``MIN_IDENTITIES`` people a group.
    """
    verdicts, is_resolved = {}, True
    for embedder, table in scores.groupby("embedder", sort=False):
        queries = select_queries(table, members, "identity_membership")
        for member_group, part in queries.groupby("member_group"):
            roc = compute_roc(part.score.to_numpy(), part.is_member.to_numpy())
            threshold = roc.threshold[roc.fpr <= verdict_fpr].min()
            verdicts[embedder, member_group] = part.assign(verdict=part.score >= threshold).reset_index(drop=True)
            is_resolved &= part[~part.is_member].identity.nunique() >= 1 / verdict_fpr
    names = list(dict.fromkeys(embedder for embedder, _ in verdicts))
    rows = []
    for first, second in itertools.combinations(names, 2):
        pair = [pd.concat([verdicts[name, group] for group in MEMBER_GROUPS], ignore_index=True) for name in (first, second)]
        few = pair[0].groupby(["member_group", "is_member"]).identity.nunique().min() < MIN_IDENTITIES
        value = low = high = np.nan
        if is_resolved:
            value, low, high = bootstrap_kappa(*pair, num_resamples=num_resamples, confidence=confidence, seed=seed)
        row = {"metric": "cohen_kappa", "value": value} | dict(zip(("low", "high"), (np.nan, np.nan) if few else (low, high), strict=True))
        rows.append(label_rows([row], embedder=first, versus=second))
    return pd.concat(rows, ignore_index=True) if rows else NO_ROWS
