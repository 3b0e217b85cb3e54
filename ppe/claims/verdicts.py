"""The four claims of Webster et al. (arXiv 2107.06018), judged by rules that are the same for every study.

C1: a member of the training set can be identified from photos that were not used for training. C2: less so with more identities.
C3: on every data set and generator. C4: even one over-represented identity among many. Thresholds are the section ``verdicts`` of
params.
"""

import numpy as np
import pandas as pd

from ppe.claims.evidence import (
    COLUMNS,
    EXPLORATORY,
    MEASURES,
    NULLS,
    SETTING,
    describe_claim,
    describe_evidence,
    is_exploratory,
    list_others,
)
from ppe.claims.overrepresentation import judge_data_shares
from ppe.evaluation.collection import SWEEPS
from ppe.evaluation.tables import RUN_COLUMNS
from ppe.statistics.intervals import MIN_IDENTITIES

MORE = {
    "C1": "a longer training, which can leak more; with more identities, each leaks less",
    "C2": "numbers of identities that lie further apart, or several trainings of each",
}
"""What would change an inconclusive verdict, where there is an interval."""


def judge_claims(rows, experiments, rules, exploratory=None):
    """Judge the four claims on a study's rows.

    **C1** is judged for each setting: data set, generator, resolution, identities, photos and kimg. The evidence is the pooled
    AUC of the attack ``nearest`` on photos that were not used for training, with its 95 % interval.

    - *Supported*: the interval lies above 0.5. The effect may be small; the reason says so if the interval ends below
      ``small_auc``.
    - *Not supported*: the interval ends below ``small_auc``.
    - *Inconclusive*: otherwise, and where an end is so near to its bound that other random numbers could change the verdict. Near
      means within ``draw_error`` of the interval's width.
    - Without an interval, a permutation test decides: supported if p < ``max_p``, else inconclusive. There is no interval with
      fewer than 10 identities a side, where the test is still exact.

    ``draw_error`` is 0.03: two standard errors of the end of an interval of 2,000 bootstrap draws, as a share of its width.
    The formula is 2 sqrt(q (1 - q) / 2000) / phi(z), for normal draws, whose interval is 2 z standard deviations wide.
    ``max_p`` is 0.018 for the same reason: one side of a 95 % interval, 0.025, less two standard errors of a share of 2,000
    permutations.

    **C2** is judged for each series of numbers of identities, at equal kimg or at equal epochs. The evidence is the AUC at the
    fewest identities that have an interval, minus that at the most. It is judged like C1, with 0 and ``small_difference`` as
    bounds. Other pairs, and more photos of the same identities, are shown.

    **C3** takes C1's setting with the fewest identities from each data set, generator and resolution. Settings with an interval
    go first, then those with most photos, kimg and seeds. So it says nothing about many identities. Supported if C1 is
    supported in every setting, not supported if C1 is not supported in one, else inconclusive. Two data sets and two generators
    are needed.

    **C4** is judged on the experiments: see ``judge_data_shares``.

    *Seeds.* Each is shown. The verdict is on the mean of their values and of their interval ends, which is no narrower than one
    interval, since seeds may share identities. The p-value of several seeds is twice the mean of theirs, which is valid however
    they depend on each other (Vovk and Wang 2020, "Combining p-values via averaging").

    *No verdict* is built on seed 0 (used for tuning), on runs whose negative control failed, without a sound embedder, or whose
    identities differ in training photos: they are shown, with the reason. Each setting is judged by itself at 95 %; nothing is
    corrected for their number. On a data set with which a rule was chosen, the reason says that the verdict is exploratory.

    Parameters
    ----------
    rows : DataFrame of ``ppe.evaluation.collection.collect_rows``.
    experiments : DataFrame, the rows of the experiments, or None.
    rules : the section ``verdicts`` of params.
    exploratory : mapping, data set -> claims of which a rule was chosen with it, or None.

    Returns
    -------
    DataFrame with ``ppe.claims.evidence.COLUMNS``, one row a piece of evidence. ``value``, ``low`` and ``high`` are of
    ``measure``; ``p_value``, of permuted identities, is given where there is no interval; ``verdict`` is one of ``VERDICTS``.
    """
    runs = describe_evidence(rows, rules)
    leaks = _judge_leaks(runs, rules, exploratory)
    parts = [leaks, _judge_growth(rows, runs, rules, exploratory), judge_cells(leaks)]
    parts.append(judge_data_shares(experiments, rules, exploratory))
    return pd.concat([part for part in parts if len(part)], ignore_index=True)[COLUMNS]


def _judge_leaks(runs, rules, exploratory):
    """C1: a row a setting, and one a run where it is one of several or has an excuse."""
    series = runs[SETTING].astype(str).agg(" ".join, axis=1)
    return _judge_seeds(runs.assign(series=series, sweep="", is_judged=True), "C1", rules, exploratory)


def _judge_growth(rows, runs, rules, exploratory):
    """C2: the differences between runs of ``collect_rows``, by the embedder of the headline of the run with fewer identities."""
    known = runs.set_index("run")
    pairs = rows[(rows.metric == "auc_difference") & rows.slice.isin(list(SWEEPS)) & rows.versus.isin(known.index)]
    others = {pair: list_others(part, known.embedder[part.run.iloc[0]], rules) for pair, part in pairs.groupby(["run", "versus"])}
    pairs = pairs[pairs.embedder == pairs.run.map(known.embedder)]
    if not len(pairs):
        reason = "no two runs differ in the number of identities alone, or in it and kimg in proportion"
        change = "two numbers of identities with one seed in params.yaml: runs"
        row = describe_claim("C2", measure=MEASURES["C2"], verdict="not measured", reason=reason, what_would_change=change)
        return pd.DataFrame([row])
    second = known.loc[pairs.versus].reset_index()
    table = pairs[["run", *RUN_COLUMNS, "value", "low", "high", "p_value"]].reset_index(drop=True)
    table = table.assign(sweep=pairs.slice.to_numpy(), excuse=pairs.run.map(known.excuse).to_numpy())
    for name in ("num_identities", "max_train_photos", "kimg"):
        table[f"other_{name}"] = second[name]
    table["excuse"] = table.excuse.where(table.excuse != "", second.excuse)
    table["others"] = [others[pair] for pair in zip(table.run, second.run, strict=True)]
    table["run"] += " " + second.run
    return _judge_seeds(_mark_series(table), "C2", rules, exploratory)


def _mark_series(table):
    """The differences with ``series`` (those that differ in seed alone) and ``is_judged``: fewest against most identities."""
    # A line is what one curve is drawn of: all that the sweep does not change.
    fixed = ["sweep", "dataset", "generator", "resolution", "query_photos", "num_generated"]
    line = table[fixed].astype(str).agg(" ".join, axis=1) + np.where(
        table.sweep == "equal epochs", (table.kimg / table.num_identities / table.train_photos).round(6).astype(str),
        table.kimg.astype(str) + " " + table.train_photos.astype(str),
    )  # fmt: skip
    table = table.assign(line=line)
    sizes = ["num_identities", "other_num_identities", "max_train_photos", "other_max_train_photos"]
    series = table[["line", *sizes]].astype(str).agg(" ".join, axis=1)
    can = (table.num_identities >= MIN_IDENTITIES) & (table.excuse == "") & (table.sweep != "photos")
    able = table[can].groupby("line")
    smallest, largest = (able[name].agg(how).reindex(table.line).to_numpy()
                         for name, how in (("num_identities", "min"), ("other_num_identities", "max")))  # fmt: skip
    is_judged = can & (table.num_identities == smallest) & (table.other_num_identities == largest)
    return table.assign(series=series, is_judged=is_judged)


def _judge_seeds(table, claim, rules, exploratory):
    """Rows of the mean over seeds, with a verdict; then of each seed, and of what does not count, shown."""
    parts = []
    for _, group in table.groupby("series", sort=False):
        counts = group[group.excuse == ""]
        if len(counts):
            value, low, high = (counts[name].mean(skipna=False) for name in ("value", "low", "high"))
            p_value = _pool_seeds(counts.p_value)
            verdict, reason, change = _judge(low, high, p_value, claim, rules)
            reason += _describe_seeds(counts, claim) + _describe_others(counts, claim, rules)
            if not group.is_judged.any():
                verdict, reason, change = "shown", "no verdict is built on this comparison", ""
            elif is_exploratory(counts.dataset.iloc[0], claim, exploratory):
                reason += f"; {EXPLORATORY}"
            row = counts.iloc[0].to_dict() | {"run": " ".join(counts.run), "value": value, "low": low, "high": high}
            row["p_value"] = p_value
            parts.append(_describe_row(row, claim, verdict, reason, change))
        shown = group if len(counts) > 1 else group[group.excuse != ""]
        for row in shown.to_dict("records"):
            parts.append(_describe_row(row, claim, "shown", row["excuse"] or "one of several seeds", ""))
    return pd.DataFrame(parts)


def _pool_seeds(p_values):
    """One p-value for several seeds, however they depend on each other."""
    return min(1.0, 2 * np.mean(p_values)) if len(p_values) > 1 else np.mean(p_values)


def _describe_seeds(counts, claim):
    """The value of each seed, or which one it is."""
    if len(counts) > 1:
        return f"; mean of seeds {', '.join(f'{s}: {v:.2f}' for s, v in zip(counts.seed, counts.value, strict=True))}"
    return f"; one training{' of each size' if claim == 'C2' else ''}, seed {counts.seed.iloc[0]}"


def _describe_others(counts, claim, rules):
    """What the other sound embedders found in the same runs (seeds), by the same rule."""
    found = ""
    for embedder in counts.others.iloc[0]:
        values, lows, highs, p_values = zip(*(row[embedder] for row in counts.others if embedder in row), strict=True)
        value, low, high = np.mean(values), np.mean(lows), np.mean(highs)
        interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
        verdict = _judge(low, high, _pool_seeds(p_values), claim, rules)[0]
        found += f"; by the embedder {embedder}: {value:.2f}{interval}, {verdict}"
    return found


def _judge(low, high, p_value, claim, rules):
    """(verdict, reason, what would change it) of an interval, against no effect and a small one, or of a permutation test."""
    null, small = NULLS[claim], {"C1": rules.small_auc, "C2": rules.small_difference}[claim]
    if not np.isfinite(low):
        return _judge_permutation(p_value, rules)
    error = rules.draw_error * (high - low)
    edge = "on the edge: the interval {} at {:.4f}, too near to {:g} for its number of bootstrap draws"
    if abs(low - null) <= error:
        return "inconclusive", edge.format("begins", low, null), MORE[claim]
    if low > null:
        size = f" and ends below {small}: a small effect" if high < small else ""
        change = f"a rerun whose interval contains {null:g}, or whose control fails"
        return "supported", f"the interval lies above {null:g}{size}", change
    if abs(high - small) <= error:
        return "inconclusive", edge.format("ends", high, small), MORE[claim]
    if high < small:
        return "not supported", f"the interval ends below {small}", f"a rerun whose interval reaches {small}"
    return "inconclusive", f"the interval contains {null:g} and reaches {small}", MORE[claim]


def _judge_permutation(p_value, rules):
    """The same of a permutation test, where there are too few identities for an interval."""
    reason, enough = f"no interval below {MIN_IDENTITIES} identities a side", f"{MIN_IDENTITIES} identities a side"
    if not np.isfinite(p_value):
        return "inconclusive", reason, enough
    reason += f"; permutation test over identities: p = {p_value:.4f}"
    if p_value < rules.max_p:
        return "supported", reason, f"a rerun whose p is not below {rules.max_p}"
    return "inconclusive", reason, enough


def choose_cells(leaks, most=False):
    """Choose C1's row of each data set, generator and resolution on which C3 is judged, or the one with the most identities.

    leaks : DataFrame, the claims of one study or of several. Returns its rows, one a cell.
    """
    judged = leaks[(leaks.claim == "C1") & (leaks.verdict != "shown")]
    order = pd.DataFrame({
        "few": judged.low.isna(), "identities": judged.identities.astype(int) * (-1 if most else 1),
        "photos": -judged.photos.astype(int), "kimg": -judged.kimg.astype(float), "seeds": -judged.runs.str.split().str.len(),
    })  # fmt: skip
    judged = judged.loc[order.sort_values(list(order), kind="stable").index]
    return judged.drop_duplicates(["dataset", "generator", "resolution"]).sort_values(["dataset", "generator", "resolution"])


def judge_cells(leaks):
    """Judge C3 over the settings of C1, of one study or of several: a table of one row."""
    cells = choose_cells(leaks)
    names = cells.dataset + " " + cells.generator + " " + cells.resolution.astype(str) + " px"
    reasons = [f"{verdict}: {', '.join(part)}" for verdict, part in names.groupby(cells.verdict)]
    found = cells.verdict.tolist()
    num_datasets, num_generators = cells.dataset.nunique(), cells.generator.nunique()
    if min(num_datasets, num_generators) < 2:
        verdict = "not measured"
        reasons.append(f"data sets: {num_datasets}, generators: {num_generators}, and two of each are needed")
    else:
        verdict = "supported" if set(found) == {"supported"} else "not supported" if "not supported" in found else "inconclusive"
    share = found.count("supported") / len(cells) if len(cells) else np.nan
    change = "another data set, generator or resolution: a line in params.yaml, runs"
    found = {"measure": f"share of {len(cells)} settings that support C1", "value": share, "runs": " ".join(cells.runs)}
    end = {"verdict": verdict, "reason": "; ".join(reasons), "what_would_change": change}
    return pd.DataFrame([describe_claim("C3", **found, **end)])


def _describe_row(row, claim, verdict, reason, change):
    def say(name):
        own, other = row[name], row.get(f"other_{name}", row[name])
        return f"{own:g}" if own == other else f"{own:g} against {other:g}"

    cells = {"identities": say("num_identities"), "photos": say("max_train_photos"), "kimg": say("kimg"), "runs": row["run"]}
    same = {name: row[name] for name in ("dataset", "generator", "value", "low", "high")}
    same["p_value"] = np.nan if np.isfinite(row["low"]) else row["p_value"]
    end = {"comparison": row["sweep"], "verdict": verdict, "reason": reason, "what_would_change": change}
    return describe_claim(claim, measure=MEASURES[claim], **same, **cells, **end, resolution=f"{row['resolution']:g}")
