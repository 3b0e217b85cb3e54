"""All studies together: their claims in one table and the tables of the README and of the pages."""

import json

import numpy as np
import pandas as pd

from ppe.claims.combinations import choose_cells, judge_cells
from ppe.claims.correction import correct_verdicts
from ppe.claims.evidence import EXPLORATORY, NULLS, QUESTIONS, say_p
from ppe.claims.ranking import write_ranking
from ppe.config import load_table, write_whole

RESULTS_MARKERS = ("<!-- results: written by python -m ppe claims -->", "<!-- end of results -->")
ATTACKS_MARKERS = ("<!-- attacks: written by python -m ppe claims -->", "<!-- end of attacks -->")
CLAIMS_MARKERS = ("<!-- claims: written by python -m ppe claims -->", "<!-- end of claims -->")
TEXT = (
    *("claim", "comparison", "dataset", "generator", "resolution", "identities", "photos", "kimg", "runs", "measure", "verdict"),
    *("leak_of", "reason", "what_would_change"),
)
SAME = ["claim", "comparison", "dataset", "generator", "resolution", "identities", "photos", "kimg", "measure"]
"""Columns in which two verdicts on one setting agree."""
README_DATASETS = ("synthetic", "lfw")
README_GENERATOR = "fastgan"
"""The generator of the studies that other families are compared with: it comes first where a data set has several."""
DATASET_NAMES = {"lfw": "LFW", "olivetti": "Olivetti"}
SCANS = {"generators": "other generators", "cohort": "photos of auxiliary identities"}
EARLIER = "† Rows made by an earlier version of the code, to be made anew."


def load_claims(files):
    """Read ``claims.csv`` of several studies; ``files``: study -> path. Returns study -> table, all text as text."""
    tables = {study: load_table(path) for study, path in files.items()}
    # Claims of an earlier version of the code have no ``leak_of``.
    tables = {study: table if "leak_of" in table else table.assign(leak_of="") for study, table in tables.items()}
    # Those of a slightly later one said ``identity`` without a p-value, and keep what they said.
    tables = {study: table if "lead_p" in table else table.assign(lead_p=0.0) for study, table in tables.items()}
    texts = {study: {name: [_say_cell(v) for v in table[name]] for name in TEXT} for study, table in tables.items()}
    return {study: table.assign(**texts[study]) for study, table in tables.items()}


def load_earlier(files):
    """Read which runs were made by an earlier version of the code: ``earlier.json`` beside each study's claims, a list of names.

    files : dict, study -> path of its claims. Returns a dict, study -> set of runs and experiments; empty where there is no file.
    """
    found = {study: path.parent / "earlier.json" for study, path in files.items()}
    return {study: set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set() for study, path in found.items()}


def join_claims(tables, alpha):
    """Join the claims of several studies, study -> table, with a column ``study``.

    p-values are corrected for the number of verdicts of all studies (``correct_verdicts``, ``alpha``). C3 is judged over all.
    """
    joined = pd.concat([table.assign(study=study) for study, table in tables.items()], ignore_index=True)
    measured = joined[(joined.verdict != "not measured") & (joined.claim != "C3")]
    # Two studies may hold one run, trained once or on two machines: the same evidence counts once.
    same = [*SAME, "runs"]
    is_again = measured.duplicated([*same, "value"]) | (measured.duplicated(same) & (measured.verdict != "shown"))
    measured = measured[~is_again]
    measured = correct_verdicts(measured[~_has_larger(measured)], alpha)
    absent = joined[~joined.claim.isin([*measured.claim, "C3"])].drop_duplicates("claim").assign(study="all")
    cells = judge_cells(measured).assign(study="all")
    return pd.concat([measured, cells, absent]).sort_values("claim", kind="stable", ignore_index=True)


def write_results(tables, alpha, earlier=None):
    """Write the README's table: the main verdicts on synthetic identities and on LFW, in a few rows.

    C1 is given for the fewest identities of a data set and, in the same setting, for the most; C2 at equal kimg; C3 over all
    studies; C4 with many photos of each over-represented identity, and with one photo repeated.

    Parameters
    ----------
    tables : dict, study -> claims, of ``load_claims``.
    alpha : float. ``verdicts.alpha``.
    earlier : dict, study -> set of runs, of ``load_earlier``, or None.

    Returns
    -------
    str, Markdown. A row with runs in ``earlier`` is marked with a dagger, which a line below the table explains.
    """
    joined = join_claims(tables, alpha)
    rows = joined.loc[_choose_results(joined)]
    rows = rows.assign(question=rows.claim.map(QUESTIONS).where(~rows.claim.duplicated(), ""))
    cells = choose_cells(joined)
    cells = cells[cells.low.notna()]  # as ``judge_cells`` counts
    table = []
    for row in rows.itertuples():
        where = [f"{DATASET_NAMES.get(row.dataset, row.dataset)}, {row.resolution} px" if row.dataset else "", row.generator]
        result = _say_value(row)
        if row.claim == "C3":
            where = [f"{cells.dataset.nunique()} data sets", f"{cells.generator.nunique()} generators"]
            result = f"{(cells.verdict == 'supported').sum()} of {len(cells)} combinations"
            untested = ((cells.verdict == "supported") & (cells.leak_of == "untested")).sum()
            result += f", rivals untested in {untested} of them" if untested else ""
        identities = f"{row.identities}, {row.comparison}" if row.claim in ("C2", "C4") and row.comparison else row.identities
        table.append([row.question, *where, identities, result, _say_verdict(row) + _mark(row, earlier)])
    return _write_table("question | data | generator | identities | result | verdict", table)


def write_claims(tables, alpha, earlier=None):
    """Write the full table of docs/results.md: the verdicts of all studies, and a line for each density scan below it.

    Of C1, it holds the rows with the fewest identities, on which C3 is judged, and with the most, for each data set, generator
    and resolution. Parameters and the returned text are as in ``write_results``.
    """
    joined = join_claims(tables, alpha)
    scans = _describe_scans(joined, earlier)
    ends = [*choose_cells(joined).index, *choose_cells(joined, most=True).index]
    joined = joined[(joined.verdict != "shown") & ((joined.claim != "C1") | joined.index.isin(ends))].copy()
    question = joined.claim + ": " + joined.claim.map(QUESTIONS)
    joined["question"] = question.where(~joined.claim.duplicated(), joined.claim)
    table = []
    for row in joined.itertuples():
        where = f"{row.dataset}, {row.generator}, {row.resolution}" if row.dataset else ""
        identities = row.identities + (f", {row.comparison}" if row.comparison else "")
        verdict = f"**{_say_verdict(row)}**{_mark(row, earlier)}" + (f" ({row.reason})" if row.claim == "C3" else "")
        table.append([row.question, row.study, where, identities, row.kimg, _say_value(row), verdict])
    head = "claim | study | data, generator, pixels | identities | kimg | measured | verdict"
    return _write_table(head, table, scans)


def write_tables(files, root, rules):
    """Write the tables of README.md, docs/results.md and docs/attacks.md: all pages or, if one lacks its markers, none.

    files : dict, study -> path of its claims; root : path of the repository; rules : the section ``verdicts`` of params.

    Raises
    ------
    ValueError
        As ``put_summary``, with the page's name.
    """
    tables, earlier = load_claims(files), load_earlier(files)
    pages = {
        "README.md": (write_results(tables, rules.alpha, earlier), RESULTS_MARKERS),
        "docs/results.md": (write_claims(tables, rules.alpha, earlier), CLAIMS_MARKERS),
        "docs/attacks.md": (write_ranking(files, rules.min_verification_auc), ATTACKS_MARKERS),
    }
    texts = {}
    for page, (table, markers) in pages.items():
        try:
            texts[page] = put_summary((root / page).read_text(encoding="utf-8"), table, markers)
        except ValueError as error:
            raise ValueError(f"{page}: {error}") from None
    for page, text in texts.items():
        with write_whole(root / page) as partial:
            partial.write_text(text, encoding="utf-8")


def put_summary(text, summary, markers):
    """Put a table between the two markers of a page.

    text : str, the page; summary : str; markers : pair of str.

    Raises
    ------
    ValueError
        If a marker is missing, or is there twice.
    """
    if any(text.count(marker) != 1 for marker in markers) or text.index(markers[0]) > text.index(markers[1]):
        raise ValueError(f"the page must hold {markers[0]!r} and below it {markers[1]!r}, each once: the table stands between")
    before, rest = text.split(markers[0])
    return f"{before}{markers[0]}\n{summary}\n{markers[1]}{rest.split(markers[1])[1]}"


def _choose_results(joined):
    """The rows of the README's table: their index, in its order."""
    cells = choose_cells(joined)
    judged = joined[~joined.verdict.isin(["shown", "not measured"])]
    chosen = []
    for dataset in README_DATASETS:
        own = cells[cells.dataset == dataset].sort_values("resolution", key=lambda text: text.astype(int), kind="stable")
        own = own.sort_values("generator", key=lambda names: names != README_GENERATOR, kind="stable")
        for first in own[:1].itertuples():
            is_same = (judged[["dataset", "generator", "resolution"]] == [dataset, first.generator, first.resolution]).all(axis=1)
            same = judged[is_same]
            sizes = same[(same.claim == "C1") & (same.photos == first.photos) & (same.kimg == first.kimg)]
            chosen += [first.Index, *choose_cells(sizes, most=True).index]
            chosen += same[(same.claim == "C2") & (same.comparison == "equal kimg")].index[:1].tolist()
        is_share = (judged.claim == "C4") & (judged.dataset == dataset)
        chosen += judged[is_share & judged.comparison.isin(["many", "repeated"])].drop_duplicates("comparison").index.tolist()
    found = joined.claim[chosen]
    chosen += joined[(joined.verdict != "shown") & ~joined.claim.isin(found)].drop_duplicates("claim").index.tolist()
    order = {index: number for number, index in reversed(list(enumerate(chosen)))}
    return sorted(order, key=lambda index: (joined.claim[index], order[index]))


def _has_larger(claims):
    """Whether a verdict's runs are some of those of another verdict on the same setting, from a study with more seeds."""
    judged = claims[claims.verdict != "shown"]
    setting = judged[SAME].agg(tuple, axis=1)
    runs = judged.runs.str.split().map(frozenset)
    larger = [any(runs.loc[i] < other for other in runs[setting == setting.loc[i]]) for i in judged.index]
    return claims.index.isin(judged.index[larger])


def _describe_scans(claims, earlier):
    """A line a study and calibration of the density scan: identities detected, and generators with a false alarm."""
    lines, rows = [], claims[claims.claim == "C4"]
    for row in rows[rows.measure.str.startswith("false_alarms")].itertuples():
        calibration = row.measure.removeprefix("false_alarms, calibrated on ")
        found = rows[(rows.study == row.study) & (rows.measure == f"detected, calibrated on {calibration}")]
        detected = [f"{round(r.value * float(r.identities))} of {r.identities} ({r.runs.split()[0]})" for r in found.itertuples()]
        interval = f" [{row.low:.0%}, {row.high:.0%}]" if np.isfinite(row.low) else ""
        lines.append(f"- {row.study}, density scan calibrated on {SCANS[calibration]}. Detected at the largest data share: "
                     f"{', '.join(detected)}. False alarms in {row.reason}: {row.value:.0%}{interval}{_mark(row, earlier)}.")
    return lines


def _write_table(head, rows, lines=()):
    """A Markdown table, lines below it, and the dagger's explanation where one is used."""
    parts = [f"| {head} |", "|---" * (head.count("|") + 1) + "|", *("| " + " | ".join(cells) + " |" for cells in rows)]
    if lines:
        parts += ["", *lines]
    if any("†" in part for part in parts):
        parts += ["", EARLIER]
    return "\n".join(parts)


def _mark(row, earlier):
    """A dagger if some of the row's runs were made by an earlier version of the code."""
    earlier = earlier or {}
    runs = set().union(*earlier.values()) if row.study == "all" else earlier.get(row.study, set())
    return " †" if runs & set(row.runs.split()) else ""


def _say_verdict(row):
    untested = ", rivals untested" if row.leak_of == "untested" and row.verdict == "supported" else ""
    return row.verdict + untested + (", exploratory" if EXPLORATORY in row.reason else "")


def _say_value(row):
    if not np.isfinite(row.value):
        return ""
    is_small = row.verdict == "not supported" and np.isfinite(row.small)
    p_value = f", {say_p(row.p_adjusted)}" if np.isfinite(row.p_adjusted) else ""
    if row.claim == "C4":  # shares of generated faces, often well below a hundredth
        ends = f" [{100 * row.low:.2f}, {100 * row.high:.2f}]" if np.isfinite(row.low) else ""
        bound = f", bound {100 * row.small:.2f}" if is_small else ""
        return f"matching faces {100 * row.value:+.2f} points{ends}{bound}{p_value}"
    null = NULLS.get(row.claim)
    digits = next((n for n in (2, 3) if round(row.low, n) != null), 4)  # an end that would look like chance gets more digits
    interval = f" [{row.low:.{digits}f}, {row.high:.{digits}f}]" if np.isfinite(row.low) else ""
    num_seeds = len(row.runs.split()) // (2 if row.claim == "C2" else 1)
    seeds = f" ({num_seeds} seeds, SD {row.spread:.2f})" if np.isfinite(row.spread) else ""
    bound = f", bound {row.small:g}" if is_small else ""
    return f"{row.measure} {row.value:.2f}{interval}{seeds}{bound}{p_value}"


def _say_cell(value):
    """Text of a cell that pandas may have read as a number, or as nothing."""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)
