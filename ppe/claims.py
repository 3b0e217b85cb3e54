"""The four claims of Webster et al. (arXiv 2107.06018), judged by rules that are the same for every study: C1 a trained
person is told by photos never trained on, C2 less so the more people are trained on, C3 on every data set and GAN, C4 also
one over-represented person among many.
"""

import numpy as np
import pandas as pd

from ppe.collection import SWEEPS, compute_headlines, select_headline
from ppe.evaluation import RUN_COLUMNS
from ppe.intervals import MIN_PEOPLE
from ppe.metrics import MIN_VERIFICATION_AUC

QUESTIONS = {
    "C1": "Is a trained person told by photos that were never trained on?",
    "C2": "Does it weaken as the number of trained people grows?",
    "C3": "Does it hold across data sets, GANs and resolutions?",
    "C4": "Does one over-represented person leak where everybody else is diverse?",
}
SMALL_AUC = 0.55  # an AUC below it is a small effect: an interval that ends there speaks against C1
SMALL_DIFFERENCE = 0.05  # likewise a difference of two AUCs, against C2
SETTING = [name for name in RUN_COLUMNS if name != "seed"]
COLUMNS = [
    "claim", "comparison", "dataset", "gan", "resolution", "people", "photos", "kimg", "runs", "measure", "value", "low",
    "high", "verdict", "reason", "what_would_change",
]  # fmt: skip
VERDICTS = ("supported", "not supported", "not resolved", "not measured", "shown")
"""``shown`` is evidence that no verdict is built on."""


def judge_claims(rows, doses=None, judged_p=0.01):
    """Judge the four claims on a study's rows.

    - **C1**, for each setting (data set, GAN, resolution, people, photos, kimg): supported if the interval of the pooled
      identity AUC on unseen photos lies above 0.5; not supported if it ends below ``SMALL_AUC``; else not resolved at this
      size. Below ``MIN_PEOPLE`` people a side there is no interval, so it is not resolved.
    - **C2**, for each series of sizes at equal kimg, or at equal epochs: the AUC of the smallest size with an interval minus
      that of the largest. Supported if the interval lies above 0; not supported if it ends below ``SMALL_DIFFERENCE``; else
      not resolved. Other pairs, and more photos of the same people, are shown.
    - **C3** takes from each (data set, GAN, resolution) C1's setting with the fewest people that have an interval (then
      most photos, most kimg, most seeds): supported if C1 is in every one, not supported if it is not in one, else not
      resolved; not measured below two data sets and two GANs.
    - **C4** is judged on ``doses``: see ``judge_doses``.

    *Seeds.* Each is shown; the verdict is on the mean of values and of interval ends. The mean of k seeds gets no narrower
    than one, since seeds may draw the same people. *No verdict* is built on seed 0 (used for tuning), on runs whose judged
    control failed, without a face net that is sound, or whose people differ in training photos: they are shown, and why.

    Parameters
    ----------
    rows : DataFrame of ``collect_rows``.
    doses : DataFrame or None. kind (many, repeated, none), dose (share of the data), metric, value, low, high, p_value.
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


def describe_evidence(rows, judged_p):
    """One row a run: its settings, its headline, and ``excuse``: why no verdict is built on it, or "".

    ``epochs`` says how often each training photo was shown, if everybody has as many.
    """
    headlines = compute_headlines(rows, list(rows.run.unique()), judged_p)
    table = []
    for run, part in rows.groupby("run", sort=False):
        row = select_headline(rows, run)
        excuse = "seed 0 was used for tuning" if row.seed == 0 else ""
        if part.slice.str.startswith("train_photos").any():
            excuse = "its people differ in training photos"
        if not headlines[run]["embedder_is_sound"]:
            excuse = f"no face net reaches an AUC of {MIN_VERIFICATION_AUC} on people that it never saw"
        if headlines[run]["control_failed"]:
            excuse = f"the judged control failed (p = {headlines[run]['control_p_value']:.3f})"
        settings = row[["run", *RUN_COLUMNS, "embedder", "value", "low", "high"]].to_dict()
        epochs = 1000 * row.kimg / (row.num_identities * row.max_train_photos)
        table.append({**settings, "epochs": epochs, "excuse": excuse})
    return pd.DataFrame(table)


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
                line = f"{first.dataset}, {first.gan}, {first.resolution} px, {amount}{people}"
                parts.append(group.assign(sweep=sweep, line=line, x=group[x]))
    return pd.concat(parts, ignore_index=True) if parts else runs.iloc[:0].assign(sweep="", line="", x=0)


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
        return pd.DataFrame([_describe("C2", measure="difference of AUC", verdict="not measured", reason=reason,
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
        return "supported", f"the interval lies above {null:g}", f"a rerun whose interval holds {null:g}, or whose control fails"
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
    return pd.DataFrame([_describe("C3", runs=" ".join(cells.runs), measure="share of cells that support C1", value=share,
                                   verdict=verdict, reason="; ".join(reasons), what_would_change=change)])


def judge_doses(doses, judged_p=0.01):
    """C4: the share of generated faces matched to a person, at the largest dose of each kind.

    Supported if that share's interval lies above the share at dose 0 and it rises with the dose (``trend_p`` < ``judged_p``),
    and the attack on people who were in no set finds nothing (interval of ``null_auc`` holds 0.5); not supported if the
    interval ends below twice the share at dose 0; else not resolved.
    """
    if doses is None or not len(doses):
        return pd.DataFrame([_describe("C4", measure="share of matched faces", verdict="not measured",
                                       reason="the study has no doses", what_would_change="a study with doses")])
    base = _pick(doses, "match_share", "none").sort_values("dose").value
    base = base.iloc[0] if len(base) else 0.0
    null = _pick(doses, "null_auc")
    is_null = bool(((null.low <= 0.5) & (null.high >= 0.5)).all()) and len(null) > 0
    parts = []
    for kind in ("many", "repeated"):
        shares = _pick(doses, "match_share", kind).sort_values("dose")
        if not len(shares):
            continue
        last, trend = shares.iloc[-1], _pick(doses, "trend_p", kind).value
        rises = len(trend) > 0 and trend.iloc[0] < judged_p
        numbers = f"{last.value:.2g} of the faces at a dose of {last.dose:.0%}, {base:.2g} at none"
        if not is_null:
            verdict, reason = "not resolved", "the attack on people who were in no set does not find nothing"
        elif last.low > base and rises:
            verdict, reason = "supported", f"{numbers}, rising with the dose"
        else:
            verdict, reason = "not supported" if last.high < 2 * base else "not resolved", numbers
        parts.append(_describe("C4", comparison=kind, measure="share of matched faces", value=last.value, low=last.low,
                               high=last.high, verdict=verdict, reason=reason, what_would_change="more people at each dose"))
    return pd.DataFrame(parts)


def _describe(claim, **cells):
    """A row of the table; what is not named is empty."""
    return {**dict.fromkeys(COLUMNS, ""), "value": np.nan, "low": np.nan, "high": np.nan, "claim": claim, **cells}


def _describe_row(row, keys, verdict, reason, change):
    def say(name):
        own, other = row[name], row.get(f"other_{name}", row[name])
        return f"{own:g}" if own == other else f"{own:g} against {other:g}"

    cells = {"people": say("num_identities"), "photos": say("max_train_photos"), "kimg": say("kimg"), "runs": row["run"]}
    same = {name: row[name] for name in ("dataset", "gan", "value", "low", "high")}
    end = {"comparison": row["sweep"], "verdict": verdict, "reason": reason, "what_would_change": change}
    return _describe(**keys, **same, **cells, **end, resolution=f"{row['resolution']:g}")


def _pick(doses, metric, kind=None):
    return doses[(doses.metric == metric) & ((doses.kind == kind) if kind else True)]
