"""The tables of a run, one row a number: their columns, the headline among them, and the embedder that gives the verdict."""

import numpy as np
import pandas as pd

from ppe.statistics.intervals import evaluate_groups

RUN_COLUMNS = [
    "dataset", "resolution", "generator", "num_identities", "train_photos", "max_train_photos", "query_photos", "kimg",
    "seed", "defence", "num_generated",
]  # fmt: skip
KEYS = ["embedder", "attack", "calibration", "membership", "level", "aggregate", "control", "slice", "versus"]
HEADLINE = {
    "attack": "nearest", "membership": "identity_membership", "level": "photo", "control": "none", "slice": "all", "versus": "",
    "member_group": "pooled",
}  # fmt: skip
NO_ROWS = pd.DataFrame(columns=[*KEYS, "member_group", "metric", "value", "low", "high", "num_members", "num_non_members"])


def judge_queries(queries, metrics, settings, **keys):
    """``evaluate_groups`` with the columns of ``KEYS``.

    Two controls are not pooled, the negative control and untrained generators. One generator, or two that output noise, ranks all
    photos alike under both member groups. The groups then mirror each other, and their mean is always 0.5.

    Parameters
    ----------
    queries, metrics : as in ``ppe.statistics.intervals.evaluate_groups``.
    settings : dict, its ``num_resamples``, ``num_permutations`` and ``seed``.
    keys : values of columns of ``KEYS``; the others are those of the headline.
    """
    pooled = keys.get("control", "none") not in ("negative_control", "untrained")
    return label_rows(evaluate_groups(queries, metrics, pooled=pooled, **settings), **keys)


def label_rows(rows, **keys):
    """Add the columns of ``KEYS`` to rows; columns that are not named in ``keys`` have the headline's values."""
    usual = {"embedder": "", "calibration": "", "aggregate": "", **HEADLINE}
    table = pd.DataFrame(rows)
    if "member_group" not in table:
        table = table.assign(member_group="pooled")
    return table.assign(**{name: {**usual, **keys}[name] for name in KEYS})


def describe_constants(constants, embedder):
    """List the constants of a run's attacks as rows, one metric a constant."""
    attacks = {"epsilon": "monte_carlo", "concentration": "density", "top_k": "nearest_top_k",
               "cohort_size": "nearest_snorm", "snorm_top_k": "nearest_snorm"}  # fmt: skip
    unknown = dict.fromkeys(["low", "high", "num_members", "num_non_members"], np.nan)
    rows = [
        label_rows([{"metric": name, "value": float(value), **unknown}], embedder=embedder, attack=attacks[name])
        for name, value in constants.items()
    ]
    return pd.concat(rows, ignore_index=True)


def describe_rows(rows, run, settings, verification=None):
    """Put the run's name and settings before its rows, in the study's column order.

    Parameters
    ----------
    rows : DataFrame with the columns of ``KEYS`` and the numbers.
    run : str
    settings : dict, the run's line of ``runs`` in params.
    verification : dict or None
        Embedder -> AUC on identities that it never saw, at the run's resolution; written beside each row.
    """
    if settings["max_train_photos"] is None:
        settings = {**settings, "max_train_photos": settings["train_photos"]}
    head = pd.DataFrame({"run": run, **{name: settings[name] for name in RUN_COLUMNS}}, index=rows.index)
    if "num_generated" in rows:  # the rows of ``judge_efforts`` and ``judge_snapshot`` have their own number
        head["num_generated"] = rows.num_generated.fillna(head.num_generated).astype(int)
    table = pd.concat([head, rows.drop(columns="num_generated", errors="ignore")], axis=1)
    table["p_value"] = table.get("p_value", np.nan)
    table["embedder_auc"] = table.embedder.map(verification or {}).astype(float)
    order = ["run", *RUN_COLUMNS[:-1], "member_group", *KEYS, "num_generated", "metric", "value", "low", "high", "p_value"]
    return table[[*order, "num_members", "num_non_members", "embedder_auc"]]


def select_verification(table, embedders, resolution):
    """Select each embedder's AUC on identities that it never saw, at one resolution.

    table : DataFrame, ``verification.csv`` of a data set; embedders : list of str; resolution : int, pixels.
    Returns a dict, embedder -> AUC, in the order of ``embedders``; NaN where an embedder was not checked.
    """
    return table[table.resolution == resolution].set_index("embedder").auc.reindex(embedders).to_dict()


def choose_embedder(verification, min_auc):
    """Choose the embedder that gives the verdict: the first that is sound, else the first of all.

    Parameters
    ----------
    verification : mapping, embedder -> AUC on identities that it never saw, at the run's resolution.
    min_auc : float. ``verdicts.min_verification_auc``: an embedder is sound from this AUC on.

    Returns
    -------
    (name, is_sound) : str, bool. Where no embedder is sound, its numbers are shown and give no verdict.
    """
    sound = [name for name, auc in verification.items() if auc >= min_auc]
    return (sound or list(verification))[0], bool(sound)


def match_rows(rows, **wanted):
    """Select the rows whose columns have the wanted values."""
    is_wanted = np.ones(len(rows), bool)  # one mask: each selection would copy all columns
    for column, value in wanted.items():
        is_wanted &= (rows[column] == value).to_numpy(bool)
    return rows[is_wanted]
