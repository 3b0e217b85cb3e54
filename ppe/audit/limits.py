"""What weakens an audit: too few people to compare with, photos that differ, models that cannot tell people apart."""

import math

import numpy as np

from ppe.audit.p_values import count_needed

FEW_FACES = 1000
"""Generated faces below which a report says that there are few."""


def list_limits(findings, sets, rules):
    """What weakens this audit, one sentence each: list of str."""
    people, limits = findings.people, list(sets.warnings)
    if findings.copied_controls and findings.doubt != "copied":
        limits.append(say_copied(findings))
    if findings.matched and findings.doubt not in ("photos", "strangers"):
        limits.append(_say_matched(findings))
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
        limits.append(f"{len(missing)} people could not be tested, since none of their photos could be used (misses.csv).")
    return limits


def limit_power(findings, rules):
    """That few planted people were named, where a report names somebody and may seem to clear the others: list of str."""
    power = findings.power
    if power is None or not len(power) or not names_one(findings, rules) or power.power.max() >= rules.power:
        return []
    best = power.loc[power.power.idxmax()]
    return [f"Of planted people at most {100 * best.power:.0f} % were named, with photos that make up {100 * best.share:.2g} % "
            "of the faces: who does not stand out is not cleared."]  # fmt: skip


def _say_matched(findings):
    """That photos differ, and what the matched controls say."""
    differ = f"Photos of people and controls differ in {list_differing(findings)}"
    alike = f"the {len(findings.matched['controls'])} controls whose photos are most alike"
    unconfirmed = len(findings.matched["unconfirmed"])
    if not unconfirmed:
        return f"{differ}. Names and the group were tested against {alike}, too."
    who = "One person stands out" if unconfirmed == 1 else f"{unconfirmed} people stand out"
    return f"{differ}. {who} against all controls, but not against {alike}: this neither names nor clears them."


def _limit_names(num_people, findings, rules):
    """What the number of controls allows to say of one person: list of str."""
    controls = count_decisive(findings)
    needed = count_needed(num_people, controls, rules.false_discovery_rate)
    if needed == 1:
        return []
    alike = say_which(findings)
    smallest = 1 / (controls + 1)
    more = f"About {count_wanted(num_people, rules)} control people in all{alike} would let one person be named alone."
    resolution = f"{controls} comparison people{alike} give no p-value below {smallest:.2g}"
    if needed > num_people:
        return [f"Nobody can be named: {resolution}, which is not small enough for a list of {num_people}. {more}"]
    need = f"at least {needed} of the {num_people} people must reach it"
    return [f"One person alone cannot be named: {resolution}, and {need}. {more}"]


def say_which(findings):
    """Which of the control people are counted, where not all are: str, with commas, or ""."""
    said = ["whose photos are like theirs"] if findings.matched else []
    compared = len(findings.matched["controls"]) if findings.matched else findings.num_controls
    said += ["with as many photos"] if count_decisive(findings) < compared else []
    return f", {' and '.join(said)}," if said else ""


def count_wanted(num_people, rules):
    """Control people who let one of ``num_people`` be named alone, those who only adjust scores among them: int."""
    compared = math.ceil(num_people / rules.false_discovery_rate - 1e-9)
    return compared + min(rules.max_cohort, math.ceil(compared * rules.cohort_share / (1 - rules.cohort_share)))


def find_untested(sets):
    """People none of whose photos could be used, and the reason that most of their photos have: dict of str, sorted."""
    misses, found = sets.faces["people"].misses, set(sets.faces["people"].identity)
    lost = misses[~misses.identity.isin(found | {"(no identity)"})]
    return {name: reasons.mode().iloc[0] for name, reasons in lost.groupby("identity").reason}


def names_one(findings, rules):
    """Whether there are enough comparison people for one person alone to be named: bool.

    One of them is planted where power is measured, and must be named by the others.
    """
    return count_needed(len(findings.people), count_decisive(findings) - 1, rules.false_discovery_rate) == 1


def count_decisive(findings):
    """Comparison people against whom a name must hold, those with as many photos: of the person who has fewest of them, int.

    Where photos differ these are among the controls that are most like the people.
    """
    if findings.matched and "people" not in findings.matched:
        return len(findings.matched["controls"])
    people = findings.matched["people"] if findings.matched else findings.people
    return int(people.num_controls.min())


def list_unconfirmed(findings, rules):
    """What stands out against all controls and not against the matched ones: list of str, for a sentence."""
    if not findings.matched or findings.doubt in ("photos", "strangers"):
        return []
    group, again = findings.groups[0], findings.matched["group"]
    people, said = len(findings.matched["unconfirmed"]), []
    if people:
        said.append("one person" if people == 1 else f"{people} people")
    if group["p_value"] < rules.group_p <= again["p_value"]:
        said.append("the group")
    return said


def say_copied(findings):
    """That control people were in the training set: str."""
    return (
        f"Photos of {len(findings.copied_controls)} control people lie among the generated faces: they were in the training set, "
        "and hide who else was. Take them out of the controls (`--key` lists them in names.csv)."
    )


def list_differing(findings):
    """Attributes in which the photos of people and controls differ: str."""
    return ", ".join(findings.attributes.attribute[findings.attributes.differs])
