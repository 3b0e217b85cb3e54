"""A copy of the project in which another params file runs, and what goes there and comes back."""

import os
import shutil
import subprocess

from ppe.evaluation import RUN_COLUMNS
from ppe.params import find_shared, load_table


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
    return file.exists() and all(load_table(file).iloc[0][name] == settings[name] for name in RUN_COLUMNS)


def bring_back(copy, results):
    """Copy a study's results, with the params and the lock that made them, to the project."""
    shutil.copytree(copy / "results" / results.name, results, dirs_exist_ok=True)
    for file in ("params.yaml", "dvc.lock"):
        shutil.copyfile(copy / file, results / file)
