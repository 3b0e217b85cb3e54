"""The four claims of Webster et al. (arXiv 2107.06018), judged by rules that are the same for every study.

C1: a member of the training set can be identified from photos that were not used for training. C2: less so with more identities.
C3: on every data set and generator. C4: even one over-represented identity among many. Thresholds are the section ``verdicts`` of
params.
"""

import numpy as np
import pandas as pd

from ppe.claims.appearance import mark_appearance
from ppe.claims.combinations import judge_cells
from ppe.claims.correction import correct_verdicts, decide, describe_change
from ppe.claims.evidence import (
    COLUMNS,
    EXPLORATORY,
    MEASURES,
    NULLS,
    SETTING,
    describe_claim,
    describe_evidence,
    is_exploratory,
    say_p,
)
from ppe.claims.overrepresentation import judge_data_shares
from ppe.claims.pooling import describe_sharing, list_numbers, pool_differences, pool_leaks
from ppe.evaluation.collection import SWEEPS
from ppe.evaluation.tables import RUN_COLUMNS
from ppe.statistics.intervals import MIN_IDENTITIES

SMALL = {"C1": "small_auc", "C2": "small_difference"}
"""Claim -> the threshold of params below which its effect is small."""


def judge_claims(rows, experiments, rules, exploratory=None, scores=None, shared=None):
    """Judge the four claims on a study's rows, by one rule.

    **One rule.** A one-sided test decides, in the direction of the claim. Its p is corrected for the number of the study's
    verdicts (Holm 1979). Intervals say how large an effect is.

    - *Supported*: the corrected p is below ``alpha``. The effect may be small; the reason says so.
    - *Not supported*: else, if the 95 % interval ends below a small effect. This is no proof of safety.
    - *Inconclusive*: otherwise.

    **C1** is judged for each setting: data set, generator, resolution, identities, photos and kimg. The evidence is the pooled
    AUC of the attack ``nearest`` on photos that were not used for training. The test permutes the group labels of identities.
    An AUC below ``small_auc`` is small. With fewer than 10 identities a side there is no interval, and the test is still exact.

    **C2** is judged for each series of numbers of identities, at equal kimg or at equal epochs. The evidence is the AUC at the
    fewest identities that have an interval, minus that at the most. Both sizes leak, so no labels can be exchanged between them.
    p is therefore the smallest at which a one-sided interval of the difference begins at 0. A difference below
    ``small_difference`` is small. Other pairs, and more photos of the same identities, are shown.

    **C3** takes C1's setting with the fewest identities from each data set, generator and resolution. Settings with an interval
    go first, then those with most photos, kimg and seeds. So it says nothing about many identities. Supported if C1 is
    supported in every setting, not supported if C1 is not supported in one, else inconclusive. Two data sets and two generators
    are needed.

    **C4** is judged on the experiments: see ``judge_data_shares``.

    *Seeds* of one setting are pooled: the mean of their values, with a bootstrap over identities jointly over all seeds, and one
    test for all. It is conditional on these generators; each seed is shown, with the standard deviation over seeds.

    *No verdict* is built on seed 0 (used for tuning), on runs whose negative control failed, without a sound embedder, or whose
    identities differ in training photos: they are shown, with the reason. On a data set with which a recipe or a rule was chosen,
    the reason says that the verdict is exploratory.

    Parameters
    ----------
    rows : DataFrame of ``ppe.evaluation.collection.collect_rows``.
    experiments : DataFrame, the rows of the experiments, or None.
    rules : the section ``verdicts`` of params.
    exploratory : mapping, data set -> claims that are exploratory on it, or None.
    scores, shared : as in ``ppe.claims.pooling.pool_leaks``.

    Returns
    -------
    DataFrame with ``ppe.claims.evidence.COLUMNS``, one row a piece of evidence. ``value``, ``low`` and ``high`` are of
    ``measure``; ``verdict`` is one of ``VERDICTS``.
    """
    runs = describe_evidence(rows, rules)
    pool = _make_pools(list_numbers(rows), rules, scores, shared)
    parts = [_judge_leaks(runs, pool, rules, exploratory), _judge_growth(rows, runs, pool, rules, exploratory)]
    parts.append(judge_data_shares(experiments, rules, exploratory))
    claims = pd.concat([part for part in parts if len(part)], ignore_index=True)[COLUMNS]
    claims = correct_verdicts(mark_appearance(claims, rows, runs, shared), rules.alpha)
    claims = pd.concat([claims, judge_cells(claims)[COLUMNS]], ignore_index=True)
    return claims.sort_values("claim", kind="stable", ignore_index=True)


def _make_pools(numbers, rules, scores, shared):
    """Claim -> a function of rows (a seed each) and an embedder. It gives value, low, high, p_value; and words on sharing."""

    def pool_seeds(seeds, embedder, is_judged=True):
        runs = [run for run in seeds.run if (run, embedder) in numbers.index]
        known = scores if is_judged else None  # a run that is only shown keeps the p-value of its rows
        found = pool_leaks(runs, embedder, numbers, rules.num_permutations, known, shared)
        return found, describe_sharing(runs, embedder, shared)

    def pool_pairs(pairs, embedder, is_judged=True):
        runs = list(pairs.run), list(pairs.versus)
        return pool_differences(*runs, embedder, numbers, shared), describe_sharing(runs[0], embedder, shared)

    return {"C1": pool_seeds, "C2": pool_pairs}


def _judge_leaks(runs, pool, rules, exploratory):
    """C1: a row a setting, and one a run where it is one of several or has an excuse."""
    series = runs[SETTING].astype(str).agg(" ".join, axis=1)
    return _judge_seeds(runs.assign(series=series, sweep="", is_judged=True), "C1", pool, rules, exploratory)


def _judge_growth(rows, runs, pool, rules, exploratory):
    """C2: the differences between runs of ``collect_rows``, by the embedder of the headline of the run with fewer identities."""
    known = runs.set_index("run")
    pairs = rows[(rows.metric == "auc_difference") & rows.slice.isin(list(SWEEPS)) & rows.versus.isin(known.index)]
    pairs = pairs[pairs.embedder == pairs.run.map(known.embedder)]
    if not len(pairs):
        reason = "no two runs differ in the number of identities alone, or in it and kimg in proportion"
        change = "two numbers of identities with one seed in params.yaml: runs"
        row = describe_claim("C2", measure=MEASURES["C2"], verdict="not measured", reason=reason, what_would_change=change)
        return pd.DataFrame([row])
    second = known.loc[pairs.versus].reset_index()
    table = pairs[["run", "versus", *RUN_COLUMNS, "embedder"]].reset_index(drop=True)
    table = table.assign(sweep=pairs.slice.to_numpy(), excuse=pairs.run.map(known.excuse).to_numpy())
    for name in ("num_identities", "max_train_photos", "kimg"):
        table[f"other_{name}"] = second[name]
    table["excuse"] = table.excuse.where(table.excuse != "", second.excuse)
    table["others"] = [known.others[run] for run in table.run]
    return _judge_seeds(_mark_series(table), "C2", pool, rules, exploratory)


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


def _judge_seeds(table, claim, pool, rules, exploratory):
    """Rows of the mean over seeds, with a verdict; then of each seed, and of what does not count, shown."""
    parts = []
    for _, group in table.groupby("series", sort=False):
        counts, alone = group[group.excuse == ""], {}
        for index in group.index:
            alone[index], _ = pool[claim](group.loc[[index]], group.embedder[index], is_judged=False)
        if len(counts):
            numbers, sharing = pool[claim](counts, counts.embedder.iloc[0])
            seeds = pd.Series({seed: alone[index]["value"] for index, seed in counts.seed.items()})
            verdict, reason, change = _judge(numbers, claim, rules)
            reason += _describe_seeds(seeds, claim) + sharing + _describe_others(counts, claim, pool)
            if not group.is_judged.any():
                verdict, reason, change = "shown", "no verdict is built on this comparison", ""
            elif is_exploratory(counts.dataset.iloc[0], claim, exploratory):
                reason += f"; {EXPLORATORY}"
            runs = {"run": " ".join(_name_runs(row) for row in counts.to_dict("records"))}
            spread = {"spread": seeds.std(ddof=1) if len(seeds) > 1 else np.nan}
            row = counts.iloc[0].to_dict() | runs | numbers | spread
            parts.append(_describe_row(row, claim, verdict, reason, change, rules))
        shown = group if len(counts) > 1 else group[group.excuse != ""]
        for index, row in zip(shown.index, shown.to_dict("records"), strict=True):
            row |= {"run": _name_runs(row), **alone[index]}
            parts.append(_describe_row(row, claim, "shown", row["excuse"] or "one of several seeds", "", rules))
    return pd.DataFrame(parts)


def _name_runs(row):
    return f"{row['run']} {row['versus']}" if "versus" in row else row["run"]


def _describe_seeds(values, claim):
    """The value of each seed and how far they lie apart, or which seed it is. values : Series, by seed."""
    if len(values) > 1:
        each = ", ".join(f"{seed}: {value:.2f}" for seed, value in values.items())
        return f"; mean of seeds {each}, standard deviation {values.std(ddof=1):.2f}"
    return f"; one training{' of each size' if claim == 'C2' else ''}, seed {values.index[0]}"


def _describe_others(counts, claim, pool):
    """What the other sound embedders found in the same runs (seeds)."""
    found = ""
    for embedder in counts.others.iloc[0]:
        numbers, _ = pool[claim](counts[[embedder in others for others in counts.others]], embedder)
        interval = f" [{numbers['low']:.2f}, {numbers['high']:.2f}]" if np.isfinite(numbers["low"]) else ""
        found += f"; by the embedder {embedder}: {numbers['value']:.2f}{interval}, {say_p(numbers['p_value'])}"
    return found


def _judge(numbers, claim, rules):
    """(verdict, reason, what would change it) of one test by itself; ``correct_verdicts`` then counts the others."""
    null, small = NULLS[claim], getattr(rules, SMALL[claim])
    low, high, p_value = numbers["low"], numbers["high"], numbers["p_value"]
    verdict = decide(p_value, high, small, rules.alpha)
    reason = {"C1": "permutation test over identities", "C2": "one-sided test by the interval"}[claim] + f": {say_p(p_value)}"
    reason = reason if np.isfinite(p_value) else "no test"
    if not np.isfinite(low):
        reason += f"; no interval below {MIN_IDENTITIES} identities a side"
    elif low > null:
        reason += f"; the interval lies above {null:g}" + (f" and ends below {small}: a small effect" if high < small else "")
    else:
        reason += "; the interval " + (f"ends below {small}" if high < small else f"contains {null:g} and reaches {small}")
    return verdict, reason, describe_change(claim, verdict, small, rules.alpha)


def _describe_row(row, claim, verdict, reason, change, rules):
    def say(name):
        own, other = row[name], row.get(f"other_{name}", row[name])
        return f"{own:g}" if own == other else f"{own:g} against {other:g}"

    cells = {"identities": say("num_identities"), "photos": say("max_train_photos"), "kimg": say("kimg"), "runs": row["run"]}
    same = {name: row[name] for name in ("dataset", "generator", "value", "low", "high", "p_value")}
    same |= {"spread": row.get("spread", np.nan), "small": getattr(rules, SMALL[claim])}
    end = {"comparison": row["sweep"], "verdict": verdict, "reason": reason, "what_would_change": change}
    return describe_claim(claim, measure=MEASURES[claim], **same, **cells, **end, resolution=f"{row['resolution']:g}")
