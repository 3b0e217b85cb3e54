"""Leak against quality: what a defence costs, and which family of generators leaks more at equal quality."""

import numpy as np
import pandas as pd

from ppe.claims.pooling import list_numbers, pool_differences
from ppe.evaluation.collection import STRONGEST, select_headline
from ppe.evaluation.tables import HEADLINE, match_rows

QUALITY = "unseen photos"
"""Photos with which faces are compared: of the training identities, but not used for training. So a generator that draws what it
was to learn is near to them, and one that copies its training photos gains nothing by it. Likeness to these people is a part of
this distance, and so is a leak."""
SAME = ["dataset", "generator", "resolution", "num_identities", "query_photos", "seed"]
"""What a defended run and the run without a defence with which it is compared have in common."""
MEASURES = {
    "kernel_distance": {"versus": QUALITY}, "detected_share": {"versus": ""}, "diversity": {"versus": ""},
    "effective_identities": {"versus": ""},
}  # fmt: skip
"""Metric of quality -> the other column that finds it."""
COLUMNS = [
    "run", "generator", "num_identities", "kimg", "defence", "embedder", "auc", "auc_low", "auc_high", "change", "change_low",
    "change_high", "strongest_auc", "strongest_low", "strongest_high", "other_auc", "other_change", "other_change_low",
    "other_change_high", *MEASURES,
]  # fmt: skip


def compare_defences(rows, runs, min_auc, shared=None):
    """Put the leak of each run beside the quality of its faces.

    Parameters
    ----------
    rows : DataFrame of ``ppe.evaluation.collection.collect_rows``.
    runs : list of str
    min_auc : float, ``verdicts.min_verification_auc``.
    shared : DataFrame of ``ppe.evaluation.shared_identities.relate_runs``, or None: then no change has an interval.

    Returns
    -------
    DataFrame, a row a run
        run, its generator, num_identities, kimg and defence; ``embedder``, which attacks; ``auc`` of ``nearest`` with its 95 %
        interval; ``change``: this AUC minus that of the run without the defence, with the interval of their paired difference,
        below 0 where the defence protects, NaN where there is none; the AUC of the strongest attack; ``other_auc``: of
        ``nearest`` by the next embedder, which is the filter's own under the defence ``filter``, and its change;
        ``kernel_distance`` of the published faces to unseen photos of the training identities, small = good; ``detected_share``,
        ``diversity`` and ``effective_identities``, large = good. NaN where a row is missing.
    """
    table = pd.DataFrame([_describe_run(rows[rows.run == run], rows, run, min_auc) for run in runs], columns=COLUMNS)
    numbers = list_numbers(rows)
    settings = rows.drop_duplicates("run").set_index("run")
    for place, (run, embedder) in enumerate(zip(table.run, table.embedder, strict=True)):
        is_base = (settings[SAME] == settings.loc[run, SAME]).all(axis=1) & (settings.defence == "none")
        base = settings.index[is_base & settings.index.isin(runs)]
        if settings.loc[run, "defence"] != "none" and len(base):
            found = match_rows(rows[rows.run == run], **HEADLINE, metric="auc").embedder  # in the order of other_auc
            others = [name for name in found if name != embedder]
            for column, model in zip(("change", "other_change"), [embedder, *others[:1]], strict=False):
                change = pool_differences([run], [base[0]], model, numbers, shared)
                table.loc[place, [column, f"{column}_low", f"{column}_high"]] = [change[key] for key in ("value", "low", "high")]
    return table


def _describe_run(part, rows, run, min_auc):
    headline = select_headline(rows, run, min_auc)
    strongest = match_rows(part, **(HEADLINE | {"attack": STRONGEST}), metric="auc")
    others = match_rows(part, **HEADLINE, metric="auc")
    others = others[others.embedder != headline.embedder].value
    measured = part[(part.embedder == headline.embedder) & (part.member_group == "pooled")]
    last = find_last_snapshot(measured)
    quality = {name: _find_last(measured, last, metric=name, **keys) for name, keys in MEASURES.items()}
    return {
        **headline[["run", "generator", "num_identities", "kimg", "defence", "embedder"]].to_dict(),
        "auc": headline.value, "auc_low": headline.low, "auc_high": headline.high,
        **{f"strongest_{name}": strongest[column].iloc[0] if len(strongest) else np.nan
           for name, column in (("auc", "value"), ("low", "low"), ("high", "high"))},
        "other_auc": others.iloc[0] if len(others) else np.nan, **quality,
    }  # fmt: skip


def find_last_snapshot(rows):
    """Return the slice of the last snapshot among a run's rows, such as ``kimg: 20``; "" if there is none."""
    slices = rows.slice[rows.slice.str.startswith("kimg: ")].unique()
    return max(slices, key=lambda name: float(name.split(": ")[1]), default="")


def _find_last(rows, last, **keys):
    found = match_rows(rows[rows.slice.isin([last, "all"])], **keys).value
    return found.iloc[0] if len(found) else np.nan


def trace_training(rows, runs, min_auc):
    """List leak and quality of each run's snapshots, in the order of training.

    Parameters as in ``compare_defences``. Returns a DataFrame, a row a snapshot but the untrained one: run, generator, defence,
    kimg, ``auc`` of ``nearest`` with ``auc_low`` and ``auc_high``, and ``kernel_distance`` to unseen photos.
    """
    parts = []
    for run in runs:
        headline = select_headline(rows, run, min_auc)
        own = rows[(rows.run == run) & (rows.embedder == headline.embedder) & rows.slice.str.startswith("kimg: ")]
        own = own[own.member_group == "pooled"].assign(kimg=own.slice.str.split(": ").str[1].astype(float))
        leak = match_rows(own, metric="auc").set_index("kimg")[["value", "low", "high"]]
        leak = leak.set_axis(["auc", "auc_low", "auc_high"], axis=1)
        far = match_rows(own, metric="kernel_distance", versus=QUALITY).set_index("kimg").value
        known = {name: headline[name] for name in ("run", "generator", "defence")}
        parts.append(leak.assign(kernel_distance=far).reset_index().query("kimg > 0").sort_values("kimg").assign(**known))
    columns = ["run", "generator", "defence", "kimg", "auc", "auc_low", "auc_high", "kernel_distance"]
    return pd.concat(parts, ignore_index=True)[columns]
