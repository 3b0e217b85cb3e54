"""``python -m ppe audit``: from folders to a report."""

import hashlib
import os
import shlex
from pathlib import Path

from ppe.audit.example import MAX_CONTROLS, write_example
from ppe.audit.inputs import find_run, names_run, refuse_absent
from ppe.audit.report import write_report
from ppe.audit.walk import find_all, read_sets
from ppe.config import load_table


def fill_people(params, generated, people=None, controls=None):
    """The folders of people and controls; where none are given and a run is audited, those of an example are drawn.

    Parameters
    ----------
    params : ppe.config.Params
    generated, people, controls : str or None, as in ``run_audit``.

    Returns
    -------
    (path, path or None)

    Raises
    ------
    ValueError
        If no people are given, and what is audited is not a run of synthetic identities.
    FileNotFoundError
        If nothing is where ``generated`` says.
    """
    refuse_absent(generated)
    if people is not None:
        return people, controls
    if not names_run(generated):
        raise ValueError("--people must be given: a folder of <person>/<photo>")
    study, run, group = find_run(str(generated), params.root)
    print(f"No people were given: photos of the synthetic identities of {run} are drawn.", flush=True)
    split = study.generators_folder(run) / "split.csv"
    if not split.is_file():
        raise FileNotFoundError(f"{split} is not there yet: `make study` makes the faces of {run}")
    faces = study.faces_folder(study.runs[run].dataset) / "faces.csv"
    # Another split has other members, and another data set other people of the same names.
    digest = hashlib.sha256(split.read_bytes() + faces.read_bytes() + str(MAX_CONTROLS).encode()).hexdigest()[:8]
    drawn = write_example(study, run, group, params.audit_cache() / f"example-{run}-{group}-{digest}")
    return drawn[0], controls or drawn[1]


def refuse_folder(out, replace=False):
    """Raise ValueError, before anything is computed, if a report cannot be written to the folder ``out``.

    replace : bool, whether files that lie in it are those of an earlier report, and may be replaced.
    """
    out = Path(out).absolute()
    if not replace and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out} holds files already: name a new folder, or empty this one")
    above = next(folder for folder in (out, *out.parents) if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise ValueError(f"--out {out} cannot be written, since {above} is no folder that you may write to: name another one")


def run_audit(params, *, generated, people=None, controls=None, training=None, models=(), out=None, show_faces=False,
              names=False, key=False, replace=False):  # fmt: skip
    """Audit a generator and write the report; prints the verdict and where the report is.

    Parameters
    ----------
    params : ppe.config.Params
    generated, people, controls, training, models : as in ``ppe.audit.walk.read_sets``.
    out : path, optional
        Folder of the report; a relative one starts at the working folder. ``audits/<date and time>`` if not given.
    replace : bool. Whether an earlier report in ``out`` may be replaced.
    show_faces, names, key : as in ``ppe.audit.report.write_report``.

    Returns
    -------
    dict, what report.json holds.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        One sentence.
    """
    if params.audit is None:
        raise ValueError("an audit needs the section audit: its constants are explained in params.yaml")
    out = Path(out or params.report_folder())
    refuse_folder(out, replace)
    if names_run(generated):
        params = find_run(str(generated), params.root)[0]
    is_example = people is None
    given = {"generated": generated, "people": people, "controls": controls, "training": training, "out": out}
    people, controls = fill_people(params, generated, people, controls)
    sets = read_sets(params, generated, people, controls, training, models)
    for warning in sets.warnings:
        print(f"Warning: {warning}", flush=True)
    command = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in given.items() if value)
    flags = "".join(f" --{name.replace('_', '-')}" for name, value in
                    {"show_faces": show_faces, "names": names, "key": key}.items() if value)  # fmt: skip
    flags = (f" --models {' '.join(models)}" if models else "") + flags
    shown = {"names": names, "key": key, "show_faces": show_faces, "command": f"python -m ppe audit {command}{flags}"}
    findings = find_all(sets, params)
    content = write_report(findings, sets, params, out, **shown)
    verdict = content["verdict"]
    print(f"\n{verdict['title']}. {' '.join(verdict['sentences'])}")
    for sentence in filter(None, [verdict["trust"], *verdict["limits"]]):
        print(f"- {sentence}")
    print("What to do next:")
    for step in verdict["steps"]:
        print(f"- {step}")
    if is_example:
        print(_tell_truth(findings.people, Path(people).parent / "members.csv"))
    print(f"The report: {out / 'report.html'}", flush=True)
    return content


def _tell_truth(people, file):
    """Who of the people of an example was in the training set, which no auditor knows: one sentence."""
    members = set(load_table(file).query("is_member").identity)
    named = people.identity[people.is_flagged]
    right = f"; of the {len(named)} who are named, {named.isin(members).sum()} were" if len(named) else ""
    count = people.identity.isin(members).sum()
    return f"The truth, which no auditor knows: {count} of the {len(people)} were in the training set{right}."
