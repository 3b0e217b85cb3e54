"""What the claims rest on: each run with its headline, and why no verdict is built on it; the curves that runs make."""

import numpy as np
import pandas as pd

from ppe.evaluation.collection import compute_headlines, select_headline
from ppe.evaluation.tables import HEADLINE, RUN_COLUMNS, match_rows
from ppe.statistics.metrics import MIN_VERIFICATION_AUC

QUESTIONS = {
    "C1": "Is a trained person told by photos that were never trained on?",
    "C2": "Does it weaken as the number of trained people grows?",
    "C3": "Does it hold across data sets and GANs?",
    "C4": "Does one over-represented person leak where everybody else is diverse?",
}
SETTING = [name for name in RUN_COLUMNS if name != "seed"]
COLUMNS = [
    "claim", "comparison", "dataset", "generator", "resolution", "people", "photos", "kimg", "runs", "measure", "value", "low",
    "high", "p_value", "verdict", "reason", "what_would_change",
]  # fmt: skip
VERDICTS = ("supported", "not supported", "not resolved", "not measured", "shown")
"""``shown`` is evidence that no verdict is built on."""
NO_NET = f"no face net reaches an AUC of {MIN_VERIFICATION_AUC} on people that it never saw"


def describe_evidence(rows, control_p):
    """One row a run: its settings, its headline, and ``excuse``: why no verdict is built on it, or "".

    ``epochs`` says how often each training photo was shown, if everybody has as many; ``others`` is of ``list_others``.
    """
    headlines = compute_headlines(rows, list(rows.run.unique()), control_p)
    table = []
    for run, part in rows.groupby("run", sort=False):
        row = select_headline(rows, run)
        excuse = "seed 0 was used for tuning" if row.seed == 0 else ""
        if part.slice.str.startswith("train_photos").any():
            excuse = "its people differ in training photos"
        if not headlines[run]["embedder_is_sound"]:
            excuse = NO_NET
        if headlines[run]["control_failed"]:
            excuse = f"the judged control failed (p = {headlines[run]['control_p_value']:.3f})"
        settings = row[["run", *RUN_COLUMNS, "embedder", "value", "low", "high", "p_value"]].to_dict()
        epochs = 1000 * row.kimg / (row.num_identities * row.max_train_photos)
        others = list_others(match_rows(part, **HEADLINE, metric="auc"), row.embedder)
        table.append({**settings, "epochs": epochs, "excuse": excuse, "others": others})
    return pd.DataFrame(table)


def list_others(rows, embedder):
    """What the sound nets besides ``embedder`` say: rows, one a net, as a dict, net -> (value, low, high, p_value)."""
    rows = rows[(rows.embedder != embedder) & (rows.embedder_auc >= MIN_VERIFICATION_AUC)]
    return {row.embedder: (row.value, row.low, row.high, row.p_value) for row in rows.itertuples()}


def list_sweeps(runs):
    """The curves that a study's runs make: runs in which one thing grows (``SWEEPS``), in two steps at least.

    runs : DataFrame of ``describe_evidence``. Returns its rows, one a sweep that they are in, with sweep, line (what stays,
    in words) and x: people, or training photos a person.
    """
    parts = []
    for sweep, x, free in (
        ("equal kimg", "num_identities", ["num_identities"]), ("equal epochs", "num_identities", ["num_identities", "kimg"]),
        ("photos", "max_train_photos", ["train_photos", "max_train_photos"]),
    ):  # fmt: skip
        fixed = [name for name in SETTING if name not in free] + (["epochs"] if sweep == "equal epochs" else [])
        for _, group in runs[runs.excuse == ""].groupby(fixed, sort=False):
            if all(group[name].nunique() > 1 for name in {x, *free} - {"train_photos"}):
                first = group.iloc[0]
                amount = f"{first.epochs:g} epochs" if sweep == "equal epochs" else f"{first.kimg:g} kimg"
                people = f", {first.num_identities} people" if sweep == "photos" else ""
                line = f"{first.dataset}, {first.generator}, {first.resolution} px, {amount}{people}"
                parts.append(group.assign(sweep=sweep, line=line, x=group[x]))
    return pd.concat(parts, ignore_index=True) if parts else runs.iloc[:0].assign(sweep="", line="", x=0)


def describe_claim(claim, **cells):
    """A row of the table; what is not named is empty."""
    numbers = dict.fromkeys(("value", "low", "high", "p_value"), np.nan)
    return {**dict.fromkeys(COLUMNS, ""), **numbers, "claim": claim, **cells}
