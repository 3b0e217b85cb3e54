"""What all studies say together: their claims in one table, that table in the README, and which headlines a rerun moved."""

import numpy as np
import pandas as pd

from ppe.claims.evidence import QUESTIONS
from ppe.claims.overrepresentation import EXPLORATORY
from ppe.claims.verdicts import choose_cells, judge_cells
from ppe.config import load_table
from ppe.evaluation.collection import select_headline
from ppe.pipeline.runtime import sum_minutes

MARKERS = ("<!-- claims: written by python -m ppe claims -->", "<!-- end of claims -->")
TEXT = (
    *("claim", "comparison", "dataset", "generator", "resolution", "people", "photos", "kimg", "runs", "measure", "verdict"),
    *("reason", "what_would_change"),
)

NULLS = {"C1": 0.5, "C2": 0.0}
SEARCHED = {"generators": "other generators' faces", "cohort": "photos of auxiliary people"}


def load_claims(files):
    """Read ``claims.csv`` of several studies; ``files``: study -> path. Returns study -> table, all text as text."""
    tables = {study: load_table(path) for study, path in files.items()}
    texts = {study: {name: [_say_cell(v) for v in table[name]] for name in TEXT} for study, table in tables.items()}
    return {study: table.assign(**texts[study]) for study, table in tables.items()}


def join_claims(tables):
    """The claims of several studies, study -> table, in one, with a column study; C3 is judged over all their settings."""
    joined = pd.concat([table.assign(study=study) for study, table in tables.items()], ignore_index=True)
    measured = joined[(joined.verdict != "not measured") & (joined.claim != "C3")]
    # Two studies may hold one run: the same evidence counts once.
    measured = measured.drop_duplicates(["claim", "comparison", "measure", "runs", "kimg", "value"])
    measured = measured[~_has_larger(measured)]
    absent = joined[~joined.claim.isin([*measured.claim, "C3"])].drop_duplicates("claim").assign(study="all")
    cells = judge_cells(measured).assign(study="all")
    return pd.concat([measured, cells, absent]).sort_values("claim", kind="stable", ignore_index=True)


def write_summary(tables, costs):
    """The verdicts of all studies as a Markdown table; of C1 those of the fewest people, on which C3 is judged, and of the most,
    for each data set, GAN and resolution. Below it a line a study that searched for people without a suspect.

    tables : study -> claims; costs : study -> DataFrame of ``measure_costs``, where it is known.
    """
    joined = join_claims(tables)
    searches = _say_searches(joined)
    ends = [*choose_cells(joined).index, *choose_cells(joined, most=True).index]
    joined = joined[(joined.verdict != "shown") & ((joined.claim != "C1") | joined.index.isin(ends))].copy()
    joined["question"] = [f"{claim}: {QUESTIONS[claim]}" for claim in joined.claim]
    joined["question"] = joined.question.where(~joined.claim.duplicated(), joined.claim)
    head = "| claim | study | data, GAN, pixels | people | kimg | measured | verdict | minutes |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for row in joined.itertuples():
        where = f"{row.dataset}, {row.generator}, {row.resolution}" if row.dataset else ""
        people = row.people + (f", {row.comparison}" if row.comparison else "")
        minutes = sum_minutes(costs[row.study], row.runs.split()) if row.study in costs else np.nan
        cost = f"{minutes:.0f}" if np.isfinite(minutes) else ""
        verdict = f"**{row.verdict}**" + (", exploratory" if EXPLORATORY in row.reason else "")
        verdict += f" ({row.reason})" if row.claim == "C3" else ""
        cells = [row.question, row.study, where, people, row.kimg, _say_value(row), verdict, cost]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *searches])


def put_summary(text, summary):
    """The README with ``summary`` between its two markers.

    Raises
    ------
    ValueError
        If a marker is missing.
    """
    if any(text.count(marker) != 1 for marker in MARKERS) or text.index(MARKERS[0]) > text.index(MARKERS[1]):
        raise ValueError(f"README.md must hold {MARKERS[0]!r} and below it {MARKERS[1]!r}, each once: the table stands between")
    before, rest = text.split(MARKERS[0])
    return f"{before}{MARKERS[0]}\n{summary}\n{MARKERS[1]}{rest.split(MARKERS[1])[1]}"


def compare_headlines(committed, fresh):
    """Whether a fresh run's headlines lie within the committed intervals: two tables of ``collect_rows``.

    Returns a DataFrame, a row a run: run, committed, low, high, fresh, moved ("moved", "within", "no interval", "gone", "new").
    """
    rows = []
    for run in dict.fromkeys([*committed.run, *fresh.run]):
        old, new = (select_headline(table, run) if (table.run == run).any() else None for table in (committed, fresh))
        row = {"run": run, **dict.fromkeys(["committed", "low", "high", "fresh"], np.nan)}
        if old is not None:
            row |= {"committed": old.value, "low": old.low, "high": old.high}
        if new is not None:
            row["fresh"] = new.value
        if old is None or new is None:
            moved = "new" if old is None else "gone"
        elif not np.isfinite(old.low):
            moved = "no interval"
        else:
            moved = "within" if old.low <= new.value <= old.high else "moved"
        rows.append({**row, "moved": moved})
    return pd.DataFrame(rows)


def _has_larger(claims):
    """Whether a verdict's runs are some of those of another verdict on the same setting: of a study with fewer seeds."""
    judged = claims[claims.verdict != "shown"]
    same = ["claim", "comparison", "dataset", "generator", "resolution", "people", "photos", "kimg", "measure"]
    setting = judged[same].agg(tuple, axis=1)
    runs = judged.runs.str.split().map(frozenset)
    larger = [any(runs.loc[i] < other for other in runs[setting == setting.loc[i]]) for i in judged.index]
    return claims.index.isin(judged.index[larger])


def _say_searches(claims):
    """A line a study and reference: people discovered at the largest dose, and alarms in GANs in which nobody stands out."""
    lines, rows = [], claims[claims.claim == "C4"]
    for row in rows[rows.measure.str.startswith("false alarms")].itertuples():
        reference = row.measure.removeprefix("false alarms, against ")
        found = rows[(rows.study == row.study) & (rows.measure == f"discovered, against {reference}")]
        people = [f"{r.runs.split()[0]} {round(r.value * float(r.people))} of {r.people}" for r in found.itertuples()]
        interval = f"[{row.low:.0%}, {row.high:.0%}]" if np.isfinite(row.low) else ""
        lines.append(f"- {row.study}, search without a suspect against {SEARCHED[reference]}: discovered at the largest dose "
                     f"({', '.join(people)}); false alarms in {row.reason} ({row.value:.0%} {interval}).")
    return ["", *lines] if lines else []


def _say_value(row):
    if not np.isfinite(row.value):
        return ""
    if row.claim == "C4":  # shares of generated faces, often well below a hundredth
        interval = f" [{100 * row.low:.2f}, {100 * row.high:.2f}], of these {row.people}" if np.isfinite(row.low) else ""
        return f"faces that match: {100 * row.value:+.2f} in 100{interval}"
    null = NULLS.get(row.claim)
    digits = next((n for n in (2, 3) if round(row.low, n) != null), 4)  # an end that only looks like chance
    interval = f" [{row.low:.{digits}f}, {row.high:.{digits}f}]" if np.isfinite(row.low) else ""
    interval += f" (p = {row.p_value:.4f})" if np.isfinite(row.p_value) else ""
    return f"{row.measure} {row.value:.2f}{interval}"


def _say_cell(value):
    """Text of a cell that pandas may have read as a number, or as nothing."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)
