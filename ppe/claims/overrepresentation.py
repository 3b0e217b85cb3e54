"""The fourth claim of Webster et al. (arXiv 2107.06018), judged on a study's squares: one over-represented person leaks where
everybody else is diverse.
"""

import pandas as pd

from ppe.claims.evidence import NO_NET, describe_claim
from ppe.evaluation.tables import choose_embedder
from ppe.overrepresentation.placebo_test import find_smallest_p

CEILING_SHARE = 0.1
"""Share of what a GAN that copies would show, below which an effect is small."""
RULE_SAW = ("lfw",)
"""Data sets whose rows were seen before the rule was chosen: a verdict on them is exploratory."""
EXPLORATORY = "exploratory: the rule was chosen after rows of this data set had been seen"


def judge_data_shares(data_shares, control_p=0.01):
    """C4: a row a square and measure: the contrast of the largest dose and 0, of the net that gives the verdict.

    ``match_share``, the share of generated faces that match the person, is judged. Supported: from dose 0 to the largest the
    share grows more than for null people in the same places (p < ``control_p``): somebody comes through, which is not
    everybody, so the reason says for how many it grew, and what two other tests of the same people say, which ask whether it
    grows for people in general. Not supported: its interval ends below ``CEILING_SHARE`` of what a GAN that copies would show,
    which is not zero. Else not resolved. The interval takes the effect to be the same for all, since so few people have no
    other: it is about these people, and no other. Other measures are shown, with the alarms in GANs in which nobody stands
    out, and so are squares of so few people that no p can be that small. Each square is judged by itself; nothing is
    corrected for their number. On the data sets of ``RULE_SAW`` this is exploratory.

    doses : DataFrame, the rows of the squares (``results/<study>/doses.csv``), or None.
    """
    parts, alarms = [], []
    for _, part in data_shares.groupby("experiment", sort=False) if data_shares is not None else ():
        verified = part.drop_duplicates("embedder").set_index("embedder").embedder_auc.to_dict()
        embedder, is_sound = choose_embedder(verified)
        part = part[part.embedder == embedder]
        if part.kind.iloc[0] == "none":
            alarms += _count_alarms(part)
            continue
        ceiling = part[(part.measure == "match_share_ceiling") & (part.statistic == "contrast")].value.max()
        for (measure, reference), table in part.groupby(["measure", "calibration"], sort=False):
            means = table[table.statistic == "mean"].dropna(subset="data_share").sort_values("data_share")
            if len(means):
                name = f"{measure}, against {reference}" if reference else measure
                contrast = table[table.statistic == "contrast"]
                grown = _say_who_grew(table[table.statistic == "identity"]) + _say_other_tests(table)
                excuse = "" if is_sound else NO_NET
                if measure != "match_share" or not len(contrast):
                    excuse = excuse or "no verdict is built on this measure"
                elif find_smallest_p(contrast.num_identities.iloc[0], contrast.num_controls.iloc[0]) >= control_p:
                    excuse = excuse or f"so few people cannot reach p < {control_p}"
                parts.append(_judge_data_share(means, contrast, ceiling, control_p, name, excuse, grown))
    if not parts:
        parts = [describe_claim("C4", measure="match_share", verdict="not measured", reason="the study has no squares",
                                what_would_change="a study with squares")]  # fmt: skip
    return pd.DataFrame(parts + alarms)


def _count_alarms(part):
    """In how many of the GANs in which nobody stands out somebody is discovered all the same, for each reference."""
    rows = []
    for row in part[(part.measure == "false_alarms") & (part.statistic == "share")].itertuples():
        reason = f"{round(row.value * row.num_generators)} of {row.num_generators:g} GANs in which nobody stands out"
        shape = {"resolution": f"{row.resolution:g}", "kimg": f"{row.kimg:g}", "comparison": row.kind}
        numbers = {"measure": f"false alarms, against {row.calibration}", "value": row.value, "low": row.low, "high": row.high}
        names = {"dataset": row.dataset, "generator": row.generator, "runs": f"{row.experiment} {row.baseline}"}
        rows.append(describe_claim("C4", **names, **shape, **numbers, verdict="shown", reason=reason))
    return rows


def _say_other_tests(table):
    """The p-values of the largest dose against none, paired by person, and of the trend over all doses."""
    means = table[(table.statistic == "mean") & table.p_value.notna()].sort_values("data_share")
    trends = table[(table.statistic == "trend") & table.p_value.notna()]
    paired = f"; paired by person p = {means.p_value.iloc[-1]:.2g}" if len(means) else ""
    return paired + (f"; trend over all doses p = {trends.p_value.iloc[0]:.2g}" if len(trends) else "")


def _say_who_grew(people):
    """For how many people the value is larger at the largest dose than at 0, from where to where, and one person's share."""
    ends = [people[people.data_share == data_share].groupby("pseudonym").value.mean() for data_share in (people.data_share.max(), 0)]
    growth = (ends[0] - ends[1]).dropna()
    if not len(growth):
        return ""
    most = f", and one makes {growth.max() / growth.sum():.0%} of the sum" if growth.sum() > 0 and len(growth) > 1 else ""
    span = f" (by {growth.min():.3g} to {growth.max():.3g})" if len(growth) > 1 else ""
    return f"; it grew for {(growth > 0).sum()} of {len(growth)} people{span}{most}"


def _judge_data_share(means, contrast, ceiling, control_p, measure, excuse, grown):
    """The claim of one measure of a square, from its means at each dose and, where there is one, its contrast."""
    first, last = means.iloc[0], means.iloc[-1]
    reason = f"{last.value:.3g} at a dose of {last.data_share:.1%}, {first.value:.3g} at {first.data_share:.1%}"
    numbers, verdict, change = {name: last[name] for name in ("value", "low", "high")}, "shown", ""
    if len(contrast):
        row = contrast.iloc[0]
        numbers = {name: row[name] for name in ("value", "low", "high")}
        reason += f"; p = {row.p_value:.3g} against {row.num_controls:g} null people; a GAN that copies: {ceiling:.3g}{grown}"
        measure = f"difference of {measure}"
        if row.p_value < control_p:
            verdict, change = "supported", f"a rerun with p of {control_p} or more"
        elif row.high < CEILING_SHARE * ceiling:
            verdict, change = "not supported", f"a rerun whose interval reaches {CEILING_SHARE:g} of what a GAN that copies shows"
        else:
            verdict, change = "not resolved", "more people, more photos of each, or a longer training"
    if verdict != "shown" and last.dataset in RULE_SAW:
        reason += f"; {EXPLORATORY}"
    if excuse:
        verdict, change, reason = "shown", "", f"{reason}; {excuse}"
    return _describe_data_share(last, measure, numbers) | {"verdict": verdict, "reason": reason, "what_would_change": change}


def _describe_data_share(row, measure, numbers):
    shape = {"resolution": f"{row.resolution:g}", "kimg": f"{row.kimg:g}", "people": f"{row.num_identities:g}"}
    names = {"comparison": row.kind, "dataset": row.dataset, "generator": row.generator, "runs": f"{row.experiment} {row.baseline}"}
    return describe_claim("C4", measure=measure, **names, **shape, **numbers)

