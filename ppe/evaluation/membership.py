"""From scores to a run's rows, one row a number: every attack under three memberships, with its controls and its ceilings."""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks.rivals import BASELINES
from ppe.attacks.selection import CONTROLS, MEMBER_GROUPS, MEMBERSHIPS, aggregate_queries, select_queries
from ppe.evaluation.tables import HEADLINE, NO_ROWS, judge_queries, label_rows, match_rows
from ppe.statistics.agreement import bootstrap_kappa
from ppe.statistics.intervals import MIN_IDENTITIES, compare_attacks, compare_ceiling
from ppe.statistics.metrics import compute_roc
from ppe.statistics.permutation import permute_often

AGGREGATES = ("mean", "largest")
CEILINGS = ("memorisation_ceiling", "held_out_ceiling")
UNCALIBRATED = {
    "nearest_calibrated": "nearest", "nearest_top_k_calibrated": "nearest_top_k", "density_ratio": "density",
}  # fmt: skip
"""Calibrated attack -> the same attack without calibration."""


def evaluate_scores(scores, members, *, num_resamples, num_permutations, num_shuffles, seed=0):
    """Evaluate every attack of a run under three memberships, per photo and per identity, with controls and ceilings.

    The attack ``nearest`` has all metrics, aggregates, controls and ceilings, and the check of the permutation test (metric
    ``permuted_share``). The other attacks have the AUC and the TPR per photo, the same per identity (mean score), and the
    negative control.

    Parameters
    ----------
    scores : DataFrame of ``ppe.attacks.queries.score_photos``.
    members : DataFrame, written by the trainer: group, image_id, identity.
    num_resamples, num_permutations, seed : as in ``ppe.statistics.intervals.evaluate_groups``.
    num_shuffles : int. As in ``ppe.statistics.permutation.permute_often``.

    Returns
    -------
    DataFrame, one row a number: the columns of ``KEYS``, member_group, metric, value, low, high, p_value, num_members,
    num_non_members.
    """
    settings = {"num_resamples": num_resamples, "num_permutations": num_permutations, "seed": seed}
    parts = []
    for (embedder, attack, calibration), table in scores.groupby(["embedder", "attack", "calibration"], sort=False):
        key = {"embedder": embedder, "attack": attack, "calibration": calibration}
        is_main = attack == "nearest"
        parts += _judge_memberships(table, members, settings, key, is_main)
        for control in list(CONTROLS)[1:] if is_main else ("negative_control",):
            if table.face_set.isin([CONTROLS[control].format(member_group=member_group) for member_group in MEMBER_GROUPS]).any():
                queries = select_queries(table, members, "identity_membership", control)
                parts.append(judge_queries(queries, ("auc",), settings, **key, control=control))
        if is_main:
            parts += _judge_ceilings(table, members, settings, key)
            queries = select_queries(table, members, "identity_membership")
            parts.append(label_rows([permute_often(queries, num_shuffles=num_shuffles, seed=seed)], **key, control="permuted"))
    return pd.concat(parts, ignore_index=True)


def compare_attack_rows(scores, members, *, num_resamples, seed=0):
    """Compute paired differences in AUC on the same query photos: ``attack`` minus the attack that ``versus`` names.

    Every attack is compared with ``nearest``, the paper's. Every calibrated attack is also compared with itself without
    calibration (``UNCALIBRATED``), which gives the gain from calibration. Above 0, ``attack`` is the better one. The baselines
    of ``ppe.attacks.rivals`` are compared in ``ppe.evaluation.appearance``; ``pixel`` is in both tables.

    scores, members, num_resamples, seed : as in ``evaluate_scores``. An attack without an embedder is compared with each
    embedder's ``nearest``. Returns rows, metric ``auc_difference``.
    """
    parts, elsewhere = [], set(BASELINES) - {"pixel"}
    tables = dict(list(scores.groupby(["embedder", "attack", "calibration"], sort=False)))
    for (embedder, versus, base), first in tables.items():
        for (other_embedder, attack, calibration), second in tables.items():
            is_pair = versus in {"nearest", UNCALIBRATED.get(attack)} and attack not in {versus, *elsewhere} and not base
            if is_pair and other_embedder in (embedder, ""):
                pair = [select_queries(t, members, "identity_membership") for t in (second, first)]
                row = compare_attacks(*pair, num_resamples=num_resamples, seed=seed)
                parts.append(label_rows([row], embedder=embedder, attack=attack, calibration=calibration, versus=versus))
    return pd.concat(parts, ignore_index=True) if parts else NO_ROWS


def judge_control(rows, control_p, embedder):
    """Judge the negative control: the reference generator knows neither group, so it must not separate them.

    The two member groups mirror each other, so p is twice the smaller of their one-sided permutation p-values (``nearest``,
    identity membership, per photo). A failure means that the reference generator or the embedder knows the identities of one
    group, or that the groups differ in another way. The control does not check the labels of members.

    Parameters
    ----------
    rows : DataFrame of ``evaluate_scores``.
    control_p : float. ``verdicts.control_p``: the control fails below this p.
    embedder : str

    Returns
    -------
    failed, p : bool, float in (0, 1].

    Raises
    ------
    ValueError
        If the control has no p-value.
    """
    wanted = {**HEADLINE, "control": "negative_control", "metric": "auc", "embedder": embedder}
    del wanted["member_group"]
    p = 2 * match_rows(rows, **wanted).p_value.min()
    if not np.isfinite(p):
        raise ValueError(f"the negative control of {embedder!r} has no p-value: rows of control 'negative_control' are missing")
    return bool(p < control_p), float(min(1.0, p))


def judge_agreement(scores, members, verdict_fpr, *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute Cohen's (1960) kappa of two embedders' verdicts on the same query photos, each at its threshold of one FPR.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the attack ``nearest`` by all embedders.
    members : DataFrame, written by the trainer.
    verdict_fpr : float, in (0, 1). An embedder's threshold for each member group is the lowest whose FPR does not exceed it.
    num_resamples, confidence, seed : as in ``ppe.statistics.agreement.bootstrap_kappa``; the thresholds stay fixed.

    Returns
    -------
    DataFrame, one row a pair of embedders
        metric ``cohen_kappa`` (1: the same verdicts, 0: the agreement of chance), averaged over member groups; ``versus`` is the
        other embedder. NaN where the identities do not resolve that FPR; no interval below ``MIN_IDENTITIES`` identities a group.
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
        is_few = pair[0].groupby(["member_group", "is_member"]).identity.nunique().min() < MIN_IDENTITIES
        value = low = high = np.nan
        if is_resolved:
            value, low, high = bootstrap_kappa(*pair, num_resamples=num_resamples, confidence=confidence, seed=seed)
        ends = {"low": np.nan, "high": np.nan} if is_few else {"low": low, "high": high}
        rows.append(label_rows([{"metric": "cohen_kappa", "value": value, **ends}], embedder=first, versus=second))
    return pd.concat(rows, ignore_index=True) if rows else NO_ROWS


def _judge_memberships(table, members, settings, key, is_main):
    """The rows of one attack under the three memberships, per photo, and per identity for identity membership."""
    parts = []
    for membership in MEMBERSHIPS:
        queries = select_queries(table, members, membership)
        metrics = ("auc", "tpr_at_fpr_1e-1", *(["tpr_at_fpr_1e-2", "average_precision"] * is_main))
        if membership == "photo_given_identity":
            metrics = ("auc",)  # the others would rank photos of different identities
        parts.append(judge_queries(queries, metrics, settings, **key, membership=membership))
        if membership == "identity_membership":
            for how in AGGREGATES if is_main else ("mean",):
                reduced = aggregate_queries(queries, how)
                parts.append(judge_queries(reduced, ("auc", "tpr_at_fpr_1e-1"), settings, **key, level="identity", aggregate=how))
    return parts


def _judge_ceilings(table, members, settings, key):
    """The leak as a share of each ceiling: of what this embedder can find at most."""
    queries = select_queries(table, members, "identity_membership")
    parts = []
    for control in CEILINGS:
        if table.face_set.eq(CONTROLS[control].format(member_group="a")).any():
            ceiling = select_queries(table, members, "identity_membership", control)
            row = compare_ceiling(queries, ceiling, num_resamples=settings["num_resamples"], seed=settings["seed"])
            parts.append(label_rows([row], **key, versus=control))
    return parts
