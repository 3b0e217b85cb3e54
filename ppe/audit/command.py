"""``python -m ppe audit``: from folders to a report."""

import shlex
from pathlib import Path

from ppe.audit.example import write_example
from ppe.audit.inputs import find_run
from ppe.audit.report import write_report
from ppe.audit.walk import find_all, read_sets


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
    """
    if people is not None:
        return people, controls
    if Path(generated).exists() or ":" not in str(generated):
        raise ValueError("--people must be given: a folder of <person>/<photo>")
    study, run, group = find_run(str(generated), params.root)
    print(f"No people were given: photos of the synthetic identities of {run} are drawn.", flush=True)
    drawn = write_example(study, run, group, params.root / ".audit-cache" / f"example-{run}-{group}")
    return drawn[0], controls or drawn[1]


def run_audit(params, *, generated, people=None, controls=None, training=None, models=(), out="audits/report", show_faces=False,
              names=False, key=False):  # fmt: skip
    """Audit a generator and write the report; prints the verdict and where the report is.

    Parameters
    ----------
    params : ppe.config.Params
    generated, people, controls, training, models : as in ``ppe.audit.walk.read_sets``.
    out : path. Folder of the report; a relative one starts at the working folder.
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
    if ":" in str(generated) and not Path(generated).exists():
        params = find_run(str(generated), params.root)[0]
    people, controls = fill_people(params, generated, people, controls)
    sets = read_sets(params, generated, people, controls, training, models)
    for warning in sets.warnings:
        print(f"Warning: {warning}", flush=True)
    given = {"generated": generated, "people": people, "controls": controls, "training": training, "out": out}
    command = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in given.items() if value)
    flags = "".join(f" --{name.replace('_', '-')}" for name, value in
                    {"show_faces": show_faces, "names": names, "key": key}.items() if value)  # fmt: skip
    flags = "".join(f" --models {name}" for name in models) + flags
    shown = {"names": names, "key": key, "show_faces": show_faces, "command": f"python -m ppe audit {command}{flags}"}
    content = write_report(find_all(sets, params), sets, params, out, **shown)
    verdict = content["verdict"]
    print(f"\n{verdict['title']}. {' '.join(verdict['sentences'])}")
    for sentence in filter(None, [verdict["trust"], *verdict["limits"]]):
        print(f"- {sentence}")
    print(f"The report: {Path(out) / 'report.html'}", flush=True)
    return content
