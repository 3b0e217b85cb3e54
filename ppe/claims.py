"""The four claims of Webster et al. (arXiv 2107.06018), judged by rules that are the same for every study: C1 a trained
person is told by photos never trained on, C2 less so the more people are trained on, C3 on every data set and GAN, C4 also
one over-represented person among many.
"""

import numpy as np
import pandas as pd

from ppe.collection import SWEEPS
from ppe.evaluation import RUN_COLUMNS, choose_embedder
from ppe.evidence import COLUMNS, NO_NET, SETTING, describe_claim, describe_evidence
from ppe.intervals import MIN_PEOPLE
from ppe.placebos import smallest_p

SMALL_AUC = 0.55  # an AUC below it is a small effect: an interval that ends there speaks against C1
SMALL_DIFFERENCE = 0.05  # likewise a difference of two AUCs, against C2
COPY_SHARE = 0.1  # likewise the share of what a GAN that copies would show, against C4


def judge_claims(rows, doses=None, judged_p=0.01):
    """Judge the four claims on a study's rows.

    - **C1**, for each setting (data set, GAN, resolution, people, photos, kimg): supported if the interval of the pooled
      identity AUC on unseen photos lies above 0.5 (an effect may be there and small: then the reason says so); not supported
      if it ends below ``SMALL_AUC``; else not resolved at this size. Below ``MIN_PEOPLE`` people a side there is no interval,
      so it is not resolved.
    - **C2**, for each series of sizes at equal kimg, or at equal epochs: the AUC of the smallest size with an interval minus
      that of the largest. Supported if the interval lies above 0; not supported if it ends below ``SMALL_DIFFERENCE``; else
      not resolved. Other pairs, and more photos of the same people, are shown.
    - **C3** takes from each (data set, GAN, resolution) C1's setting with the fewest people that have an interval (then
      most photos, most kimg, most seeds), so it says nothing about many people: supported if C1 is in every one, not supported
      if it is not in one, else not resolved; not measured below two data sets and two GANs.
    - **C4** is judged on ``doses``: see ``judge_doses``.

    *Seeds.* Each is shown; the verdict is on the mean of values and of interval ends. The mean of k seeds gets no narrower
    than one, since seeds may draw the same people. *No verdict* is built on seed 0 (used for tuning), on runs whose judged
    control failed, without a face net that is sound, or whose people differ in training photos: they are shown, and why.
    Each setting is judged by itself at 95 %; nothing is corrected for their number.

    Parameters
    ----------
    rows : DataFrame of ``collect_rows``.
    doses : DataFrame of the squares' rows, or None: see ``judge_doses``.
    judged_p : float. As in ``judge_control``.

    Returns
    -------
    DataFrame, a row a piece of evidence: ``COLUMNS``. ``value``, ``low``, ``high`` are of ``measure``; ``verdict`` is one of
    ``VERDICTS``.
    """
    runs = describe_evidence(rows, judged_p)
    leaks = _judge_leaks(runs)
    parts = [leaks, _judge_growth(rows, runs), judge_cells(leaks), judge_doses(doses, judged_p)]
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
    pairs = pairs[pairs.embedder == pairs.run.map(known.embedder)]
    if not len(pairs):
        reason = "no two runs differ in the number of people alone, or in it and kimg in proportion"
        return pd.DataFrame([describe_claim("C2", measure="difference of AUC", verdict="not measured", reason=reason,
                                            what_would_change="two sizes of one seed in params.yaml: runs")])
    second = known.loc[pairs.versus].reset_index()
    table = pairs[["run", *RUN_COLUMNS, "value", "low", "high"]].reset_index(drop=True)
    table = table.assign(sweep=pairs.slice.to_numpy(), excuse=pairs.run.map(known.excuse).to_numpy())
    for name in ("num_identities", "max_train_photos", "kimg"):
        table[f"other_{name}"] = second[name]
    table["excuse"] = table.excuse.where(table.excuse != "", second.excuse)
    table["run"] += " " + second.run
    # A series is what one curve is drawn of: all that the sweep does not change.
    fixed = ["sweep", "dataset", "gan", "resolution", "query_photos", "num_generated"]
    table["line"] = table[fixed].astype(str).agg(" ".join, axis=1) + np.where(
        table.sweep == "equal epochs", (table.kimg / table.num_identities / table.train_photos).round(6).astype(str),
        table.kimg.astype(str) + " " + table.train_photos.astype(str),
    )  # fmt: skip
    sizes = ["num_identities", "other_num_identities", "max_train_photos", "other_max_train_photos"]
    table["series"] = table[["line", *sizes]].astype(str).agg(" ".join, axis=1)
    can = (table.num_identities >= MIN_PEOPLE) & (table.excuse == "") & (table.sweep != "photos")
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
            verdict, reason, change = _judge_interval(low, high, null, small)
            if len(counts) > 1:
                reason += f"; mean of seeds {', '.join(f'{s}: {v:.2f}' for s, v in zip(counts.seed, counts.value, strict=True))}"
            if not group.is_judged.any():
                verdict, reason, change = "shown", "no verdict is built on this comparison", ""
            row = counts.iloc[0].to_dict() | {"run": " ".join(counts.run), "value": value, "low": low, "high": high}
            parts.append(_describe_row(row, keys, verdict, reason, change))
        shown = group if len(counts) > 1 else group[group.excuse != ""]
        for row in shown.to_dict("records"):
            parts.append(_describe_row(row, keys, "shown", row["excuse"] or "one of several seeds", ""))
    return pd.DataFrame(parts)


def _judge_interval(low, high, null, small):
    """(verdict, reason, what would change it) of an interval against no effect and a small one."""
    if not np.isfinite(low):
        return "not resolved", f"below {MIN_PEOPLE} people a side there is no interval", f"{MIN_PEOPLE} people a side"
    if low > null:
        size = f", and ends below {small}: there, and small" if high < small else ""
        change = f"a rerun whose interval holds {null:g}, or whose control fails"
        return "supported", f"the interval lies above {null:g}{size}", change
    if high < small:
        return "not supported", f"the interval ends below {small}", f"a rerun whose interval reaches {small}"
    return "not resolved", f"the interval holds {null:g} and reaches {small}", "more people: the interval narrows with their root"


def choose_cells(leaks):
    """C1's row of each data set, GAN and resolution on which C3 is judged, of one study or of several."""
    judged = leaks[(leaks.claim == "C1") & (leaks.verdict != "shown")]
    order = pd.DataFrame({
        "few": judged.low.isna(), "people": judged.people.astype(int), "photos": -judged.photos.astype(int),
        "kimg": -judged.kimg.astype(float), "seeds": -judged.runs.str.split().str.len(),
    })  # fmt: skip
    judged = judged.loc[order.sort_values(list(order), kind="stable").index]
    return judged.drop_duplicates(["dataset", "gan", "resolution"]).sort_values(["dataset", "gan", "resolution"])


def judge_cells(leaks):
    """C3 over the settings of C1, of one study or of several: a table of one row."""
    cells = choose_cells(leaks)
    names = cells.dataset + " " + cells.gan + " " + cells.resolution.astype(str) + " px"
    reasons = [f"{verdict}: {', '.join(part)}" for verdict, part in names.groupby(cells.verdict)]
    found = cells.verdict.tolist()
    num_datasets, num_gans = cells.dataset.nunique(), cells.gan.nunique()
    if min(num_datasets, num_gans) < 2:
        verdict = "not measured"
        reasons.append(f"data sets: {num_datasets}, GANs: {num_gans}, and two of each are needed")
    else:
        verdict = "supported" if set(found) == {"supported"} else "not supported" if "not supported" in found else "not resolved"
    share = found.count("supported") / len(cells) if len(cells) else np.nan
    change = "another data set, GAN or resolution: a line in params.yaml, runs"
    found = {"measure": f"share of {len(cells)} settings that support C1", "value": share, "runs": " ".join(cells.runs)}
    end = {"verdict": verdict, "reason": "; ".join(reasons), "what_would_change": change}
    return pd.DataFrame([describe_claim("C3", **found, **end)])


def judge_doses(doses, judged_p=0.01):
    """C4: a row a square and measure: the contrast of the largest dose and 0, of the net that gives the verdict.

    ``match_share``, the share of generated faces that match the person, is judged. Supported: from dose 0 to the largest the
    share grows more than for null people in the same places (p < ``judged_p``): somebody comes through, which is not
    everybody, so the reason says for how many it grew. Not supported: its interval ends below ``COPY_SHARE`` of what a GAN
    that copies would show. Else not resolved. The interval takes the effect to be the same for all, since so few people have
    no other. Other measures are shown, and so are squares of so few people that no p can be that small. Each square is
    judged by itself; nothing is corrected for their number.

    doses : DataFrame, the rows of the squares (``results/<study>/doses.csv``), or None.
    """
    parts = []
    for _, part in doses[doses.kind != "none"].groupby("square", sort=False) if doses is not None else ():
        verified = part.drop_duplicates("embedder").set_index("embedder").embedder_auc.to_dict()
        embedder, is_sound = choose_embedder(verified)
        part = part[part.embedder == embedder]
        ceiling = part[(part.measure == "match_share_ceiling") & (part.statistic == "contrast")].value.max()
        for (measure, reference), table in part.groupby(["measure", "reference"], sort=False):
            means = table[table.statistic == "mean"].dropna(subset="dose").sort_values("dose")
            if len(means):
                name = f"{measure}, against {reference}" if reference else measure
                contrast = table[table.statistic == "contrast"]
                grown = _say_who_grew(table[table.statistic == "person"])
                excuse = "" if is_sound else NO_NET
                if measure != "match_share" or not len(contrast):
                    excuse = excuse or "no verdict is built on this measure"
                elif smallest_p(contrast.num_people.iloc[0], contrast.num_null.iloc[0]) >= judged_p:
                    excuse = excuse or f"so few people cannot reach p < {judged_p}"
                parts.append(_judge_dose(means, contrast, ceiling, judged_p, name, excuse, grown))
    if not parts:
        parts = [describe_claim("C4", measure="match_share", verdict="not measured", reason="the study has no squares",
                                what_would_change="a study with squares")]  # fmt: skip
    return pd.DataFrame(parts)


def _say_who_grew(people):
    """For how many people the value is larger at the largest dose than at 0, and how much of the sum is one person's."""
    ends = [people[people.dose == dose].groupby("person").value.mean() for dose in (people.dose.max(), 0)]
    growth = (ends[0] - ends[1]).dropna()
    if not len(growth):
        return ""
    most = f", and one makes {growth.max() / growth.sum():.0%} of the sum" if growth.sum() > 0 and len(growth) > 1 else ""
    return f"; it grew for {(growth > 0).sum()} of {len(growth)} people{most}"


def _judge_dose(means, contrast, ceiling, judged_p, measure, excuse, grown):
    """The claim of one measure of a square, from its means at each dose and, where there is one, its contrast."""
    first, last = means.iloc[0], means.iloc[-1]
    reason = f"{last.value:.3g} at a dose of {last.dose:.1%}, {first.value:.3g} at {first.dose:.1%}"
    numbers, verdict, change = {name: last[name] for name in ("value", "low", "high")}, "shown", ""
    if len(contrast):
        row = contrast.iloc[0]
        numbers = {name: row[name] for name in ("value", "low", "high")}
        reason += f"; p = {row.p_value:.3g} against {row.num_null:g} null people; a GAN that copies: {ceiling:.3g}{grown}"
        measure = f"difference of {measure}"
        if row.p_value < judged_p:
            verdict, change = "supported", f"a rerun with p of {judged_p} or more"
        elif row.high < COPY_SHARE * ceiling:
            verdict, change = "not supported", f"a rerun whose interval reaches {COPY_SHARE:g} of what a GAN that copies shows"
        else:
            verdict, change = "not resolved", "more people, more photos of each, or a longer training"
    if excuse:
        verdict, change, reason = "shown", "", f"{reason}; {excuse}"
    return _describe_dose(last, measure, numbers) | {"verdict": verdict, "reason": reason, "what_would_change": change}


def _describe_dose(row, measure, numbers):
    shape = {"resolution": f"{row.resolution:g}", "kimg": f"{row.kimg:g}", "people": f"{row.num_people:g}"}
    names = {"comparison": row.kind, "dataset": row.dataset, "gan": row.gan, "runs": f"{row.square} {row.crowds}"}
    return describe_claim("C4", measure=measure, **names, **shape, **numbers)


def _describe_row(row, keys, verdict, reason, change):
    def say(name):
        own, other = row[name], row.get(f"other_{name}", row[name])
        return f"{own:g}" if own == other else f"{own:g} against {other:g}"

    cells = {"people": say("num_identities"), "photos": say("max_train_photos"), "kimg": say("kimg"), "runs": row["run"]}
    same = {name: row[name] for name in ("dataset", "gan", "value", "low", "high")}
    end = {"comparison": row["sweep"], "verdict": verdict, "reason": reason, "what_would_change": change}
    return describe_claim(**keys, **same, **cells, **end, resolution=f"{row['resolution']:g}")
