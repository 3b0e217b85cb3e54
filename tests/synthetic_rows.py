"""Rows of runs whose headline is chosen, as the claims read them."""

import numpy as np
import pandas as pd

from ppe.claims.verdicts import judge_claims
from ppe.evaluation.tables import KEYS

USUAL = {
    "dataset": "d", "resolution": 32, "generator": "fastgan", "num_identities": 10, "train_photos": 5, "max_train_photos": 5,
    "query_photos": 5, "kimg": 32.0, "seed": 1, "num_generated": 3000,
}  # fmt: skip


def make_run(run, interval, p_value=0.02, control_p=0.5, embedder_auc=0.95, uneven=False, **settings):
    """The rows of a run that the claims read: its headline with (value, low, high), its judged control."""
    keys = {**dict.fromkeys(KEYS, ""), "embedder": "net", "attack": "nearest", "membership": "identity_membership", "level": "photo",
            "control": "none", "slice": "all", "member_group": "pooled", "metric": "auc"}  # fmt: skip
    rows = [dict(zip(("value", "low", "high"), interval, strict=True)) | {"p_value": p_value}]
    rows += [{"value": 0.5, "control": "negative_control", "member_group": member_group, "p_value": control_p / 2} for member_group in "ab"]
    if uneven:
        rows.append({"value": 0.5, "slice": "train_photos: 5"})
    return pd.DataFrame([{"run": run, **USUAL, "embedder_auc": embedder_auc, **keys, **settings, **row} for row in rows])


def make_difference(rows, first, second, interval, sweep):
    """The row of ``collect_rows`` of two runs' difference, (value, low, high)."""
    head = rows[(rows.run == first)].iloc[:1]
    names = dict(zip(("value", "low", "high"), interval, strict=True))
    return head.assign(metric="auc_difference", versus=second, slice=sweep, p_value=np.nan, **names)


def make_experiment(experiment="many", kind="many", p_value=0.002, contrast=(0.3, 0.2, 0.4), num_identities=5, embedder_auc=0.95):
    """The rows of a square that the claims read: the mean at dose 0 and at the largest, the contrast, and that of a ceiling."""
    keys = {"experiment": experiment, "kind": kind, "baseline": "none", "dataset": "d", "generator": "fastgan", "resolution": 32, "kimg": 28.0,
            "embedder": "net", "embedder_auc": embedder_auc, "calibration": "", "num_identities": num_identities,
            "num_controls": 24}  # fmt: skip
    rows = [{"measure": "match_share", "statistic": "mean", "data_share": 0.0, "value": 0.01}]
    rows.append({"measure": "match_share", "statistic": "mean", "data_share": 0.1, "value": 0.31})
    numbers = dict(zip(("value", "low", "high"), contrast, strict=True))
    rows.append({"measure": "match_share", "statistic": "contrast", "p_value": p_value, **numbers})
    grown = [-0.1, 0.1, 0.4, 0.6, 0.5][:num_identities]
    rows += [{"measure": "match_share", "statistic": "pseudonym", "pseudonym": str(i), "data_share": data_share, "value": 0.01 + (data_share > 0) * more}
             for i, more in enumerate(grown) for data_share in (0.0, 0.03, 0.1)]  # fmt: skip
    rows.append({"measure": "match_share_ceiling", "statistic": "contrast", "value": 0.5})
    return pd.DataFrame([{"low": np.nan, "high": np.nan, "p_value": np.nan, **keys, **row} for row in rows])


def judge(*parts, data_shares=None):
    return judge_claims(pd.concat(parts, ignore_index=True), data_shares, 0.01)
