"""The rows of all runs in one table: differences between runs, the headline of each run, the points of the ROC curves."""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks.selection import restore_queries
from ppe.config import load_table
from ppe.evaluation.membership import judge_control
from ppe.evaluation.shared_identities import find_correlations
from ppe.evaluation.tables import HEADLINE, KEYS, RUN_COLUMNS, choose_embedder, match_rows
from ppe.statistics.intervals import compare_runs
from ppe.statistics.metrics import compute_roc

SWEEPS = {
    "equal kimg": "more identities, as many training images in all",
    "equal epochs": "more identities, each photo used as often",
    "photos": "more photos of each of the same identities, as many training images in all",
}
"""What differs between two compared runs -> in words."""
STRONGEST = "learned"
"""The attack that is shown beside ``nearest``, chosen on runs that give no verdict on attacks (docs/statistics.md)."""
GAINS = {
    "strongest_gain": (STRONGEST, "", "nearest"),
    "calibration_gain": ("nearest_calibrated", "reference_generator", "nearest"),
    "calibration_gain_top_k": ("nearest_top_k_calibrated", "reference_generator", "nearest_top_k"),
}
"""Name of a gain -> (attack, what calibrates it, the attack that it is compared with on the same photos)."""


def collect_rows(files, scores, shared=None):
    """Gather the rows of all runs, in the order of params.yaml, and add the differences between runs.

    Two runs that differ in one thing are compared. Such a row has the metric ``auc_difference``, the run with more identities (or
    more photos of each) in ``versus``, and a key of ``SWEEPS`` in ``slice``.

    Parameters
    ----------
    files : dict, run -> list of paths of its rows: those of 6_evaluate and of 7_sensitivity.
    scores : dict, run -> DataFrame of ``pseudonymise_scores``, from which the differences are computed.
    shared : DataFrame of ``ppe.evaluation.shared_identities.relate_runs``, or None
        How the two runs move together; where it does not say, their interval is wider than necessary.

    Returns
    -------
    DataFrame, one row a number.

    Raises
    ------
    FileNotFoundError
        If rows of a run are missing. Rows of runs that params.yaml no longer names are ignored.
    """
    missing = [run for run, paths in files.items() if not all(path.exists() for path in paths)]
    if missing:
        command = f"`dvc repro evaluate@{missing[0]} sensitivity@{missing[0]}`"
        raise FileNotFoundError(f"no rows of the runs {missing}: make them with {command}")
    rows = pd.concat([load_table(path) for paths in files.values() for path in paths], ignore_index=True)
    rows[KEYS] = rows[KEYS].fillna("").astype(str)
    return pd.concat([rows, *_compare_runs(rows, scores, shared)], ignore_index=True)


def name_sweep(first, second):
    """Name the one thing in which two runs differ: a key of ``SWEEPS``, or "" where they differ in more, or in nothing.

    At equal epochs kimg grows with the identities, so that every photo is used equally often. At equal kimg the photos of the
    smaller run are used more often.

    first, second : mapping with the columns of ``RUN_COLUMNS``.
    """
    different = {name for name in RUN_COLUMNS if first[name] != second[name]}
    if different == {"num_identities"}:
        return "equal kimg"
    if different == {"num_identities", "kimg"} and np.isclose(
        first["kimg"] * second["num_identities"], second["kimg"] * first["num_identities"]
    ):
        return "equal epochs"
    return "photos" if different in ({"max_train_photos"}, {"train_photos", "max_train_photos"}) else ""


def _compare_runs(rows, scores, shared):
    """Compute the differences between any two runs that ``name_sweep`` names, one row an embedder."""
    runs = rows[rows.slice == "all"].drop_duplicates("run").set_index("run")
    parts = []
    for first, second in itertools.combinations(runs.index, 2):
        sweep = name_sweep(runs.loc[first], runs.loc[second])
        if not sweep:
            continue
        first, second = sorted((first, second), key=lambda run: list(runs.loc[run, ["num_identities", "max_train_photos"]]))
        has_second = set(scores[second].embedder)  # a run that was made on a machine with fewer models lacks some
        for embedder in filter(has_second.__contains__, rows[rows.run == first].query("attack == 'nearest'").embedder.unique()):
            pair = [
                restore_queries(s[(s.attack == "nearest") & (s.embedder == embedder)]) for s in (scores[first], scores[second])
            ]
            row = match_rows(rows[rows.run == first], **HEADLINE, metric="auc", embedder=embedder).iloc[:1]
            correlation = find_correlations(shared, [first, second], embedder, [1, -1])[0, 1]
            parts.append(row.assign(**compare_runs(*pair, correlation=correlation), versus=second, slice=sweep))
    return parts


def select_headline(rows, run, min_auc):
    """Select the row of a run's headline: the AUC of ``nearest`` under identity membership, per photo, pooled.

    rows : DataFrame of ``collect_rows``; min_auc : float, ``verdicts.min_verification_auc``.
    """
    part = rows[rows.run == run]
    return match_rows(part, **HEADLINE, metric="auc", embedder=choose_embedder(_read_verification(part), min_auc)[0]).iloc[0]


def compute_headlines(rows, runs, rules):
    """Collect the numbers of each run that ``dvc metrics show`` prints.

    Parameters
    ----------
    rows : DataFrame of ``collect_rows``.
    runs : list of str
    rules : the section ``verdicts`` of params.

    Returns
    -------
    nested dict, run -> name -> number, None where there is none.
    """
    headlines = {}
    for run in runs:
        part = rows[rows.run == run]
        row = select_headline(part, run, rules.min_verification_auc)
        failed, p_value = judge_control(part, rules.control_p, row.embedder)
        values = {"auc": row.value, "auc_low": row.low, "auc_high": row.high, **_read_values(part, row.embedder),
                  "embedder_auc": row.embedder_auc, "control_p_value": p_value}
        headlines[run] = {name: None if pd.isna(v) else round(float(v), 4) for name, v in values.items()}
        headlines[run]["control_failed"] = failed
        headlines[run]["embedder_is_sound"] = choose_embedder(_read_verification(part), rules.min_verification_auc)[1]
    return headlines


def choose_sizes(auc, excuse, min_auc):
    """Choose the rows for the curve of AUC against the number of identities.

    Runs of seed 0 (tuning), defended runs, runs whose identities differ in training photos, runs whose control failed and
    embedders that are not sound are left out. If nothing is left, all rows of ``nearest`` are given.

    Parameters
    ----------
    auc : DataFrame, pooled rows of ``collect_rows`` whose metric is AUC.
    excuse : Series, run -> why no verdict is built on it, or "".
    min_auc : float. ``verdicts.min_verification_auc``.
    """
    is_main = auc.attack.isin(["nearest", "pixel"]) & (auc.level == "photo") & (auc.seed > 0)
    is_main &= auc.defence == "none"
    is_main &= ~auc.run.map(excuse).str.contains("failed")
    is_main &= (auc.max_train_photos == auc.train_photos) & ~(auc.embedder_auc < min_auc)
    chosen = auc[is_main & (auc.membership != "photo_given_identity")]
    return chosen if len(chosen) else auc[auc.attack == "nearest"]


def compute_roc_curves(scores, controls=("none", "negative_control", "untrained", "memorisation_ceiling", "held_out_ceiling")):
    """Compute the ROC points of ``nearest`` per photo for each member group, for the attack and its controls.

    scores : dict, run -> DataFrame of ``pseudonymise_scores``, of one embedder.
    Returns a DataFrame: run, control, member_group, fpr, tpr.
    """
    parts = []
    for run, hidden in scores.items():
        for control in controls:
            for member_group, queries in restore_queries(hidden, control=control).groupby("member_group"):
                roc = compute_roc(queries.score.to_numpy(), queries.is_member.to_numpy())
                parts.append(roc[["fpr", "tpr"]].assign(run=run, control=control, member_group=member_group))
    return pd.concat(parts, ignore_index=True)[["run", "control", "member_group", "fpr", "tpr"]]


def _read_verification(rows):
    """Embedder -> AUC on identities that it never saw, as a run's rows have it."""
    return rows[rows.embedder != ""].drop_duplicates("embedder").set_index("embedder").embedder_auc.to_dict()


def _read_values(rows, embedder):
    """The numbers of ``compute_headlines`` that are single cells of a run's rows; NaN where there is no such row."""
    calibrated = {"calibration": "reference_generator"}
    wanted = {
        "auc_identity_level": {"level": "identity", "aggregate": "mean"},
        "tpr_at_fpr_1e-1": {"metric": "tpr_at_fpr_1e-1"},
        "tpr_at_fpr_1e-2": {"metric": "tpr_at_fpr_1e-2"},
        "image_membership_auc": {"membership": "image_membership"},
        "photo_given_identity_auc": {"membership": "photo_given_identity"},
        "nearest_top_k_calibrated_auc": {"attack": "nearest_top_k_calibrated", **calibrated},
        "strongest_auc": {"attack": STRONGEST, "embedder": ""},
        "discriminator_auc": {"attack": "discriminator", "embedder": ""},
        "denoising_loss_auc": {"attack": "denoising_loss", "embedder": ""},
        "pixel_auc": {"attack": "pixel", "embedder": ""},
        "ceiling_auc": {"control": "held_out_ceiling"},
        "leak_share_of_ceiling": {"metric": "leak_share", "versus": "held_out_ceiling"},
    }
    values = {name: _read_first(rows, embedder, "value", keys) for name, keys in wanted.items()}
    for name, (attack, calibration, versus) in GAINS.items():
        keys = {"metric": "auc_difference", "attack": attack, "versus": versus, "calibration": calibration}
        for end, column in (("", "value"), ("_low", "low"), ("_high", "high")):
            values[name + end] = _read_first(rows, embedder, column, keys)
    return values


def _read_first(rows, embedder, column, keys):
    found = match_rows(rows, **{**HEADLINE, "metric": "auc", "embedder": embedder, **keys})[column]
    return found.iloc[0] if len(found) else np.nan
