"""The fourth claim of Webster et al. (arXiv 2107.06018), judged on a study's experiments.

It says that one over-represented identity leaks even where all others are diverse.
"""

import pandas as pd

from ppe.claims.correction import decide, describe_change
from ppe.claims.evidence import EXPLORATORY, describe_claim, explain_embedder, is_exploratory
from ppe.config.params import MOST_VERDICTS
from ppe.evaluation.tables import choose_embedder
from ppe.overrepresentation.designs import compare_designs, fill_design
from ppe.overrepresentation.placebo_test import find_smallest_p

COPIES = "a generator that copies its training photos"


def judge_data_shares(rows, rules, exploratory=None):
    """Judge C4: one row an experiment and measure, by the embedder that gives the verdict.

    **C4** is judged on ``match_share``, the share of generated faces that match the over-represented identity. The contrast is
    its mean at the largest data share minus its mean at 0.

    - *Supported*: the contrast is larger than that of control identities in their place (placebo test, p < ``alpha``, once it is
      corrected for the number of verdicts). Some identities then leak, not necessarily all. So the reason says for how many
      ``match_share`` grew. It also gives two tests of identities in general: paired by identity (in the design ``single``:
      targets take each other's generators), and the trend over all data shares.
    - *Not supported*: the interval of the contrast ends below ``ceiling_share`` of the contrast for a generator that copies its
      training photos. Such an effect is small, not zero.
    - *Inconclusive*: otherwise.

    The verdict comes from experiments with one over-represented identity a generator (``design: single``), where a study has one
    with enough identities. Latin squares with the same baseline are then shown beside it, whatever their kind: each of their
    generators has several over-represented identities. Whether the two designs agree is shown, too.

    The interval is Student's, over the targets. It says how large an effect is; the test decides whether there is one, and with
    few targets, of which one leaks much, p may be small though the interval holds 0. Other measures are shown without a
    verdict, and so are experiments with too few identities for such a p, and the false alarms of generators without an
    over-represented identity. On data sets with which this rule was chosen, the reason says that the verdict is exploratory.
    Here each p stands for itself; ``judge_claims`` corrects it.

    Parameters
    ----------
    rows : DataFrame, the rows of the experiments (``results/<study>/overrepresentation.csv``), or None.
    rules : the section ``verdicts`` of params.
    exploratory : mapping, data set -> claims of which a rule was chosen with it, or None.

    Returns
    -------
    DataFrame with ``ppe.claims.evidence.COLUMNS``.
    """
    parts, alarms = [], []
    if rows is not None:
        rows, singles = fill_design(rows), _find_singles(fill_design(rows), rules)
    for _, part in rows.groupby("experiment", sort=False) if rows is not None else ():
        verified = part.drop_duplicates("embedder").set_index("embedder").embedder_auc.to_dict()
        embedder, is_sound = choose_embedder(verified, rules.min_verification_auc)
        others = part[(part.embedder != embedder) & (part.embedder_auc >= rules.min_verification_auc)]
        part = part[part.embedder == embedder]
        if part.kind.iloc[0] == "none":
            alarms += _count_alarms(part)
            continue
        ceiling = part[(part.measure == "match_share_ceiling") & (part.statistic == "contrast")].value.max()
        for _, table in part.groupby(["measure", "calibration"], sort=False):
            if (table[table.statistic == "mean"].data_share.notna()).any():
                excuse = _explain_design(part, singles) if is_sound else explain_embedder(rules)
                parts.append(_judge_measure(table, others, ceiling, excuse, rules, exploratory))
        parts += _compare_with_squares(rows[rows.embedder == embedder], part) if part.design.iloc[0] == "single" else []
    if not parts:
        parts = [describe_claim("C4", measure="match_share", verdict="not measured", reason="the study has no experiments",
                                what_would_change="a study with experiments")]  # fmt: skip
    return pd.DataFrame(parts + alarms)


def _find_singles(rows, rules):
    """The experiments of the design ``single`` that give the verdict: a dict, baseline -> name."""
    contrasts = rows[(rows.design == "single") & (rows.measure == "match_share") & (rows.statistic == "contrast")]
    needed = rules.alpha / MOST_VERDICTS
    able = [find_smallest_p(row.num_identities, row.num_controls) < needed for row in contrasts.itertuples()]
    chosen = contrasts[pd.Series(able, contrasts.index, dtype=bool)].drop_duplicates(["baseline", "experiment"])
    return chosen.groupby("baseline", sort=False).experiment.agg(" and ".join).to_dict()


def _explain_design(part, singles):
    """Why there is no verdict on a Latin square where an experiment of the design ``single`` has the same baseline."""
    name = singles.get(part.baseline.iloc[0], "")
    if part.design.iloc[0] == "single" or not name:
        return ""
    return f"the verdict is that of {name}, with one over-represented identity a generator"


def _compare_with_squares(rows, part):
    """Rows of how an experiment of the design ``single`` differs from each Latin square: at each data share that both have."""
    name, measure, found = part.experiment.iloc[0], "match_share", []
    pairs = compare_designs(rows[rows.measure == measure])
    for square, table in pairs[pairs.single == name].groupby("square", sort=False):
        shares = [f"{row.data_share:.1%}: {_say(row, '_single')}, {_say(row, '_square')}, difference "
                  f"{row.difference:.3g} [{row.low:.3g}, {row.high:.3g}]" for row in table.itertuples()]  # fmt: skip
        differ = [f"{row.data_share:.1%}" for row in table.itertuples() if not row.agrees]
        end = f"they differ at a data share of {', '.join(differ)}" if differ else "they agree within the intervals"
        reason = f"effect of one identity a generator, of the square {square}: {'; '.join(shares)}; {end}"
        last = table.iloc[-1]
        numbers = {"value": last.difference, "low": last.low, "high": last.high, "identities": f"{last.num_identities:g}"}
        shape = _describe_setting(part.iloc[0]) | numbers | {"runs": f"{name} {square}"}
        found.append(describe_claim("C4", measure=f"{measure}, single minus square", verdict="shown", reason=reason, **shape))
    return found


def _say(row, design):
    value, low, high = (getattr(row, name + design) for name in ("value", "low", "high"))
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _judge_measure(table, others, ceiling, excuse, rules, exploratory):
    """The claim of one measure of an experiment, from its rows by one embedder, and those of the other sound embedders."""
    means = table[table.statistic == "mean"].dropna(subset="data_share").sort_values("data_share")
    contrast = table[table.statistic == "contrast"]
    first, last = means.iloc[0], means.iloc[-1]
    measure = _name_measure(last)
    reason = f"{last.value:.3g} at a data share of {last.data_share:.1%}, {first.value:.3g} at {first.data_share:.1%}"
    numbers, verdict, change = {name: last[name] for name in ("value", "low", "high")}, "shown", ""
    if len(contrast):
        row = contrast.iloc[0]
        numbers = {name: row[name] for name in ("value", "low", "high")}
        if last.design == "single":
            num_generators = table.group[table.statistic == "identity"].nunique()
            reason += f", one over-represented identity in each of {num_generators} generators"
        reason += f"; p = {row.p_value:.3g} against {row.num_controls:g} control identities; {COPIES}: {ceiling:.3g}"
        reason += _describe_growth(table[table.statistic == "identity"]) + _describe_other_tests(table)
        for other in table[table.statistic == "imbalance"].itertuples():
            reason += f"; targets minus control identities at a data share of 0: {other.value:.2g} (p = {other.p_value:.2g})"
        reason += _describe_others(others[others.measure == last.measure])
        measure = f"difference of {measure}"
        numbers |= {"p_value": row.p_value, "small": rules.ceiling_share * ceiling}
        verdict = decide(row.p_value, row.high, numbers["small"], rules.alpha)
        change = describe_change("C4", verdict, numbers["small"], rules.alpha)
    if last.measure != "match_share" or not len(contrast):
        excuse = excuse or "no verdict is built on this measure"
    elif find_smallest_p(contrast.num_identities.iloc[0], contrast.num_controls.iloc[0]) >= rules.alpha / MOST_VERDICTS:
        excuse = excuse or f"so few identities cannot reach p < {rules.alpha} once p is corrected for {MOST_VERDICTS} verdicts"
    if excuse:
        verdict, change, reason = "shown", "", f"{reason}; {excuse}"
    elif is_exploratory(last.dataset, "C4", exploratory):
        reason += f"; {EXPLORATORY}"
    end = {"verdict": verdict, "reason": reason, "what_would_change": change}
    shape = _describe_setting(last) | {"identities": f"{last.num_identities:g}"}
    return describe_claim("C4", measure=measure, **shape, **numbers, **end)


def _count_alarms(part):
    """Rows of the share of generators with a false alarm where no identity is over-represented, one a calibration."""
    rows = []
    for row in part[(part.measure == "false_alarms") & (part.statistic == "share")].itertuples():
        alarmed = f"{round(row.value * row.num_generators)} of {row.num_generators:g} generators"
        numbers = {"measure": _name_measure(row), "value": row.value, "low": row.low, "high": row.high}
        end = {"verdict": "shown", "reason": f"{alarmed} without an over-represented identity"}
        rows.append(describe_claim("C4", **_describe_setting(row), **numbers, **end))
    return rows


def _describe_other_tests(table):
    """The p-values of the largest data share against 0, paired by identity, and of the trend over all data shares."""
    means = table[(table.statistic == "mean") & table.p_value.notna()].sort_values("data_share")
    trends = table[(table.statistic == "trend") & table.p_value.notna()]
    how = "targets exchanged" if (table.design == "single").all() else "paired by identity"
    paired = f"; {how} p = {means.p_value.iloc[-1]:.2g}" if len(means) else ""
    return paired + (f"; trend over all data shares p = {trends.p_value.iloc[0]:.2g}" if len(trends) else "")


def _describe_others(rows):
    """What the other sound embedders say of the contrast."""
    found = rows[rows.statistic == "contrast"].itertuples()
    return "".join(f"; by the embedder {row.embedder}: {row.value:.3g} [{row.low:.3g}, {row.high:.3g}], p = {row.p_value:.3g}"
                   for row in found)  # fmt: skip


def _describe_growth(targets):
    """For how many targets the value is larger at the largest data share than at 0, by how much, and one's part of the sum."""
    levels = (targets.data_share.max(), 0)
    most, none = (targets[targets.data_share == level].groupby("pseudonym").value.mean() for level in levels)
    growth = (most - none).dropna()
    if not len(growth):
        return ""
    largest = ""
    if growth.sum() > 0.1 * growth.abs().sum() and len(growth) > 1:  # else gains and losses cancel, and a share says nothing
        largest = f", and one identity makes up {growth.max() / growth.sum():.0%} of the sum"
    span = f" (by {growth.min():.3g} to {growth.max():.3g})" if len(growth) > 1 else ""
    return f"; it grew for {(growth > 0).sum()} of {len(growth)} identities{span}{largest}"


def _name_measure(row):
    return f"{row.measure}, calibrated on {row.calibration}" if row.calibration else row.measure


def _describe_setting(row):
    shape = {"resolution": f"{row.resolution:g}", "kimg": f"{row.kimg:g}", "comparison": row.kind}
    return {"dataset": row.dataset, "generator": row.generator, "runs": f"{row.experiment} {row.baseline}", **shape}
