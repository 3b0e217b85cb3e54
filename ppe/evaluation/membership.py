"""From queries to a run's rows, one row a number: every attack under three memberships, its controls and its ceilings."""

import numpy as np
import pandas as pd

from ppe.attacks.queries import CONTROLS, MEMBER_GROUPS, MEMBERSHIPS, aggregate_queries, select_queries
from ppe.statistics.intervals import compare_attacks, compare_ceiling, evaluate_groups, permute_often
from ppe.statistics.metrics import MIN_VERIFICATION_AUC

AGGREGATES = ("mean", "largest", "majority")
CEILINGS = ("memorisation_ceiling", "held_out_ceiling")
RUN_COLUMNS = [
    "dataset", "resolution", "generator", "num_identities", "train_photos", "max_train_photos", "query_photos", "kimg",
    "seed", "num_generated",
]  # fmt: skip
CALIBRATED = {
    "nearest_calibrated": "nearest", "nearest_top_k_calibrated": "nearest_top_k", "density_ratio": "density",
}  # fmt: skip
"""Calibrated attack -> the same without a reference."""
KEYS = ["embedder", "attack", "calibration", "membership", "level", "aggregate", "control", "slice", "versus"]
HEADLINE = {
    "attack": "nearest", "membership": "identity_membership", "level": "photo", "control": "none", "slice": "all", "versus": "",
    "member_group": "pooled",
}  # fmt: skip


NO_ROWS = pd.DataFrame(columns=[*KEYS, "member_group", "metric", "value", "low", "high", "num_members", "num_non_members"])


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
            parts.append(label_rows(permute_often(queries, num_shuffles=num_shuffles, seed=seed), **key, control="permuted"))
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


def judge_queries(queries, metrics, settings, **keys):
    """``evaluate_groups`` with the columns of ``KEYS``.

    The halves of two controls are not pooled: they mirror each other, since one GAN c (or two nets full of noise) ranks
    everybody alike under both, so that their mean is 0.5 by construction.
    """
    pooled = keys.get("control", "none") not in ("negative_control", "untrained")
    return label_rows(evaluate_groups(queries, metrics, pooled=pooled, **settings), **keys)


def label_rows(rows, **keys):
    """Rows with the columns of ``KEYS``; those not named are as in the headline."""
    usual = {"embedder": "", "calibration": "", "aggregate": "", **HEADLINE}
    table = pd.DataFrame(rows)
    if "member_group" not in table:
        table = table.assign(member_group="pooled")
    return table.assign(**{name: {**usual, **keys}[name] for name in KEYS})


def describe_constants(constants, embedder):
    """Rows that say with which constants an attack was run: metric ``epsilon``, ``concentration`` or ``top_k``."""
    attacks = {"epsilon": "monte_carlo", "concentration": "density", "top_k": "nearest_top_k"}
    unknown = dict.fromkeys(["low", "high", "num_members", "num_non_members"], np.nan)
    rows = [
        label_rows([{"metric": name, "value": float(value), **unknown}], embedder=embedder, attack=attacks[name])
        for name, value in constants.items()
    ]
    return pd.concat(rows, ignore_index=True)


def describe_rows(rows, run, settings, verification=None):
    """Put the run's name and settings before its rows, in the study's column order.

    verification : dict, embedder -> AUC on people that it never saw, at the run's resolution; written beside each row.
    """
    if settings["max_train_photos"] is None:
        settings = {**settings, "max_train_photos": settings["train_photos"]}
    head = pd.DataFrame({"run": run, **{name: settings[name] for name in RUN_COLUMNS}}, index=rows.index)
    if "num_generated" in rows:  # rows of the effort curve have their own
        head["num_generated"] = rows.num_generated.fillna(head.num_generated).astype(int)
    table = pd.concat([head, rows.drop(columns="num_generated", errors="ignore")], axis=1)
    table["p_value"] = table.get("p_value", np.nan)
    table["embedder_auc"] = table.embedder.map(verification or {}).astype(float)
    order = ["run", *RUN_COLUMNS[:-1], "member_group", *KEYS, "num_generated", "metric", "value", "low", "high", "p_value"]
    return table[[*order, "num_members", "num_non_members", "embedder_auc"]]


def choose_embedder(verification):
    """The embedder that gives the verdict: the first that tells people apart well enough, else the first of all.

    verification : mapping, embedder -> AUC on people that it never saw, at the run's resolution.
    Returns (name, is_sound): where no embedder is sound, its numbers are shown and are no verdict.
    """
    sound = [name for name, auc in verification.items() if auc >= MIN_VERIFICATION_AUC]
    return (sound or list(verification))[0], bool(sound)


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


def match_rows(rows, **wanted):
    """The rows whose columns have the wanted values."""
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows
