"""Rows of runs and experiments whose headline is chosen, as the claims read them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from ppe.claims.verdicts import judge_claims
from ppe.evaluation.tables import KEYS

RULES = SimpleNamespace(
    alpha=0.05, num_permutations=999, small_auc=0.55, small_difference=0.05, ceiling_share=0.1, min_verification_auc=0.9,
    control_p=0.01,
)  # fmt: skip
USUAL = {
    "dataset": "d", "resolution": 32, "generator": "fastgan", "num_identities": 10, "train_photos": 5, "max_train_photos": 5,
    "query_photos": 5, "kimg": 32.0, "seed": 1, "defence": "none", "num_generated": 3000,
}  # fmt: skip


def make_run(run, interval, p_value=None, control_p=0.5, embedder_auc=0.95, uneven=False, **settings):
    """The rows of a run that the claims read: its headline with (value, low, high), and its negative control.

    p_value : float or None: small if the interval lies above chance.
    """
    p_value = p_value if p_value is not None else 0.0001 if interval[1] > 0.5 else 0.3
    keys = {**dict.fromkeys(KEYS, ""), "embedder": "first", "attack": "nearest", "membership": "identity_membership",
            "level": "photo", "control": "none", "slice": "all", "member_group": "pooled", "metric": "auc"}  # fmt: skip
    rows = [dict(zip(("value", "low", "high"), interval, strict=True)) | {"p_value": p_value}]
    rows += [{"value": 0.5, "control": "negative_control", "member_group": group, "p_value": control_p / 2} for group in "ab"]
    if uneven:
        rows.append({"value": 0.5, "slice": "train_photos: 5"})
    keys |= dict.fromkeys(("num_members", "num_non_members"), settings.get("num_identities", USUAL["num_identities"]))
    return pd.DataFrame([{"run": run, **USUAL, "embedder_auc": embedder_auc, **keys, **settings, **row} for row in rows])


def make_difference(rows, first, second, sweep):
    """The row of ``collect_rows`` that compares two runs, from whose own rows the claims compute the difference."""
    head = rows[(rows.run == first)].iloc[:1]
    return head.assign(metric="auc_difference", versus=second, slice=sweep, value=np.nan, low=np.nan, high=np.nan, p_value=np.nan)


def make_experiment(experiment="many", kind="many", p_value=0.002, contrast=(0.3, 0.2, 0.4), num_identities=5, embedder_auc=0.95):
    """The rows of an experiment that the claims read: means at a data share of 0 and at the largest, and contrasts."""
    keys = {"experiment": experiment, "kind": kind, "baseline": "none", "dataset": "d", "generator": "fastgan", "resolution": 32,
            "kimg": 28.0, "embedder": "first", "embedder_auc": embedder_auc, "calibration": "", "num_identities": num_identities,
            "num_controls": 24}  # fmt: skip
    rows = [{"measure": "match_share", "statistic": "mean", "data_share": 0.0, "value": 0.01}]
    rows.append({"measure": "match_share", "statistic": "mean", "data_share": 0.1, "value": 0.31})
    numbers = dict(zip(("value", "low", "high"), contrast, strict=True))
    rows.append({"measure": "match_share", "statistic": "contrast", "p_value": p_value, **numbers})
    for i, more in enumerate([-0.1, 0.1, 0.4, 0.6, 0.5][:num_identities]):
        target = {"measure": "match_share", "statistic": "identity", "pseudonym": str(i)}
        rows += [{**target, "data_share": level, "value": 0.01 + (level > 0) * more} for level in (0.0, 0.03, 0.1)]
    rows.append({"measure": "match_share_ceiling", "statistic": "contrast", "value": 0.5})
    return pd.DataFrame([{"low": np.nan, "high": np.nan, "p_value": np.nan, **keys, **row} for row in rows])


def judge(*parts, experiments=None, exploratory=None, scores=None, shared=None):
    return judge_claims(pd.concat(parts, ignore_index=True), experiments, RULES, exploratory, scores, shared)
