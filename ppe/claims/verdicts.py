"""The four claims of Webster et al. (arXiv 2107.06018), judged by rules that are the same for every study: C1 a trained
person is told by photos never trained on, C2 less so the more people are trained on, C3 on every data set and GAN, C4 also
one over-represented person among many.
"""

import numpy as np
import pandas as pd

from ppe.claims.evidence import COLUMNS, SETTING, describe_claim, describe_evidence, list_others
from ppe.claims.overrepresentation import judge_data_shares
from ppe.evaluation.collection import SWEEPS
from ppe.evaluation.tables import RUN_COLUMNS
from ppe.statistics.intervals import MIN_IDENTITIES

SMALL_AUC = 0.55  # an AUC below it is a small effect: an interval that ends there speaks against C1
SMALL_DIFFERENCE = 0.05  # likewise a difference of two AUCs, against C2
DRAW_ERROR = 0.03
"""Share of an interval's width by which its end may move with the random numbers of a bootstrap of 2,000 draws: two standard
errors of its quantile, 2 sqrt(q (1 - q) / 2000) / phi(z), where the draws are normal and the width is 2 z standard deviations."""
MAX_P = 0.018
"""A p-value below it supports C1 where there is no interval: 0.025, one side of an interval of 95 %, less two standard errors
of a share of 2,000 permutations, so that here, too, other random numbers would not turn the verdict."""
MORE = {
    "C1": "a longer training, of which more can leak; more trained people each leak less",
    "C2": "sizes that lie further apart, or several trainings of each",
}
"""What would change a claim that is not resolved, where its people have an interval."""


def judge_claims(rows, data_shares=None, control_p=0.01):
    """Judge the four claims on a study's rows.

    - **C1**, for each setting (data set, GAN, resolution, people, photos, kimg): supported if the interval of the pooled
      identity AUC on unseen photos lies above 0.5 (an effect may be there and small: then the reason says so); not supported
      if it ends below ``SMALL_AUC``; else not resolved at this size. Nor is it where an end is nearer to its bound than
      ``DRAW_ERROR`` of the interval's width, so that other random numbers of the bootstrap could have turned the verdict. Below
      ``MIN_IDENTITIES`` people a side there is no interval, but a permutation test is exact at any number of people: supported if
      p < ``MAX_P``, else not resolved. Of several seeds p is twice their mean, a p-value however the seeds hang together (Vovk
      and Wang 2020, "Combining p-values via averaging").
    - **C2**, for each series of sizes at equal kimg, or at equal epochs: the AUC of the smallest size with an interval minus
      that of the largest, likewise against 0 and ``SMALL_DIFFERENCE``. Other pairs, and more photos of the same people, are
      shown.
    - **C3** takes from each (data set, GAN, resolution) C1's setting with the fewest people that have an interval (then
      most photos, most kimg, most seeds), so it says nothing about many people: supported if C1 is in every one, not supported
      if it is not in one, else not resolved; not measured below two data sets and two GANs.
    - **C4** is judged on ``data_shares``: see ``judge_data_shares``.

    *Seeds.* Each is shown; the verdict is on the mean of values and of interval ends. The mean of k seeds gets no narrower
    than one, since seeds may draw the same people. *No verdict* is built on seed 0 (used for tuning), on runs whose judged
    control failed, without a face net that is sound, or whose people differ in training photos: they are shown, and why.
    Each setting is judged by itself at 95 %; nothing is corrected for their number.

    Parameters
    ----------
    rows : DataFrame of ``collect_rows``.
    doses : DataFrame of the squares' rows, or None: see ``judge_data_shares``.
    control_p : float. As in ``judge_control``.

    Returns
    -------
    DataFrame, a row a piece of evidence: ``COLUMNS``. ``value``, ``low``, ``high`` are of ``measure``; ``p_value``, of permuted
    people, stands where there is no interval; ``verdict`` is one of ``VERDICTS``.
    """
    runs = describe_evidence(rows, control_p)
    leaks = _judge_leaks(runs)
    parts = [leaks, _judge_growth(rows, runs), judge_cells(leaks), judge_data_shares(data_shares, control_p)]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)[COLUMNS]


def _judge_leaks(runs):
    """C1: a row a setting, and one a run where it is one of several or has an excuse."""
    return _judge_seeds(
        runs.assign(series=runs[SETTING].astype(str).agg(" ".join, axis=1), sweep="", is_judged=True),
        {"claim": "C1", "measure": "AUC"}, 0.5, SMALL_AUC,
    )  # fmt: skip


def _judge_growth(rows, runs):
    """C2: the differences between runs of ``collect_rows``, of the net that gives the smaller run's headline."""
    known = runs.set_index("run")
    pairs = rows[(rows.metric == "auc_difference") & rows.slice.isin(list(SWEEPS)) & rows.versus.isin(known.index)]
    others = {pair: list_others(part, part.run.map(known.embedder).iloc[0]) for pair, part in pairs.groupby(["run", "versus"])}
    pairs = pairs[pairs.embedder == pairs.run.map(known.embedder)]
    if not len(pairs):
        reason = "no two runs differ in the number of people alone, or in it and kimg in proportion"
        return pd.DataFrame([describe_claim("C2", measure="difference of AUC", verdict="not measured", reason=reason,
                                            what_would_change="two sizes of one seed in params.yaml: runs")])
    second = known.loc[pairs.versus].reset_index()
    table = pairs[["run", *RUN_COLUMNS, "value", "low", "high", "p_value"]].reset_index(drop=True)
    table = table.assign(sweep=pairs.slice.to_numpy(), excuse=pairs.run.map(known.excuse).to_numpy())
    for name in ("num_identities", "max_train_photos", "kimg"):
        table[f"other_{name}"] = second[name]
    table["excuse"] = table.excuse.where(table.excuse != "", second.excuse)
    table["others"] = [others[pair] for pair in zip(table.run, second.run, strict=True)]
    table["run"] += " " + second.run
    # A series is what one curve is drawn of: all that the sweep does not change.
    fixed = ["sweep", "dataset", "generator", "resolution", "query_photos", "num_generated"]
    table["line"] = table[fixed].astype(str).agg(" ".join, axis=1) + np.where(
        table.sweep == "equal epochs", (table.kimg / table.num_identities / table.train_photos).round(6).astype(str),
        table.kimg.astype(str) + " " + table.train_photos.astype(str),
    )  # fmt: skip
    sizes = ["num_identities", "other_num_identities", "max_train_photos", "other_max_train_photos"]
    table["series"] = table[["line", *sizes]].astype(str).agg(" ".join, axis=1)
    can = (table.num_identities >= MIN_IDENTITIES) & (table.excuse == "") & (table.sweep != "photos")
    able = table[can].groupby("line")
    smallest, largest = (able[name].agg(how).reindex(table.line).to_numpy()
                         for name, how in (("num_identities", "min"), ("other_num_identities", "max")))
    table["is_judged"] = can & (table.num_identities == smallest) & (table.other_num_identities == largest)
    return _judge_seeds(table, {"claim": "C2", "measure": "difference of AUC"}, 0.0, SMALL_DIFFERENCE)


def _judge_seeds(table, keys, null, small):
    """Rows of what counts, the mean over seeds, with a verdict; then of each seed, and of what does not count, shown."""
    parts = []
    for _, group in table.groupby("series", sort=False):
        counts = group[group.excuse == ""]
        if len(counts):
            value, low, high = (counts[name].mean(skipna=False) for name in ("value", "low", "high"))
            p_value = _pool_seeds(counts.p_value)
            verdict, reason, change = _judge(low, high, p_value, null, small, MORE[keys["claim"]])
            if len(counts) > 1:
                reason += f"; mean of seeds {', '.join(f'{s}: {v:.2f}' for s, v in zip(counts.seed, counts.value, strict=True))}"
            else:
                reason += f"; one training{' of each size' if keys['claim'] == 'C2' else ''}, seed {counts.seed.iloc[0]}"
            reason += _say_other_nets(counts, null, small)
            if not group.is_judged.any():
                verdict, reason, change = "shown", "no verdict is built on this comparison", ""
            row = counts.iloc[0].to_dict() | {"run": " ".join(counts.run), "value": value, "low": low, "high": high}
            row["p_value"] = p_value
            parts.append(_describe_row(row, keys, verdict, reason, change))
        shown = group if len(counts) > 1 else group[group.excuse != ""]
        for row in shown.to_dict("records"):
            parts.append(_describe_row(row, keys, "shown", row["excuse"] or "one of several seeds", ""))
    return pd.DataFrame(parts)


def _pool_seeds(p_values):
    """One p-value of several seeds', however they hang together."""
    return min(1.0, 2 * np.mean(p_values)) if len(p_values) > 1 else np.mean(p_values)


def _say_other_nets(counts, null, small):
    """What the other sound nets say of the same runs (seeds), each by the same rule."""
    said = ""
    for net in counts.others.iloc[0]:
        values, lows, highs, p_values = zip(*(row[net] for row in counts.others if net in row), strict=True)
        value, low, high = np.mean(values), np.mean(lows), np.mean(highs)
        interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
        said += f"; the net {net}: {value:.2f}{interval}, {_judge(low, high, _pool_seeds(p_values), null, small)[0]}"
    return said


def _judge(low, high, p_value, null, small, more=""):
    """(verdict, reason, what would change it) of an interval against no effect and a small one, or, where there is none, of a
    permutation test."""
    if not np.isfinite(low):
        reason, enough = f"below {MIN_IDENTITIES} people a side there is no interval", f"{MIN_IDENTITIES} people a side"
        if not np.isfinite(p_value):
            return "not resolved", reason, enough
        reason += f"; people's labels permuted: p = {p_value:.4f}"
        if p_value < MAX_P:
            return "supported", reason, f"a rerun whose p is not below {MAX_P}"
        return "not resolved", reason, enough
    error, edge = DRAW_ERROR * (high - low), "on the edge: the interval {} at {:.4f}, nearer to {:g} than its draws can tell"
    if abs(low - null) <= error:
        return "not resolved", edge.format("begins", low, null), more
    if low > null:
        size = f", and ends below {small}: there, and small" if high < small else ""
        change = f"a rerun whose interval holds {null:g}, or whose control fails"
        return "supported", f"the interval lies above {null:g}{size}", change
    if abs(high - small) <= error:
        return "not resolved", edge.format("ends", high, small), more
    if high < small:
        return "not supported", f"the interval ends below {small}", f"a rerun whose interval reaches {small}"
    return "not resolved", f"the interval holds {null:g} and reaches {small}", more


def choose_cells(leaks, most=False):
    """C1's row of each data set, GAN and resolution on which C3 is judged, of one study or of several; or that of most people."""
    judged = leaks[(leaks.claim == "C1") & (leaks.verdict != "shown")]
    order = pd.DataFrame({
        "few": judged.low.isna(), "people": judged.people.astype(int) * (-1 if most else 1), "photos": -judged.photos.astype(int),
        "kimg": -judged.kimg.astype(float), "seeds": -judged.runs.str.split().str.len(),
    })  # fmt: skip
    judged = judged.loc[order.sort_values(list(order), kind="stable").index]
    return judged.drop_duplicates(["dataset", "generator", "resolution"]).sort_values(["dataset", "generator", "resolution"])


def judge_cells(leaks):
    """C3 over the settings of C1, of one study or of several: a table of one row."""
    cells = choose_cells(leaks)
    names = cells.dataset + " " + cells.generator + " " + cells.resolution.astype(str) + " px"
    reasons = [f"{verdict}: {', '.join(part)}" for verdict, part in names.groupby(cells.verdict)]
    found = cells.verdict.tolist()
    num_datasets, num_generators = cells.dataset.nunique(), cells.generator.nunique()
    if min(num_datasets, num_generators) < 2:
        verdict = "not measured"
        reasons.append(f"data sets: {num_datasets}, GANs: {num_generators}, and two of each are needed")
    else:
        verdict = "supported" if set(found) == {"supported"} else "not supported" if "not supported" in found else "not resolved"
    share = found.count("supported") / len(cells) if len(cells) else np.nan
    change = "another data set, GAN or resolution: a line in params.yaml, runs"
    found = {"measure": f"share of {len(cells)} settings that support C1", "value": share, "runs": " ".join(cells.runs)}
    end = {"verdict": verdict, "reason": "; ".join(reasons), "what_would_change": change}
    return pd.DataFrame([describe_claim("C3", **found, **end)])


def _describe_row(row, keys, verdict, reason, change):
    def say(name):
        own, other = row[name], row.get(f"other_{name}", row[name])
        return f"{own:g}" if own == other else f"{own:g} against {other:g}"

    cells = {"people": say("num_identities"), "photos": say("max_train_photos"), "kimg": say("kimg"), "runs": row["run"]}
    same = {name: row[name] for name in ("dataset", "generator", "value", "low", "high")}
    same["p_value"] = np.nan if np.isfinite(row["low"]) else row["p_value"]
    end = {"comparison": row["sweep"], "verdict": verdict, "reason": reason, "what_would_change": change}
    return describe_claim(**keys, **same, **cells, **end, resolution=f"{row['resolution']:g}")
