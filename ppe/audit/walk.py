"""The audit from its inputs to its findings, in steps that a notebook shows and the command runs."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ppe.audit import density, exchangeability, p_values, power
from ppe.audit.copies import find_hash_pairs, find_pairs, find_repeated, rank_pairs, replace_pairs
from ppe.audit.face_sets import FaceSet, Models, embed_source, read_vectors
from ppe.audit.guards import find_controls, refuse_nested, refuse_overlap, refuse_same_pictures
from ppe.audit.inputs import open_generated, open_people
from ppe.audit.models import load_models, models_of_run
from ppe.audit.resolution import Form, measure_form
from ppe.audit.scoring import check_models, score_photos, select_scores
from ppe.config import choose_device
from ppe.datasets.readers import NO_IDENTITY
from ppe.faces import build_detector
from ppe.statistics.intervals import bootstrap_identities
from ppe.statistics.metrics import FPR_OF


@dataclass
class Sets:
    """What was read: face sets by name (generated, people, controls, training), the sources, and what to warn of.

    stands_in : bool, whether strangers of another data set stand in for controls that were not given.
    """

    faces: dict[str, FaceSet]
    sources: dict
    models: Models
    form: Form
    warnings: list[str] = field(default_factory=list)
    stands_in: bool = False


@dataclass
class Findings:
    """What an audit found; a table that could not be made is None.

    people : DataFrame of ``ppe.audit.p_values.score_people`` and ``flag_people``, one row a person.
    groups : list of dict of ``compare_group``; queries : DataFrame of the people, for the ROC curve.
    rates : list of dict, the share of people found at small shares of the controls, with intervals.
    power, attributes, peaks : DataFrame of ``measure_power``, ``compare_attributes``, ``scan_density``.
    pairs : DataFrame of ``rank_pairs``, of people's and training photos (column ``set``).
    copied_controls : list of str, controls of whom a photo lies among the generated faces.
    matched : dict of ``compare_matched``, where controls differ, and ``unconfirmed``, people whom only all controls name.
    doubt : str, why p-values name nobody: "strangers" stand in for controls, "photos" differ and matched controls do not help;
        "copied" controls hide a leak, but name nobody wrongly. "" where they are to be trusted.
    usual_cosine : float, the median over comparison photos of the cosine to the nearest generated face.
    verification : dict of ``check_models``; used : list of str, the models that give p-values.
    """

    people: pd.DataFrame
    pairs: pd.DataFrame
    verification: dict
    used: list
    groups: list = field(default_factory=list)
    queries: pd.DataFrame | None = None
    rates: list = field(default_factory=list)
    power: pd.DataFrame | None = None
    attributes: pd.DataFrame | None = None
    matched: dict | None = None
    peaks: pd.DataFrame | None = None
    copied_controls: list = field(default_factory=list)
    num_controls: int = 0
    num_cohort: int = 0
    doubt: str = ""
    usual_cosine: float = np.nan


def read_sets(params, generated, people, controls=None, training=None, models=(), cache=None):
    """Open all inputs, measure the generator's resolution, and embed every face.

    Parameters
    ----------
    params : ppe.config.Params
    generated, people, controls, training : str
        As the options of ``python -m ppe audit``.
    models : sequence of str, as in ``ppe.audit.models.load_models``.
    cache : path, optional. Folder of the embeddings; ``.audit-cache/`` of the project if not given.

    Returns
    -------
    Sets

    Raises
    ------
    ValueError, FileNotFoundError
        If an input cannot be used: one sentence.
    """
    rules, cache = params.audit, cache or params.audit_cache()
    refuse_nested({"generated": generated, "people": people, "controls": controls, "training": training})
    sources = {"generated": open_generated(str(generated), params.root), "people": open_people(people, "--people")}
    warnings = []
    if training:
        sources["training"] = open_people(training, "--training")
    if controls:
        sources["controls"] = open_people(controls, "--controls")
    elif stand_ins := find_controls(params.root, rules.seed, warnings, sources):
        sources["controls"] = stand_ins
    refuse_overlap(sources)
    if "controls" in sources:
        p_values.refuse_few(len(set(sources["controls"].identity) - {NO_IDENTITY}), "were given")
    device = choose_device(params.device)
    nets, hashes = load_models(params, models or models_of_run(params, generated))
    detector = build_detector(device)
    real = sources.get("controls", sources["people"])
    form = measure_form(sources["generated"], real, rules=params.detection, detector=detector, detail_error=rules.detail_error,
                        seed=rules.seed)  # fmt: skip
    openings = {name: params.embedders[name].opening() for name in nets if name in params.embedders}
    opened = Models(nets, hashes, detector, params.detection, device, form, openings)
    labels = {"generated": "generated faces", "people": "people", "controls": "controls", "training": "training photos"}
    faces = {name: embed_source(source, opened, cache, is_generated=name == "generated", label=labels[name])
             for name, source in sources.items()}  # fmt: skip
    sets = Sets(faces, sources, opened, form, warnings, stands_in=not controls and "controls" in sources)
    for name in ("people", "training") if "controls" in faces else ():
        if name in faces:
            refuse_same_pictures(faces[name], faces["controls"], next(iter(nets)), rules, f"--{name}", sets.stands_in)
    return sets


def find_all(sets, params):
    """Compute all that the report shows.

    Parameters
    ----------
    sets : Sets of ``read_sets``.
    params : ppe.config.Params

    Returns
    -------
    Findings
    """
    faces, rules = sets.faces, params.audit
    real = [faces[name] for name in ("people", "controls") if name in faces]
    verification = check_models(real, list(sets.models.nets), params.verdicts.min_verification_auc, rules.seed)
    used = choose_models(verification)
    alike = rules.model_dump(include={"copy_cosine", "same_picture"})
    real = [name for name in ("people", "controls", "training") if name in faces]
    pairs = {name: find_pairs(faces[name], faces["generated"], used[0], **alike) for name in real}
    findings = Findings(pd.DataFrame(), pd.DataFrame(), verification, used)
    if "controls" in faces:
        _test_people(sets, params, findings, pairs)
    else:
        findings.people = _rank_people(faces["people"], pairs["people"])
    _rank_pairs(sets, findings, pairs, rules)
    findings.doubt = _find_doubt(sets, findings)
    if findings.doubt in ("strangers", "photos"):
        findings.people["is_flagged"] = False
    elif findings.matched:
        is_confirmed = findings.people.identity.isin(findings.matched["flagged"])
        findings.matched["unconfirmed"] = list(findings.people.identity[findings.people.is_flagged & ~is_confirmed])
        findings.people["is_flagged"] &= is_confirmed
    return findings


def _find_doubt(sets, findings):
    """Why the p-values are not to be trusted: the ``doubt`` of Findings."""
    if sets.stands_in:
        return "strangers"
    matched = findings.matched
    if matched and (matched["still_differs"] or "group" not in matched):
        return "photos"
    return "copied" if findings.copied_controls else ""


def choose_models(verification):
    """Models that give p-values: the sound ones; those that could not be checked where none is sound; else all."""
    sound = [name for name, checked in verification.items() if checked["is_sound"]]
    unchecked = [name for name, checked in verification.items() if np.isnan(checked["auc"])]
    return sound or unchecked or list(verification)


def _test_people(sets, params, findings, pairs):
    """p-values, the group, power, exchangeability and the density scan: all that needs controls."""
    faces, rules, used = sets.faces, params.audit, findings.used
    controls = faces["controls"]
    is_cohort = p_values.split_controls(controls.identity, cohort_share=rules.cohort_share, max_cohort=rules.max_cohort,
                                        seed=rules.seed)  # fmt: skip
    cohort = {name: read_vectors(controls.vectors[name], np.flatnonzero(is_cohort)) for name in used}
    scored = {name: score_photos(faces[name], faces["generated"], cohort, rules, used)
              for name in ("people", "controls", "training") if name in faces}  # fmt: skip
    compared = select_scores(scored["controls"], np.flatnonzero(~is_cohort))
    others = compared.value, compared.identity
    matching = {"photo_share": rules.photo_share, "seed": rules.seed}
    own = scored["people"].value, scored["people"].identity
    table = p_values.score_people(own, others, **matching)
    findings.people = p_values.flag_people(table, rules.false_discovery_rate)
    findings.num_controls, findings.num_cohort = (len(set(controls.identity[part])) for part in (~is_cohort, is_cohort))
    options = {
        "num_resamples": params.attack.num_resamples,
        "num_permutations": params.attack.num_permutations,
        "seed": rules.seed,
    }
    for name in (name for name in ("people", "training") if name in scored):
        row, queries = p_values.compare_group((scored[name].value, scored[name].identity), others,
                                              photo_share=rules.photo_share, options=options, name=name)  # fmt: skip
        findings.groups.append(row)
        if name == "people":
            findings.queries = queries
            drawn = {"num_resamples": options["num_resamples"], "seed": rules.seed}
            findings.rates = [bootstrap_identities(queries, metric, **drawn) | {"fpr": fpr} for metric, fpr in FPR_OF.items()]
    rows = np.flatnonzero(~is_cohort)
    vectors = {name: read_vectors(controls.vectors[name], rows) for name in used}
    _compare_photos(sets, findings, own, others, options, rules)
    repeated = find_repeated(controls, used[0], rules.same_picture)[rows]
    findings.power = power.measure_power(compared, vectors, cohort, findings.people, rules, len(faces["generated"]),
                                         findings.matched, repeated)  # fmt: skip
    findings.peaks = density.scan_density(
        faces["generated"], controls, faces["people"], used[0], num_peaks=rules.num_peaks, max_scanned=rules.max_scanned,
        false_match_rate=params.attack.false_match_rate, seed=rules.seed,
    )  # fmt: skip
    pairs["compared"] = pairs["controls"].cosine.to_numpy()[rows], controls.identity[rows]
    findings.usual_cosine = float(np.median(pairs["compared"][0]))


def _compare_photos(sets, findings, own, others, options, rules):
    """Exchangeability, and where it fails the same tests against the controls that are most like the people."""
    attributes = exchangeability.average_attributes(sets.faces["people"], sets.faces["controls"], rules.photo_share, rules.seed)
    compared = sorted(set(others[1].astype(str)))
    attributes["controls"] = exchangeability.keep_full(attributes["controls"].loc[compared])
    people = exchangeability.keep_full(attributes["people"])
    findings.attributes = exchangeability.compare_attributes(people, attributes["controls"], rules.exchange_p)
    if not findings.attributes.differs.any():
        return
    findings.matched = exchangeability.compare_matched(own, others, attributes, options, rules)


def _rank_people(faces, pairs):
    """People by their largest cosine, where there are no controls and hence no p-values."""
    table = pairs.assign(identity=faces.identity).groupby("identity").cosine.agg(["mean", "size"]).reset_index()
    table = table.rename(columns={"mean": "score", "size": "num_photos"}).sort_values("score", ascending=False, ignore_index=True)
    return table.assign(photos_used=table.num_photos, p_value=np.nan, q_value=np.nan, is_flagged=False)


def _rank_pairs(sets, findings, pairs, rules):
    parts, compared = [], pairs.get("compared")
    for name in (name for name in ("people", "training") if name in sets.faces):
        own = sets.faces[name]
        hashed = find_hash_pairs(own, sets.faces["generated"], rules.same_picture) if name == "training" else None
        if hashed is not None:
            pairs[name] = replace_pairs(pairs[name], hashed, own, sets.faces["generated"], findings.used[0])
        ranked = rank_pairs(own, sets.faces["generated"], pairs[name], compared, rules.seed)
        if hashed is not None:
            ranked = ranked.join(hashed, on="row")
        parts.append(ranked.assign(set=name))
    findings.pairs = pd.concat(parts, ignore_index=True)
    copied = findings.pairs[findings.pairs.is_copy & (findings.pairs.set == "people")].groupby("identity").size()
    table = findings.people.assign(num_copies=findings.people.identity.map(copied).fillna(0).astype(int))
    findings.people = table.sort_values("num_copies", ascending=False, kind="stable", key=lambda n: n > 0, ignore_index=True)
    if "controls" in pairs:
        findings.copied_controls = sorted(set(sets.faces["controls"].identity[pairs["controls"].is_copy.to_numpy()]))
