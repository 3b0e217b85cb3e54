"""A copy of the project in which another params file runs, and what goes there and comes back."""

import json
import os
import shutil
import subprocess
import sys
import time

import pandas as pd

from ppe.config import find_shared, load_params, load_table
from ppe.config.paths import LAST_WORDS
from ppe.config.storage import copy_whole
from ppe.evaluation.tables import RUN_COLUMNS
from ppe.overrepresentation.data_share import ROW_COLUMNS as EXPERIMENT_COLUMNS
from ppe.pipeline.runtime import note_costs

SENTENCES = ("ValueError", "FileNotFoundError", "OSError", "FloatingPointError", "RuntimeError", "ConnectionError")
"""Errors that ppe raises with a sentence of its own."""
NO_ROOM = ("No space left on device", "File too large", "unexpected pos")
"""What the libraries that write weights and checkpoints say where the disk is full; torch.save counts where it stands."""


def drop_broken_lock(folder, patience=1.0):
    """Remove dvc's list of who is at work, if a kill left half of it: every later dvc would refuse it, and dvc does not mend it.

    patience : float, seconds. How long half of it may be what a living dvc is writing. Returns whether it was removed.
    """
    file, end = folder / ".dvc" / "tmp" / "rwlock", time.monotonic() + patience
    while file.is_file():
        try:
            json.loads(file.read_text())
            return False
        except ValueError:
            if time.monotonic() > end:
                file.unlink()
                return True
            time.sleep(0.05)
    return False


def reproduce(folder):
    """Check the params of a project, run its graph, say what came out; where it stops, the last words say why."""
    drop_broken_lock(folder)
    for command in (["python", "-m", "ppe.config.params"], ["dvc", "repro"], ["python", "-m", "ppe", "report"]):
        _call(command, folder)


def _call(command, folder, environment=None, hint=None):
    """Run a command; where it fails, end with what its notebook said, else the hint, else with status 1."""
    started = time.time()
    # A terminal sends Ctrl-C to all of them: dvc ends its stage and must not be killed while it does.
    process, was_stopped = subprocess.Popen(command, cwd=folder, env=environment), False
    while process.returncode is None:
        try:
            process.wait()
        except KeyboardInterrupt:
            was_stopped = True
    if was_stopped:
        raise KeyboardInterrupt
    if process.returncode:
        sys.exit(_find_sentence(folder, started) or hint or 1)


def _find_sentence(folder, since):
    """What the stage that stopped last said, without the traceback above it; "" where none did."""
    words = folder / LAST_WORDS
    if words.is_file() and words.stat().st_mtime >= since:
        return words.read_text()
    books = [book for book in (folder / "executed").glob("*.ipynb") if book.stat().st_mtime >= since]
    for book in sorted(books, key=lambda book: book.stat().st_mtime, reverse=True)[:1]:
        try:
            cells = json.loads(book.read_text())["cells"]
        except (ValueError, KeyError):
            return ""  # half a notebook, of a disk that is full: dvc has said what there is to say
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        for error in [output for output in outputs if output["output_type"] == "error"]:
            if error["ename"] == "KeyboardInterrupt":
                raise KeyboardInterrupt
            kind = "" if error["ename"] in SENTENCES else f"{error['ename']}: "
            return hint_at_room(f"{book.stem} stopped: {kind}{error['evalue']}")
    return ""


def hint_at_room(sentence):
    """The sentence, and what to do, where it is of a full disk and does not say so."""
    is_full = any(words in sentence for words in NO_ROOM) and "make room" not in sentence
    return f"{sentence}: the disk is full, make room and give the same command again" if is_full else sentence


def run_study(root, name, only=None):
    """Run ``studies/<name>.yaml`` in ``.studies/<name>/`` and bring back ``results/<name>/``.

    dvc reads one params.yaml and writes one dvc.lock, so another study needs another folder. The copy holds the working
    tree as it is (also what is not committed), shares the cache, and is kept, so that a second call goes on. Runs,
    then squares, are made one by one and brought back at once; those whose rows came with the repository are not made again
    (remove results/<name>/ to make all anew).

    only : str, one run or square of it, or None. That one is made from its photos on, also where its rows came with the
        repository, and put beside the rows of the others, which stay as they are.
    """
    preset = root / "studies" / f"{name}.yaml"
    if not preset.is_file():
        allowed = sorted(p.stem for p in (root / "studies").glob("*.yaml"))
        raise ValueError(f"STUDY={name!r} is not one of {allowed} (studies/*.yaml)")
    copy, results = root / ".studies" / name, root / "results" / name
    environment = prepare_copy(root, copy, preset)

    def call(*command, hint=None):
        _call(command, copy, environment, hint)

    drop_broken_lock(copy)
    call("python", "-m", "ppe.config.params")
    params = load_params(root=copy)
    call("dvc", "repro", "code")
    if only is not None:
        call("dvc", "repro", _choose_stage(params, only))
        note_costs(params)
        # Not what these stand on: on another machine the face nets differ, and all other runs would be made again.
        for stage in ("collect", "figures", "claims"):
            call("dvc", "repro", "--single-item", stage)
        _end_study(call, copy, results)
        print(f"Of all rows there, only those of {only} are of this machine. python -m ppe check {name} compares them with the "
              "committed ones.")
        return
    missing = [f"attack@{run}" for run in params.runs if not has_rows(params, run)]
    missing += [f"dose@{experiment}" for experiment in params.experiments if not has_experiment_rows(params, experiment)]
    for stage in missing:
        call("dvc", "repro", stage)
        note_costs(params)
        bring_back(copy, results)
    # Of runs that came with the repository there are rows, but no nets: dvc leaves those alone whose lock has not changed.
    nets = [*map(params.generators_folder, params.runs), *map(params.experiment_models_folder, params.experiments)]
    has_nets = all(folder.exists() for folder in nets)
    hint = f"code or params have changed since those rows: remove results/{name} and .studies/{name} to make all anew"
    call("dvc", "repro", *([] if has_nets else ["--allow-missing"]), hint=None if has_nets else hint)
    _end_study(call, copy, results)


def _choose_stage(params, name):
    """The last stage of a run, or a square, of a study."""
    if name not in {*params.runs, *params.experiments}:
        raise ValueError(f"{name!r} is not one of {[*params.runs, *params.experiments]} (studies/{params.study}.yaml: runs, squares)")
    return f"attack@{name}" if name in params.runs else f"dose@{name}"


def _end_study(call, copy, results):
    call("python", "-m", "ppe", "report")
    bring_back(copy, results)
    print(f"Those notebooks are in .studies/{copy.name}/executed/; the tables and figures were brought back to "
          f"results/{results.name}/.")


def prepare_copy(root, copy, preset):
    """Make ``copy`` a project that runs ``preset``: the working tree, its params.yaml, the root's cache.

    Returns the environment (a dict) to run its commands in.
    """
    copy.mkdir(parents=True, exist_ok=True)
    _mirror(root, copy)
    shutil.copyfile(preset, copy / "params.yaml")
    committed, results = root / "results" / preset.stem, copy / "results" / preset.stem
    if not (copy / "dvc.lock").exists() and (committed / "dvc.lock").exists():
        shutil.copyfile(committed / "dvc.lock", copy / "dvc.lock")
        shutil.copytree(committed, results, dirs_exist_ok=True)
    local = f"[core]\n    no_scm = true\n[cache]\n    dir = {root / '.dvc' / 'cache'}\n"
    (copy / ".dvc" / "config.local").write_text(local)
    return {**os.environ, "PPE_SHARED": str(find_shared(root).resolve()), "PYTHONPATH": str(copy)}


def _mirror(root, copy):
    """Copy the working tree (tracked and new files, no ignored ones) and drop from the copy what is gone from the tree."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=root, capture_output=True, check=True)
    names = [n for n in listed.stdout.decode().split("\0") if n and (root / n).is_file()]
    kept = [n for n in names if n not in ("params.yaml", "dvc.lock") and not n.startswith(("results/", "docs/"))]
    manifest = copy / ".mirror"
    before = set(manifest.read_text().split("\n")) if manifest.exists() else set()
    for name in before - set(kept):
        (copy / name).unlink(missing_ok=True)
    for name in kept:
        target = copy / name
        if not target.exists() or target.read_bytes() != (root / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
    manifest.write_text("\n".join(kept))


def has_rows(params, run):
    """Whether the run's rows are there, and of its present settings."""
    file, settings = params.rows_file(run), params.runs[run].model_dump()
    settings["max_train_photos"] = settings["max_train_photos"] or settings["train_photos"]
    rows = load_table(file) if file.exists() else pd.DataFrame()
    is_ours = len(rows) > 0 and set(RUN_COLUMNS) <= set(rows)  # else none, or an older code's
    return is_ours and all(rows.iloc[0][name] == settings[name] for name in RUN_COLUMNS)


def has_experiment_rows(params, experiment):
    """Whether the square's rows are there, and of its present settings."""
    file, settings = params.experiment_rows_file(experiment), params.experiments[experiment].model_dump()
    if not file.exists():
        return False
    rows = load_table(file)
    own = [name for name in EXPERIMENT_COLUMNS if name in settings]
    if not len(rows) or not set(own) <= set(rows):
        return False  # none, or an older code's
    data_shares = {0.0} if settings["kind"] == "none" else set(settings["data_shares"])
    return all(rows.iloc[0][name] == settings[name] for name in own) and set(rows.data_share.dropna()) == data_shares


def bring_back(copy, results):
    """Copy a study's results, with the params and the lock that made them, to the project, each file whole or not at all."""
    source = copy / "results" / results.name
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        copy_whole(file, results / file.relative_to(source))
    for file in ("params.yaml", "dvc.lock"):
        copy_whole(copy / file, results / file)
