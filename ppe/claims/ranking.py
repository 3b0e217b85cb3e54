"""All attacks in one table, over the runs of all studies: how much each gains over the paper's score on the same photos."""

import numpy as np
import pandas as pd

from ppe.config import load_table
from ppe.evaluation.collection import select_headline
from ppe.evaluation.tables import HEADLINE, KEYS, RUN_COLUMNS, match_rows

COLUMNS = ["attack", "calibration", "embedder", "runs", "auc", "gain", "better", "worse"]


def rank_attacks(tables, min_auc):
    """Rank the attacks by their mean gain in AUC over ``nearest``, on the same query photos.

    A run, of one name and the same settings, counts once, in whatever number of studies it stands. Runs of seed 0, defended
    runs and runs without a sound embedder do not count.
    The gain is over ``nearest`` by the embedder that gives the run's verdict, and it is the difference of two pooled AUCs.
    Attacks by other embedders are left out.

    Parameters
    ----------
    tables : sequence of DataFrame of ``ppe.evaluation.collection.collect_rows``.
    min_auc : float, ``verdicts.min_verification_auc``.

    Returns
    -------
    DataFrame with ``COLUMNS``, largest mean gain first
        ``runs``: number of runs; ``auc`` and ``gain``: means over them; ``better`` and ``worse``: runs whose interval of the
        paired difference lies above, or below, 0. The gain of ``nearest`` is 0.
    """
    parts, seen = [], set()
    for table in tables:
        table = table.assign(**{name: table[name].fillna("").astype(str) for name in KEYS})
        settings = table.drop_duplicates("run").set_index("run", drop=False)[RUN_COLUMNS].astype(str).apply(tuple, axis=1)
        for run in [name for name, own in settings.items() if (name, own) not in seen]:  # two studies may use one name
            seen.add((run, settings[run]))
            parts.append(_list_gains(table, run, min_auc))
    gains = pd.concat([part for part in parts if part is not None], ignore_index=True)
    grouped = gains.groupby(["attack", "calibration", "embedder"], sort=False)
    ranked = grouped.agg(runs=("auc", "size"), auc=("auc", "mean"), gain=("gain", "mean"), better=("better", "sum"),
                         worse=("worse", "sum")).reset_index()  # fmt: skip
    return ranked.sort_values(["gain", "attack"], ascending=[False, True], ignore_index=True)[COLUMNS]


def write_ranking(files, min_auc):
    """Write the table of ``rank_attacks`` as Markdown. files : dict, study -> path of its claims, beside its ``attacks.csv``."""
    lines = ["| attack | calibration | runs | mean AUC | mean gain | clearly better | clearly worse |", "|---" * 7 + "|"]
    tables = [load_table(path.parent / "attacks.csv") for path in files.values()]
    for row in rank_attacks(tables, min_auc).itertuples():
        gain = "" if row.attack == "nearest" else f"{row.gain:+.3f}"
        calibration = row.calibration.replace("_", " ")
        lines.append(f"| `{row.attack}` | {calibration} | {row.runs} | {row.auc:.3f} | {gain} | {row.better} | {row.worse} |")
    return "\n".join(lines)


def _list_gains(table, run, min_auc):
    """The attacks of one run, or None if the run does not count."""
    headline = select_headline(table, run, min_auc)
    if headline.seed == 0 or headline.defence != "none" or not headline.embedder_auc >= min_auc:
        return None
    rows = table[(table.run == run) & table.embedder.isin([headline.embedder, ""])]
    auc = match_rows(rows, **{name: value for name, value in HEADLINE.items() if name != "attack"}, metric="auc")
    keys = ["attack", "calibration"]
    gains = rows[(rows.metric == "auc_difference") & (rows.versus == "nearest") & (rows.slice == "all")]
    gains = gains.assign(gain=gains.value, better=gains.low > 0, worse=gains.high < 0)[[*keys, "gain", "better", "worse"]]
    joined = auc[[*keys, "embedder", "value"]].rename(columns={"value": "auc"}).merge(gains, on=keys, how="left")
    is_own = joined.attack == "nearest"
    joined = joined[is_own | joined.gain.notna()]
    joined = joined.assign(embedder=np.where(joined.embedder == "", "", "own"), gain=joined.gain.fillna(0.0))
    return joined.assign(better=joined.better.eq(True), worse=joined.worse.eq(True))
