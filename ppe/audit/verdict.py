"""The verdict in two sentences, and what weakens it. Where an audit has no power, it says so before anything else."""

import math

import numpy as np

from ppe.audit.p_values import count_needed
from ppe.audit.power import find_least_share

LEVELS = {
    "exposed": "People stand out",
    "group": "The group stands out",
    "nothing": "Nothing was found",
    "unknown": "This audit cannot tell",
}
"""What a verdict is called."""
FEW_FACES = 1000
"""Generated faces below which a report says that there are few."""


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
        are), ``limits`` (list of str, what weakens the audit).
    """
    people, group = findings.people, findings.groups[0] if findings.groups else None
    copied, flagged = int((people.num_copies > 0).sum()), int(people.is_flagged.sum())
    limits, reasons = list_limits(findings, sets, rules), _list_reasons(findings, rules)
    is_group = group is not None and group["p_value"] < rules.group_p
    if copied or flagged:
        level = "exposed"
    elif is_group:
        level = "group"
    else:
        level = "unknown" if reasons else "nothing"
    first = _say_first(level, len(people), copied, flagged, reasons, rules, findings)
    return {"level": level, "title": LEVELS[level], "sentences": [first, _say_second(level, group, findings, rules)],
            "trust": _doubt_exchange(findings), "limits": limits}  # fmt: skip


def _say_first(level, num_people, copied, flagged, reasons, rules, findings):
    count = f"{num_people} people" if num_people != 1 else "the one person"
    if copied:
        others = f"; {flagged} people stand out in all" if flagged else ""
        return f"Photos of {copied} of {count} lie among the generated faces as pictures: these people can be recognised{others}."
    if flagged:
        who = "The one person stands out" if num_people == 1 else f"{flagged} of {count} stand out"
        rate = f"{100 * rules.false_discovery_rate:.0f} %"
        return f"{who} against {findings.num_controls} control people; of those named so, at most about {rate} are named wrongly."
    if level == "group":
        return f"No single one of {count} can be named, but together they are more exposed than people who were not in training."
    if level == "unknown":
        return f"This audit cannot say whether {count} were in the training set: {'; '.join(reasons)}."
    return f"None of {count} stands out against {findings.num_controls} control people, alone or together."


def _say_second(level, group, findings, rules):
    auc = "" if group is None else f" ({say_auc(group)})"
    least = None if findings.power is None else find_least_share(findings.power, rules.power)
    missed = (f"a person whose photos make up less than {100 * least:.2f} % of the generated faces" if least is not None else
              "any single person, however often their photos occur up to the largest share that was tried")  # fmt: skip
    if level == "nothing":
        return f"It would probably have missed {missed}{auc}, so this is no proof that nobody was in the training set."
    if level == "unknown":
        return f"That nothing stands out{auc} is therefore no sign of safety."
    if level == "group":
        if _doubt_exchange(findings):
            return f"The test of the group is significant{auc}, but the controls are not comparable, so this may not be a leak."
        return f"The test of the group is significant{auc}; some of these people were probably in the training set."
    if group is not None and group["p_value"] < rules.group_p:
        return f"Together, too, the people are more exposed than the controls{auc}."
    return f"For all others, nothing was found{auc}, which is no proof that they were not in the training set."


def say_auc(group):
    """AUC, interval and p-value of a group test, in words."""
    interval = f" [{group['low']:.2f}, {group['high']:.2f}]" if np.isfinite(group["low"]) else ""
    return f"AUC {group['auc']:.2f}{interval}, p = {group['p_value']:.2g}"


def _list_reasons(findings, rules):
    """Why an audit that finds nothing cannot tell: list of str, empty if it can."""
    if findings.queries is None:
        return ["there were no control people to compare with"]
    reasons = []
    checked = findings.verification
    if not any(checked[name]["is_sound"] for name in findings.used) and all(
        np.isfinite(checked[n]["auc"]) for n in findings.used
    ):
        reasons.append("no face recognition model tells these people apart at this resolution")
    if findings.copied_controls:
        reasons.append("photos of control people lie among the generated faces")
    elif findings.attributes.differs.any():
        reasons.append("the photos of people and controls differ too much")
    if not len(findings.power):
        reasons.append("its power could not be measured, since the controls have no photo to spare")
    elif find_least_share(findings.power, rules.power) is None:
        alone = find_least_share(findings.power.assign(power=findings.power.alone), rules.power)
        hint = f" (asked about alone, they would have been at a share of {100 * alone:.2f} %)" if alone else ""
        largest = f"{100 * rules.planted_shares[-1]:.0f} % of the faces"
        reasons.append(f"even control people who were planted in {largest} were not named{hint}")
    return reasons


def _doubt_exchange(findings):
    """Why p-values are not to be trusted: str, "" if they are."""
    if findings.copied_controls:
        count = len(findings.copied_controls)
        return (
            f"Photos of {count} control people lie among the generated faces: they were in the training set, and hide who else "
            "was. Take them out of the controls."
        )
    if findings.attributes is None or not findings.attributes.differs.any():
        return ""
    names = ", ".join(findings.attributes.attribute[findings.attributes.differs])
    return (
        f"The photos of the people differ from those of the controls in {names}. The p-values may speak of this difference and "
        "not of a leak, or hide one: do not trust them."
    )


def list_limits(findings, sets, rules):
    """What weakens this audit, one sentence each: list of str."""
    people, limits = findings.people, list(sets.warnings)
    if findings.queries is not None:
        limits += _limit_names(len(people), findings, rules)
        group = findings.groups[0]
        if group["num_people"] < len(people):
            limits.append(f"The test of the group uses {group['num_people']} of {len(people)} people: the others have fewer than "
                          f"{group['photos_used']} usable photos.")  # fmt: skip
        if not np.isfinite(group["low"]):
            limits.append("There is no interval of the AUC: it needs ten people a side, whose scores overlap.")
        if min(group["num_people"], findings.num_controls) < 10:
            limits.append(
                "With fewer than ten people on a side, a difference between the photos of people and controls may not show."
            )
    for name, checked in findings.verification.items():
        if not np.isfinite(checked["auc"]):
            limits.append(f"The model {name} could not be checked on these people, who have too few photos each.")
        elif not checked["is_sound"]:
            unused, auc = "" if name in findings.used else ", and was left out", f"(AUC {checked['auc']:.2f})"
            limits.append(f"The model {name} hardly tells these people apart at {sets.form.resolution} px {auc}{unused}.")
    if len(findings.used) == 1:
        limits.append("One face recognition model was used; a second one, trained apart, makes other mistakes and finds more.")
    if len(sets.faces["generated"]) < FEW_FACES:
        limits.append(f"{len(sets.faces['generated'])} generated faces are few: a person who is drawn rarely is not among them.")
    missing = find_untested(sets)
    if missing:
        limits.append(f"{len(missing)} people could not be tested, since no face was found in any of their photos.")
    return limits


def _limit_names(num_people, findings, rules):
    """What the number of controls allows to say of one person: list of str."""
    smallest = 1 / (findings.num_controls + 1)
    needed = count_needed(num_people, findings.num_controls, rules.false_discovery_rate)
    said = []
    compared = math.ceil(num_people / rules.false_discovery_rate - 1)
    wanted = compared + min(rules.max_cohort, math.ceil(compared * rules.cohort_share / (1 - rules.cohort_share)))
    more = f"About {wanted} control people in all would let one person be named alone."
    resolution = f"{findings.num_controls} controls give no p-value below {smallest:.2g}"
    if needed > num_people:
        said.append(f"Nobody can be named: {resolution}, which is not small enough for a list of {num_people}. {more}")
    elif needed > 1:
        need = f"at least {needed} of the {num_people} people must reach it"
        said.append(f"One person alone cannot be named: {resolution}, and {need}. {more}")
    return said


def find_untested(sets):
    """Names of people in none of whose photos a face was found: list of str."""
    misses, found = sets.faces["people"].misses, set(sets.faces["people"].identity)
    return sorted(set(misses.identity) - found - {"(no identity)"})
