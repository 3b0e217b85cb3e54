"""The report of an audit: one HTML page that loads nothing, tables, and report.json, whose form ``docs/audit.md`` describes."""

import base64
import io
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from ppe.audit.attributes import ATTRIBUTES
from ppe.audit.limits import find_untested, names_one
from ppe.audit.power import find_least_auc, find_least_share
from ppe.audit.verdict import judge, say_auc
from ppe.config.storage import save_json, save_table, write_whole
from ppe.plots.audit import plot_people, plot_power, plot_roc, write_svg
from ppe.statistics.metrics import compute_roc

SCHEMA = 1
"""Changes where a key of report.json changes its meaning."""
TEMPLATES = Path(__file__).parent / "templates"
PACKAGES = ("ppe", "torch", "numpy", "scipy", "pandas", "facenet-pytorch")
MATCHED_NAMES = ("controls", "flagged", "unconfirmed", "people")
"""What the comparison with matched controls holds of people, and no report."""
SHOWN_PEOPLE, SHOWN_PAIRS = 50, 20
"""Rows of a table on the page; the files have all."""
SHOWN_FACES, FACE_SIDE = 12, 96
"""People of whom faces are shown, and the side of a face in pixels."""


def write_report(findings, sets, params, out, *, command="", names=False, key=False, show_faces=False, date=None):
    """Write a folder: report.html, report.json, people.csv, pairs.csv, misses.csv and, if asked, names.csv.

    Parameters
    ----------
    findings, sets : of ``ppe.audit.walk.find_all`` and ``read_sets``.
    params : ppe.config.Params
    out : path. Files of an earlier report are replaced.
    command : str, what started the audit.
    names : bool
        Write people's names. Otherwise a person is called by a number, the most exposed one ``person 1``.
    key : bool. Write names.csv, which says who is who, and which controls lie among the generated faces.
    show_faces : bool. Show photos of people on the page.
    date : str, optional. Of the report; today if not given.

    Returns
    -------
    dict, what report.json holds.
    """
    out, labels = Path(out), label_people(findings, sets, names)
    tables = tabulate_findings(findings, sets, labels, names)
    content = describe_audit(findings, sets, params, labels, command, date or datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    for name, table in tables.items():
        save_table(table, out / f"{name}.csv")
    if key:
        copied = {name: f"copied control {number}" for number, name in enumerate(findings.copied_controls, 1)}
        called = labels | copied
        save_table(pd.DataFrame({"person": list(called.values()), "identity": list(called)}), out / "names.csv")
    else:
        (out / "names.csv").unlink(missing_ok=True)
    save_json(content, out / "report.json")
    page = render_page(
        content, tables, draw_figures(findings, params.audit), _show_faces(findings, sets, labels) if show_faces else []
    )
    with write_whole(out / "report.html") as partial:
        partial.write_text(page, encoding="utf-8")
    return content


def label_people(findings, sets, names):
    """What each person is called: dict, name -> label, most exposed first; those who could not be tested come last."""
    people = [*findings.people.identity, *find_untested(sets)]
    training = sets.faces["training"] if "training" in sets.faces else None
    others = sorted({*training.identity, *training.misses.identity} - set(people)) if training else []
    everybody = [*people, *others]
    return {name: name if names else f"person {number}" for number, name in enumerate(everybody, 1)}


def tabulate_findings(findings, sets, labels, names):
    """The tables of the folder: dict, name -> DataFrame. Photos are numbered where people are, since their paths hold names."""
    people = findings.people.assign(person=findings.people.identity.map(labels), result="tested").drop(columns="identity")
    untested = find_untested(sets)
    lost = pd.DataFrame({"person": [labels[name] for name in untested], "result": list(untested.values())})
    people = pd.concat([people, lost], ignore_index=True)
    people = people[["person", "result", *(name for name in people if name not in ("person", "result"))]]
    pairs = findings.pairs.assign(person=findings.pairs.identity.map(labels))
    generated = sets.faces["generated"].row[pairs.generated.to_numpy()]
    pairs["generated"] = [sets.sources["generated"].names[int(row)] for row in generated]
    pairs["photo"] = pairs.photo if names else _number_photos(pairs)
    pairs = pairs.drop(columns=["identity", "row", *(c for c in pairs if c.startswith(("hash_other", "is_hash")))])
    front = ["set", "person", "photo", "generated", "cosine", "p_value"]
    pairs = pairs[[*front, *(name for name in pairs if name not in front)]]
    misses = [own.misses.assign(set=name) for name, own in sets.faces.items()]
    misses = pd.concat(misses, ignore_index=True)[["set", "name", "identity", "reason"]]
    is_hidden = (misses.set != "generated") & (not names)
    misses["person"] = misses.identity.map(labels).fillna("")
    misses.loc[is_hidden, "name"] = "(hidden: audit with --names)"
    return {"people": people, "pairs": pairs, "misses": misses.drop(columns="identity")}


def _number_photos(pairs):
    """``person 3, photo 2`` in place of a path; the number is that of the photo's place by name among the person's."""
    place = pairs.groupby(["set", "identity"]).photo.rank(method="first").astype(int)
    return pairs.person + ", photo " + place.astype(str)


def describe_audit(findings, sets, params, labels, command, date):
    """All that the report says, as plain values: the content of report.json."""
    rules, faces = params.audit, sets.faces
    group = findings.groups[0] if findings.groups else None
    decisive = (findings.matched or {}).get("group", group)  # where photos differ, the group must stand out there, too
    content = {
        "schema": SCHEMA, "date": date, "command": command, "verdict": judge(findings, sets, rules),
        "given": {name: {"description": sets.sources[name].description, "faces": len(own), "misses": len(own.misses),
                         "people": 0 if name == "generated" else len(set(own.identity)), "sha256": own.digest}
                  for name, own in faces.items()},
        "form": sets.form._asdict(), "num_controls": findings.num_controls, "num_cohort": findings.num_cohort,
        "models": [{"name": name, "sha256": sets.models.hashes[name], "is_used": name in findings.used, **checked}
                   for name, checked in findings.verification.items()],
        "groups": findings.groups, "people": _list_rows(findings.people.assign(person=findings.people.identity.map(labels))),
        "untested": [labels[name] for name in find_untested(sets)],
        "power": _list_rows(findings.power), "attributes": _list_rows(findings.attributes),
        "rates": findings.rates, "peaks": _list_rows(_label_peaks(findings.peaks, labels)),
        "matched": findings.matched and {key: value for key, value in findings.matched.items() if key not in MATCHED_NAMES}
        | {f"num_{key}": len(findings.matched.get(key, ())) for key in MATCHED_NAMES[:3]},
        "num_copies": int(findings.pairs.is_copy.sum()),
        "least_share": None if findings.power is None else find_least_share(findings.power, rules),
        "names_one": bool(findings.groups) and names_one(findings, rules), "usual_cosine": findings.usual_cosine,
        "least_auc": group and find_least_auc(decisive["num_people"], decisive["num_controls"], rules.group_p, rules.power),
        "rules": rules.model_dump(), "versions": {name: version(name) for name in PACKAGES},
    }  # fmt: skip
    return _plain(content)


def _label_peaks(peaks, labels):
    return None if peaks is None else peaks.assign(person=peaks.identity.map(labels)).drop(columns=["identity", "center"])


def _list_rows(table):
    return [] if table is None else table.drop(columns=[c for c in ("identity",) if c in table]).to_dict("records")


def _plain(value):
    """Numpy's numbers as Python's, and NaN as None, which JSON has no other word for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def draw_figures(findings, rules):
    """The figures of the page: dict, name -> SVG text as a data address."""
    figures = {}
    if findings.queries is not None:
        flagged = findings.people.identity[findings.people.is_flagged]
        figures["people"] = plot_people(findings.queries, flagged)
        roc = compute_roc(findings.queries.score, findings.queries.is_member)
        figures["roc"] = plot_roc(roc, int((~findings.queries.is_member).sum()))
    if findings.power is not None and len(findings.power):
        figures["power"] = plot_power(findings.power, rules.power, is_named=names_one(findings, rules))
    return {name: "data:image/svg+xml;base64," + base64.b64encode(write_svg(figure).encode()).decode()
            for name, figure in figures.items()}  # fmt: skip


def _show_faces(findings, sets, labels):
    """For the most exposed people the photo with the nearest generated face, and that face: list of dict."""
    shown = []
    own = findings.pairs[findings.pairs.set == "people"]
    for name in findings.people.identity[:SHOWN_FACES]:
        best = own[own.identity == name].iloc[0]
        photo, face = sets.faces["people"].thumbs[best.row], sets.faces["generated"].thumbs[best.generated]
        shown.append(
            {"person": labels[name], "cosine": float(best.cosine), "photo": _write_face(photo), "face": _write_face(face)}
        )
    return shown


def _write_face(pixels):
    image = Image.fromarray(np.ascontiguousarray(np.asarray(pixels).transpose(1, 2, 0)))
    buffer = io.BytesIO()
    image.resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def render_page(content, tables, figures, faces):
    """The page: str, HTML that loads nothing from elsewhere and runs no script."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "p": _say_p,
        "code": _mark_code,
        "percent": _say_percent,
        "number": lambda value: "–" if value is None else f"{value:.2f}",
    }
    template = environment.get_template("report.html.j2")
    ranked = tables["pairs"].sort_values("is_copy", ascending=False, kind="stable")  # copies first, of whatever set
    pairs = _plain(ranked.head(SHOWN_PAIRS).to_dict("records"))
    misses = tables["misses"].groupby(["set", "reason"]).size().sort_values(ascending=False).head(SHOWN_PAIRS)
    shown = {"figures": figures, "faces": faces, "pairs": pairs, "misses": [(*key, int(count)) for key, count in misses.items()]}
    return template.render(**content, **shown, say_auc=_say_group, shown=SHOWN_PEOPLE, attribute_words=ATTRIBUTES)


def _say_group(group):
    return say_auc({key: np.nan if value is None else value for key, value in group.items()})


def _mark_code(sentence):
    """A sentence as HTML, with what stands between backticks as code."""
    parts = str(escape(sentence)).split("`")
    return Markup("".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts)))


def _say_p(value):
    return "–" if value is None else f"{value:.2g}" if value >= 0.001 else f"{value:.1g}"


def _say_percent(value, digits=0):
    return "–" if value is None else f"{100 * value:.{digits}f} %"
