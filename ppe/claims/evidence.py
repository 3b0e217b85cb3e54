"""The evidence behind the claims: each run's headline, why no verdict is built on it (if so), and the curves that runs make.

The four claims are those of Webster et al. (arXiv 2107.06018). ``rules`` is the section ``verdicts`` of params throughout.
"""

import numpy as np
import pandas as pd

from ppe.evaluation.collection import compute_headlines, select_headline
from ppe.evaluation.tables import HEADLINE, RUN_COLUMNS, match_rows

QUESTIONS = {
    "C1": "Can a member be identified from photos that were not used for training?",
    "C2": "Does the leak weaken with more identities?",
    "C3": "Does it hold across data sets and generators?",
    "C4": "Do over-represented identities leak where all others are diverse?",
}
MEASURES = {"C1": "AUC", "C2": "difference of AUC"}
NULLS = {"C1": 0.5, "C2": 0.0}
"""Claim -> the value of its measure without a leak."""
SETTING = [name for name in RUN_COLUMNS if name != "seed"]
COLUMNS = [
    "claim", "comparison", "dataset", "generator", "resolution", "identities", "photos", "kimg", "runs", "measure", "value",
    "low", "high", "spread", "small", "p_value", "p_adjusted", "leak_of", "lead_p", "lead_p_adjusted",
    "verdict", "reason", "what_would_change",
]  # fmt: skip
"""``spread``: standard deviation over seeds. ``small``: an effect below it is small. ``p_adjusted``: corrected for the number of
verdicts in the table (Holm). ``leak_of``: of C1, ``identity``, ``appearance`` or ``untested`` (``ppe.claims.appearance``).
``lead_p``: of ``nearest`` beating every rival. ``lead_p_adjusted``: of a leak and of this lead, corrected like ``p_adjusted``."""
VERDICTS = ("supported", "appearance", "not supported", "inconclusive", "not measured", "shown")
"""``shown`` is evidence that no verdict is built on."""
EXPLORATORY = "exploratory: a recipe or a rule was chosen after results on this data set had been seen"


def describe_evidence(rows, rules):
    """Describe each run: its settings, its headline, and why no verdict is built on it.

    Parameters
    ----------
    rows : DataFrame of ``ppe.evaluation.collection.collect_rows``.
    rules : the section ``verdicts`` of params.

    Returns
    -------
    DataFrame, one row a run: ``RUN_COLUMNS``, embedder, value, low, high, p_value, and

        - ``epochs``: how often each training photo was used, if all identities have equally many;
        - ``excuse``: why no verdict is built on the run, or "";
        - ``others``: list of str, the other sound embedders.
    """
    headlines = compute_headlines(rows, list(rows.run.unique()), rules)
    table = []
    for run, part in rows.groupby("run", sort=False):
        row = select_headline(rows, run, rules.min_verification_auc)
        excuse = "seed 0 was used for tuning" if row.seed == 0 else ""
        if row.defence != "none":
            excuse = f"it is defended by {row.defence} (see defences.ipynb)"
        if part.slice.str.startswith("train_photos").any():
            excuse = "its identities differ in training photos"
        if not headlines[run]["embedder_is_sound"]:
            excuse = explain_embedder(rules)
        if headlines[run]["control_failed"]:
            excuse = f"the negative control failed (p = {headlines[run]['control_p_value']:.3f})"
        settings = row[["run", *RUN_COLUMNS, "embedder", "value", "low", "high", "p_value"]].to_dict()
        epochs = 1000 * row.kimg / (row.num_identities * row.max_train_photos)
        others = match_rows(part, **HEADLINE, metric="auc")
        others = others[(others.embedder != row.embedder) & (others.embedder_auc >= rules.min_verification_auc)].embedder
        table.append({**settings, "epochs": epochs, "excuse": excuse, "others": list(others)})
    return pd.DataFrame(table)


def explain_embedder(rules):
    """Why there is no verdict where no embedder is sound."""
    return f"no embedder reaches an AUC of {rules.min_verification_auc} on identities that it never saw"


def list_sweeps(runs):
    """List the curves that a study's runs make: runs that differ in one thing, in two steps at least.

    Parameters
    ----------
    runs : DataFrame of ``describe_evidence``.

    Returns
    -------
    Its rows, one for each curve that a run is part of, with three more columns: ``sweep`` (a key of
    ``ppe.evaluation.collection.SWEEPS``), ``line`` (what stays the same, in words) and ``x`` (identities, or training photos of
    each identity).
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
                identities = f", {first.num_identities} identities" if sweep == "photos" else ""
                line = f"{first.dataset}, {first.generator}, {first.resolution} px, {amount}{identities}"
                parts.append(group.assign(sweep=sweep, line=line, x=group[x]))
    return pd.concat(parts, ignore_index=True) if parts else runs.iloc[:0].assign(sweep="", line="", x=0)


def describe_claim(claim, **cells):
    """A row with ``COLUMNS``; cells that are not given are empty."""
    names = ("value", "low", "high", "spread", "small", "p_value", "p_adjusted", "lead_p", "lead_p_adjusted")
    numbers = dict.fromkeys(names, np.nan)
    return {**dict.fromkeys(COLUMNS, ""), **numbers, "claim": claim, **cells}


def say_p(p_value):
    """A p-value in words: str."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"


def is_exploratory(dataset, claim, exploratory):
    """Whether a recipe or a rule behind this claim was chosen with this data set.

    exploratory : mapping, data set -> claims (``datasets.<name>.exploratory`` of params), or None.
    """
    return claim in (exploratory or {}).get(dataset, ())
