"""Studies as presets: run ``studies/<name>.yaml`` in a copy of the project, and bring its results back.

dvc reads one params.yaml and writes one dvc.lock a folder, so another study needs another folder.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import yaml

from ppe.config import load_params, load_table, save_json
from ppe.config.params import load_study
from ppe.config.paths import COPIES, LAST_WORDS
from ppe.config.storage import copy_whole
from ppe.evaluation.tables import RUN_COLUMNS
from ppe.overrepresentation.data_share import ROW_COLUMNS
from ppe.pipeline.dvc_lock import drop_broken_lock, wait_for_dvc
from ppe.pipeline.execution import BOOKS, wait_for
from ppe.pipeline.preflight import describe_absent
from ppe.pipeline.project_copy import list_git_files, prepare_copy
from ppe.pipeline.report import report_run, report_study
from ppe.pipeline.side_by_side import reproduce_lines, reproduce_tables


def reproduce(folder, jobs=1):
    """Run the study of a project's params.yaml: its first run, whose result is printed, then all others, ``jobs`` at a time."""
    call = _prepare(folder, None)
    params = load_params(root=folder)
    first = next(iter(params.runs))
    is_new = not params.rows_file(first).exists() or not params.executed_file("6_evaluate", first).exists()
    call("repro", f"evaluate@{first}")
    _execute_skipped(call, params, [f"evaluate@{first}"])
    if is_new:
        report_run(params, first)
    if jobs > 1:
        reproduce_lines(call, params, list(dict.fromkeys([*params.runs, *params.experiments])), jobs)
    call("repro")
    runs = [f"{stage}@{run}" for run in params.runs for stage in ("evaluate", "sensitivity")]
    _execute_skipped(call, params, [*runs, *(f"overrepresentation@{name}" for name in params.experiments), "claims"])
    report_study(params)


def _execute_skipped(call, params, stages):
    """Execute the notebooks of stages that dvc skipped, since their numbers came with the repository: their pictures did not."""
    books = {book.split("_", 1)[-1]: book for book in BOOKS}
    for stage in stages:
        name, _, line = stage.partition("@")
        if not params.executed_file(books[name], line or params.study).exists():
            call("repro", "--force", "--single-item", stage)


def run_study(root, name, only=None, jobs=1):
    """Run ``studies/<name>.yaml`` in ``.studies/<name>/`` and bring back ``results/<name>/``.

    The copy holds the working tree as it is, shares the cache, and is kept, so that a second call goes on. Runs, then
    experiments, are made one by one and brought back at once; those whose rows came with the repository are not made again
    (remove results/<name>/ to make all anew).

    Parameters
    ----------
    root : path. The project.
    name : str
    only : str or None
        One run or experiment, which is made from its photos on, also where its rows came with the repository, and put beside
        the rows of the others, which stay as they are. While others have none, that is said, and no table is made.
    jobs : int. So many runs and experiments at a time.

    Raises
    ------
    ValueError
        If the study or the run is unknown.
    """
    copy, results = root / COPIES / name, root / "results" / name
    environment = prepare_copy(root, copy, name)
    call, params = _prepare(copy, environment), load_params(root=copy)
    print("".join(f"{line}\n" for line in describe_absent(load_study(name, root))), end="")
    lines = list(dict.fromkeys([*params.runs, *params.experiments]))
    missing = [line for line in lines if not has_rows(params, line)] if only is None else [only]
    parts = [part for line in missing for part in _list_parts(params, line)]
    if only is None:
        _say_rows(params, name, len(lines) - len(missing), len(lines))

    def publish(line):
        _forget_earlier(copy / "results" / name, results, line)
        bring_back(copy, results, ("params.yaml", "dvc.lock") if jobs == 1 else ("params.yaml",))  # another dvc may be writing

    if jobs > 1 and len(parts) > 1:
        reproduce_lines(call, params, missing, jobs, publish)
    else:
        for part in parts or [[]]:
            call("repro", "code", *part)
            if part:
                publish(part[0].split("@")[1])
    lacking = [line for line in lines if not all(file.exists() for file in _list_row_files(params, line))]
    if only is not None and lacking:
        print(f"The rows of {only} are in results/{name}/rows/. The tables and claims of {name} follow once {lacking} have rows: "
              f"make study STUDY={name}")  # fmt: skip
        return
    brought = _list_brought(copy, params, lines)
    if only is None and brought:
        print(f"Rows of {', '.join(brought)} were made on another machine: their code is not compared with today's.")
    if jobs > 1 and missing == lines and not brought:
        reproduce_tables(call, params, jobs)
    else:
        _make_tables(call, params, name, from_rows=only is not None or bool(brought))
    _end_study(params, name, only, copy, root)


def _end_study(params, name, only, copy, root):
    """Print what a study found, bring its results back, and say where they are."""
    report_study(params, only)
    bring_back(copy, root / "results" / name)
    print(f"Tables and figures were brought back to results/{name}/.")
    if only is not None and list_git_files(root, f"results/{name}/attacks.csv"):
        print(f"Only the rows of {only} are of this machine; `python -m ppe check {name}` compares them with the committed ones.")


def _make_tables(call, params, name, from_rows):
    """Make what all runs stand in: tables, claims and figures.

    from_rows : bool. From the rows as they are, and not what these stand on: on another machine the embedders differ, and all
    other runs would be made again.
    """
    if from_rows:
        for stage in ("collect", "claims"):
            call("repro", "--single-item", stage)
        return
    # Of runs that came with the repository there are rows, but no models: dvc skips those whose lock has not changed.
    folders = [*map(params.generators_folder, params.runs), *map(params.experiment_models_folder, params.experiments)]
    has_models = all(folder.exists() for folder in folders)
    hint = f"code or params have changed since those rows: remove results/{name} and {COPIES}/{name} to make all anew"
    call("repro", *([] if has_models else ["--allow-missing"]), hint=None if has_models else hint)


def has_rows(params, name):
    """Whether the rows of a run or experiment are there, of its present settings and of today's code: bool."""
    if name in _list_earlier(params.results_folder()) or not all(file.exists() for file in _list_row_files(params, name)):
        return False
    is_ours = True
    if name in params.runs:  # a run and an experiment may have one name
        settings = params.runs[name].model_dump()
        settings["max_train_photos"] = settings["max_train_photos"] or settings["train_photos"]
        is_ours = _have_settings(load_table(params.rows_file(name)), settings, RUN_COLUMNS)
    if name in params.experiments:
        settings, rows = params.experiments[name].model_dump(), load_table(params.experiment_rows_file(name))
        columns = [column for column in ROW_COLUMNS if column in settings and column != "data_shares"]
        shares = {0.0} if settings["kind"] == "none" else set(settings["data_shares"])
        is_ours = is_ours and _have_settings(rows, settings, columns) and set(rows.data_share.dropna()) == shares
    return is_ours


def _have_settings(rows, settings, columns):
    """Whether rows were made with these settings: bool, false for none, and for those of an older code."""
    is_ours = len(rows) > 0 and set(columns) <= set(rows)
    return bool(is_ours and all(rows.iloc[0][column] == settings[column] for column in columns))


def _list_brought(copy, params, lines):
    """Runs and experiments whose rows are not those that dvc's lock names: they come from another machine. A list of str."""
    lock = copy / "dvc.lock"
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.is_file() else {}
    known = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}

    def is_known(file):
        return file.exists() and known.get(file.relative_to(copy).as_posix()) == hashlib.md5(file.read_bytes()).hexdigest()

    return [line for line in lines if not all(is_known(file) for file in _list_row_files(params, line))]


def _list_row_files(params, name):
    """Files of a run's or experiment's rows: list of path."""
    files = [params.rows_file(name), params.sensitivity_rows_file(name)] if name in params.runs else []
    return files + ([params.experiment_rows_file(name)] if name in params.experiments else [])


def bring_back(copy, results, made_by=("params.yaml", "dvc.lock")):
    """Copy a study's results, with the params and the lock that made them, to the project, each file whole or not at all."""
    source = copy / "results" / results.name
    for file in sorted(path for path in source.rglob("*") if path.is_file() and path.suffix != ".partial"):
        copy_whole(file, results / file.relative_to(source))
    for file in made_by:
        copy_whole(copy / file, results / file)


def _prepare(folder, environment):
    """Check params, and what a killed dvc left; return a function that runs dvc in the folder and ends with a sentence."""
    drop_broken_lock(folder)
    wait_for_dvc(folder)
    programs = str(Path(sys.executable).parent)  # where dvc, jupyter and papermill of this environment are, activated or not
    environment = {**(environment or os.environ)}
    environment["PATH"] = os.pathsep.join([programs, environment.get("PATH", "")])
    load_params(root=folder)

    def call(*arguments, hint=None, log=None):
        _run(["dvc", *arguments], folder, environment, hint, log)

    return call


def _run(command, folder, environment, hint, log=None):
    """Run a command, its output in the file ``log`` if there is one.

    Where it fails, end with the last words of its stage, else the hint, else the log's place, else with status 1.
    """
    started = time.time()
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise FileNotFoundError(f"{command[0]} is not installed: install the project's packages first (README.md, Quick start)")
    with open(log, "a", encoding="utf-8") if log else nullcontext() as output:
        errors = subprocess.STDOUT if log else None
        status = wait_for(subprocess.Popen([program, *command[1:]], cwd=folder, env=environment, stdout=output, stderr=errors))
    if status:
        words = folder / LAST_WORDS
        is_new = words.is_file() and words.stat().st_mtime >= started
        sys.exit((words.read_text(encoding="utf-8") if is_new else "") or hint or (f"stopped: see {log}" if log else 1))


def _list_parts(params, name):
    """The last stages of a run, and those of an experiment, as lists of str: two where a run and an experiment have one name."""
    known = list(dict.fromkeys([*params.runs, *params.experiments]))
    if name not in known:
        raise ValueError(f"{name!r} is not one of {known} (studies/{params.study}.yaml: runs, "
                         "experiments)")
    parts = [[f"evaluate@{name}", f"sensitivity@{name}"]] if name in params.runs else []
    return parts + ([[f"overrepresentation@{name}"]] if name in params.experiments else [])


def _list_earlier(results):
    """Runs and experiments whose rows were made by an earlier version of the code: a list of str."""
    file = results / "earlier.json"
    return json.loads(file.read_text()) if file.is_file() else []


def _say_rows(params, name, kept, total):
    earlier = _list_earlier(params.results_folder())
    if earlier:
        print(f"Rows of {name} were made by an earlier version of the code: {len(earlier)} runs and experiments are made again")
    if kept:
        print(f"{kept} of {total} runs and experiments have rows in results/{name}/ and are not made again. To make one anew: "
              f"python -m ppe study {name} <run>; all: remove results/{name}/ and {COPIES}/{name}/ first.")  # fmt: skip


def _forget_earlier(*parts):
    """A run was made anew: it is no longer among the earlier ones, in the copy and in the project."""
    *folders, name = parts
    for folder in folders:
        left = [other for other in _list_earlier(folder) if other != name]
        if left:
            save_json(left, folder / "earlier.json")
        else:
            (folder / "earlier.json").unlink(missing_ok=True)
