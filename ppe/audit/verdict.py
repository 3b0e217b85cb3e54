"""The verdict in two sentences, and what weakens it. Where an audit has no power, it says so before anything else."""

import numpy as np

from ppe.audit.limits import (
    count_decisive,
    count_wanted,
    limit_power,
    list_differing,
    list_limits,
    list_unconfirmed,
    names_one,
    say_copied,
    say_which,
)
from ppe.audit.power import find_least_share

LEVELS = {
    "exposed": "People stand out",
    "group": "The group stands out",
    "nothing": "Nothing was found",
    "unknown": "This audit cannot tell",
}
"""What a verdict is called."""
ONLY_TRAINING = "Training photos come out"
"""What it is called where nobody who was asked about is exposed, but training photos are."""
REASONS = {
    "strangers": "strangers stand in for control people",
    "copied": "photos of control people lie among the generated faces",
    "photos": "the photos of people and controls differ too much",
}
"""Why p-values are not to be trusted, by ``doubt`` of the findings."""


def judge(findings, sets, rules):
    """Say what was found.

    Parameters
    ----------
    findings : ppe.audit.walk.Findings
    sets : ppe.audit.walk.Sets
    rules : the section ``audit`` of params.

    Returns
    -------
    dict
        ``level`` (key of ``LEVELS``), ``title``, ``sentences`` (two), ``trust`` (why p-values are not to be trusted; "" if they
        are), ``limits`` (list of str, what weakens the audit), ``steps`` (list of str, what to do next).
    """
    people, group = findings.people, findings.groups[0] if findings.groups else None
    copied, flagged = people.num_copies > 0, people.is_flagged
    trained = findings.pairs[findings.pairs.set == "training"].is_copy
    reasons = _list_reasons(findings, rules)
    if copied.any() or flagged.any() or trained.any():
        level = "exposed"
    elif _is_group_exposed(findings, rules):
        level = "group"
    else:
        level = "unknown" if reasons else "nothing"
    exposed = int((copied | flagged).sum())
    first = _say_copies(trained, int(copied.sum()), exposed, len(people))
    first = first or _say_first(level, len(people), int(flagged.sum()), reasons, rules, findings)
    limits = list_limits(findings, sets, rules) + (limit_power(findings, rules) if level == "exposed" else [])
    title = ONLY_TRAINING if level == "exposed" and not exposed else LEVELS[level]
    return {"level": level, "title": title, "sentences": [first, _say_second(level, group, findings, rules)],
            "trust": _say_doubt(findings), "limits": limits, "steps": list_steps(level, findings, rules)}  # fmt: skip


def _is_group_exposed(findings, rules):
    """Whether the people score higher than the controls, and than the matched ones where photos differ: bool."""
    rows = findings.groups[:1] + ([findings.matched["group"]] if findings.matched and "group" in findings.matched else [])
    return bool(rows) and findings.doubt in ("", "copied") and all(row["p_value"] < rules.group_p for row in rows)


def _say_copies(trained, copied, exposed, num_people):
    """That training photos (``trained``, bool [N]) or photos of ``copied`` people come out as pictures: str, "" if none does."""
    count = _count_people(num_people)
    whose = [f"{trained.sum()} of {len(trained)} training photos"] if trained.any() else []
    whose += [f"photos of {copied} of {count}"] if copied else []
    if not whose:
        return ""
    said = f"{' and '.join(whose)} lie among the generated faces as pictures"
    said += ": these people can be recognised" if copied else ""
    return said[0].upper() + said[1:] + (f"; {exposed} of {count} stand out in all." if exposed > copied else ".")


def _count_people(number):
    return f"{number} people" if number != 1 else "the one person"


def _say_first(level, num_people, flagged, reasons, rules, findings):
    count = _count_people(num_people)
    controls = f"{findings.num_controls} of the {findings.num_controls + findings.num_cohort} control people"
    if flagged:
        who = "The one person stands out" if num_people == 1 else f"{flagged} of {count} stand out"
        rate = f"{100 * rules.false_discovery_rate:.0f} %"
        return f"{who} against {controls}; over many audits, at most about {rate} of those named so are named wrongly."
    if level == "group":
        return f"No single one of {count} can be named, but together they score higher than control people."
    if level == "unknown":
        return f"This audit cannot say whether {count} were in the training set: {'; '.join(reasons)}."
    return f"None of {count} stands out against {controls}, alone or together."


def _say_second(level, group, findings, rules):
    if group is None and level == "exposed":
        return "Nobody else could be tested, since there were no control people to compare with."
    if group is None:
        return "That nothing stands out is therefore no sign of safety."
    auc = f"({say_auc(group)})"
    if level == "nothing":
        least = 100 * find_least_share(findings.power, rules)
        return (
            f"Photos of one person in {least:.2f} % of the faces would have been found {auc}. A generator draws likenesses, "
            "which are harder to find, so this is no proof that nobody was in the training set."
        )
    if level == "group":
        often = f"about 1 of {1 / group['p_value']:.0f} audits"
        return f"So high an AUC {auc} occurs in {often} where nobody was in the training set."
    if findings.doubt in ("strangers", "photos"):
        return f"What the test of all people together gives {auc} may come from the photos, and not from the training set."
    if level == "unknown" and group["p_value"] < rules.group_p:
        return f"All people together score higher than all controls {auc}, but not than those whose photos are like theirs."
    if level == "unknown":
        return f"All people together do not score higher than the controls {auc}, which is no sign of safety for any one of them."
    if group["p_value"] < rules.group_p:
        return f"Together, too, the people score higher than the controls {auc}."
    return f"All people together do not stand out {auc}, which is no proof that the others were not in the training set."


def say_auc(group):
    """AUC, interval and p-value of a group test, in words."""
    interval = f" [{group['low']:.2f}, {group['high']:.2f}]" if np.isfinite(group["low"]) else ""
    return f"AUC {group['auc']:.2f}{interval}, p = {group['p_value']:.2g}"


def _list_reasons(findings, rules):
    """Why an audit that finds nothing cannot tell: list of str, empty if it can."""
    if findings.queries is None:
        return ["there were no control people to compare with"]
    reasons = [REASONS[findings.doubt]] if findings.doubt else []
    checked = findings.verification
    if not any(checked[name]["is_sound"] for name in findings.used) and all(
        np.isfinite(checked[n]["auc"]) for n in findings.used
    ):
        reasons.append("no face recognition model tells these people apart at this resolution")
    unconfirmed = list_unconfirmed(findings, rules)
    if unconfirmed:
        reasons.append(f"{' and '.join(unconfirmed)} stood out, but not against the controls whose photos are like theirs")
    if not names_one(findings, rules):
        reasons.append(f"{count_decisive(findings)} comparison people{say_which(findings)} are too few to name one of "
                       f"{len(findings.people)}, whatever the faces show")  # fmt: skip
    elif not len(findings.power):
        reasons.append("its power could not be measured, since the controls have no photo to spare")
    elif _plants_too_few(findings, rules):
        few = findings.power.num_planted.max()
        reasons.append(f"its power was measured with {few} of the controls, too few to rely on: others have no photo to spare")
    elif find_least_share(findings.power, rules) is None:
        reasons.append(f"even photos of a person in {100 * rules.planted_shares[-1]:.0f} % of the faces were not found")
    for row in _list_exposed_training(findings, rules):
        reasons.append(f"the people of the training photos score higher than control people ({say_auc(row)})")
    return reasons


def _plants_too_few(findings, rules):
    """Whether the audit finds planted people often enough, but planted so few that this may be luck: bool."""
    often = len(findings.power) > 0 and findings.power.power.iloc[-1] >= rules.power
    return bool(often and find_least_share(findings.power, rules) is None)


def _list_exposed_training(findings, rules):
    """The row of the training photos' people in a list, where they score higher than the controls; else an empty list."""
    return [row for row in findings.groups if row["group"] == "training" and row["p_value"] < rules.group_p]


def _say_doubt(findings):
    """Why p-values are not to be trusted: str, "" if they are."""
    if findings.doubt == "strangers":
        return (
            "People of another data set stand in for control people. Their photos were made in other ways, so p-values may speak "
            "of that and not of a leak. Nobody is named."
        )
    if findings.doubt == "copied":
        return say_copied(findings)
    if findings.doubt == "photos":
        return (
            f"The photos of the people differ from those of the controls in {list_differing(findings)}. The p-values may speak "
            "of this difference and not of a leak, or hide one. Nobody is named."
        )
    return ""


def list_steps(level, findings, rules):
    """What whoever reads the report should do next: list of str."""
    wanted = count_wanted(len(findings.people), rules)
    if level == "exposed":
        return ["Do not publish these faces yet. See below what the owner can do, and audit again afterwards.",
                "Look at the most similar pairs: `--show-faces` puts pictures into the report, for your eyes alone."]  # fmt: skip
    if level == "group":
        return ["Treat it as a leak until it is shown to be chance. See below what the owner can do.",
                "Audit once more, with other photos of the same people and other controls. A leak shows again."]  # fmt: skip
    if level == "nothing":
        return ["Keep this report. Audit again whenever the generator or its training photos change.",
                "If you can, audit a larger sample of generated faces, which shows more."]  # fmt: skip
    steps = {
        "strangers": "Give `--controls`: photos of people from where yours come from, who were surely not in the training set.",
        "copied": "Take the copied controls out (`--key` lists them in names.csv), and audit again.",
        "photos": "Choose controls whose photos are like those of the people in what is listed below.",
    }
    doubt = findings.doubt or ("photos" if findings.matched else "")
    said = [steps[doubt]] if doubt else []
    if findings.queries is None:
        return [steps["strangers"]]
    if not names_one(findings, rules):
        most = int(rules.false_discovery_rate * count_decisive(findings) + 1e-9)
        fewer = f"{most} people at most" if most > 1 else "one person"
        fewer = f"Or ask about {fewer}, chosen before you look at any result." if most else "Fewer people do not help."
        said.append(f"Add control people{say_which(findings)} until there are about {wanted}. {fewer}")
    elif not len(findings.power) or _plants_too_few(findings, rules):
        said.append("Give more photos of each control person than of your people, two at least, so that the audit can measure "
                    "what it would have missed.")  # fmt: skip
    elif find_least_share(findings.power, rules) is None:
        said.append("Give more generated faces, more photos of each person, or a second face recognition model (`--models`): "
                    "each finds rarer people.")  # fmt: skip
    if _list_exposed_training(findings, rules):
        said.append("Training photos may leak as they are, unless they differ from the controls' in other ways. Look at the most "
                    "similar pairs, and ask about the people whom they show, by other photos.")  # fmt: skip
    if not any(findings.verification[name]["is_sound"] for name in findings.used):
        said.append("Name other face recognition models (`--models`); those that were used cannot tell these people apart.")
    return [*said, "Until then, do not read the absence of findings as a clean result."]
