"""A study's copy of the project, in which another params.yaml and another dvc.lock can lie."""

import os
import shutil
import subprocess
from pathlib import PurePosixPath

import yaml

from ppe.config import find_shared, load_params, write_whole
from ppe.config.params import load_study, merge_study
from ppe.config.paths import COPIES, expand_user, find_project
from ppe.config.schema import NAMED
from ppe.config.storage import copy_whole
from ppe.datasets.photos import OTHER_SUFFIXES, PHOTO_SUFFIXES

NOT_COPIED = {
    *(".git", ".venv", COPIES, ".checkpoints", ".pytest_cache", ".ruff_cache", "__pycache__", "data", "models", "executed"),
    *("sources", "scratch", "downloads", "results", "docs", "params.yaml", "dvc.lock", ".mirror", ".ipynb_checkpoints"),
    *("audits", ".audit-cache"),
}
"""What a study's copy does not take from the project: what it makes itself, and what belongs to the machine."""
CODE_FOLDERS = ("ppe", "notebooks", "studies")
CODE_SUFFIXES = {".py", ".ipynb", ".yaml", ".yml", ".toml", ".mplstyle", ".j2", ".css"}
CODE_FILES = (".dvc/config", ".dvcignore")
"""Of files that git does not track, a copy takes code alone: that in these folders and beside them. Someone's photos may lie in
the project, and stay where they are."""


def prepare_copy(root, copy, name):
    """Make ``copy`` a project that runs a study: the working tree, the study's params, the project's cache.

    root, copy : path; name : str, of ``studies/<name>.yaml``, or None for the project's own params.yaml.
    Returns the environment (a dict) to run its commands in.
    """
    content = merge_study(name, root) if name else yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    source = f"params.yaml and studies/{name}.yaml" if name else "params.yaml"
    for section, key in (("datasets", "root"), ("embedders", "weights")):
        for settings in content.get(section, {}).values():
            path = settings.get(key) if isinstance(settings, dict) else None
            # Relative to the project, wherever the copy lies; what is no text is refused below.
            if path and isinstance(path, str) and "$" not in path and path not in NAMED:
                settings[key] = str(find_project(root) / expand_user(path, source))
    _leave_out_absent(content, root, name)
    copy.mkdir(parents=True, exist_ok=True)
    _mirror(root, copy)
    with write_whole(copy / "params.yaml") as partial:
        text = yaml.safe_dump(content, sort_keys=False, width=130)
        partial.write_text(f"# Made of {source}: change those.\n{text}", encoding="utf-8")
    committed = root / "results" / (name or content["study"])
    _take_newer(committed, copy / "results" / committed.name)
    if (committed / "dvc.lock").exists() and _is_newer(committed / "dvc.lock", copy / "dvc.lock"):
        copy_whole(committed / "dvc.lock", copy / "dvc.lock")
    _link_trainings(root, copy, {"": content["runs"], "experiments": content.get("experiments", {})})
    local = f"[core]\n    no_scm = true\n[cache]\n    dir = {root / '.dvc' / 'cache'}\n"
    (copy / ".dvc" / "config.local").write_text(local)
    return {**os.environ, "PPE_SHARED": str(find_shared(root).resolve()), "PYTHONPATH": str(copy)}


def _leave_out_absent(content, root, name):
    """Take optional embedders whose weights are not here out of the lists of data sets, so that dvc sees which were used.

    Not where the study's rows came, with their lock, from a machine that had the weights: dvc would take them for rows of other
    params. Rows of an earlier version of the code are made again, and do not count.
    """
    params = load_study(name, root) if name else load_params(root=root)
    results, made = root / "results" / params.study, {}
    if params.absent and (results / "dvc.lock").is_file() and not (results / "earlier.json").exists():
        made = yaml.safe_load((results / "params.yaml").read_text(encoding="utf-8"))["datasets"]
    for key, dataset in content["datasets"].items():
        gone = set(params.absent) - set(made.get(key, {}).get("embedders", []))
        dataset["embedders"] = [embedder for embedder in dataset["embedders"] if embedder not in gone]


def _take_newer(source, target):
    """Copy the files of a folder that another one lacks or has an older version of: rows may come from another machine."""
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        if _is_newer(file, target / file.relative_to(source)):
            copy_whole(file, target / file.relative_to(source))


def _is_newer(file, other):
    """Whether a file differs from another and was written later, or the other is not there."""
    if not other.exists():
        return True
    return file.stat().st_mtime > other.stat().st_mtime and file.read_bytes() != other.read_bytes()


def _link_trainings(root, copy, names):
    """Link the trainings that the project's other studies keep of runs of the same name, so that none is trained twice.

    A folder's name ends in the digest of its params, photos and code, so that another recipe is never taken for this one. Hard
    links are safe, since files of a training are replaced and never written to. What cannot be linked, on a disk without links or
    while it is being trained, is trained here.
    """
    places = [root / ".checkpoints", *sorted((root / COPIES).glob("*/.checkpoints"))]
    for kind, runs in names.items():
        here = copy / ".checkpoints" / kind
        for folder in [found for run in runs for place in places for found in (place / kind).glob(f"{run}-{'[0-9a-f]' * 16}")]:
            if not (here / folder.name).exists():
                partial = here / f"{folder.name}.part"
                shutil.rmtree(partial, ignore_errors=True)
                try:
                    shutil.copytree(folder, partial, copy_function=os.link, ignore=shutil.ignore_patterns("lock"))
                    partial.rename(here / folder.name)
                except OSError:
                    shutil.rmtree(partial, ignore_errors=True)


def _mirror(root, copy):
    """Copy the working tree to a study's copy, and drop from the copy what is gone from the tree."""
    names = [name for name in _list_files(root) if not NOT_COPIED & {name.split("/")[0], *name.split("/")[:-1]}]
    manifest = copy / ".mirror"
    before = set(manifest.read_text(encoding="utf-8").split("\n")) if manifest.exists() else set()
    for name in before - set(names):
        (copy / name).unlink(missing_ok=True)
        for folder in PurePosixPath(name).parents[:-1]:  # a folder may have a person's name
            if (copy / folder).is_dir() and not any((copy / folder).iterdir()):
                (copy / folder).rmdir()
    for name in names:
        target = copy / name
        if not target.exists() or target.read_bytes() != (root / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
    for folder in ("executed", "sources", "data", "models"):
        (copy / folder).mkdir(exist_ok=True)
    _copy_ignore_files(root, copy)
    manifest.write_text("\n".join(names), encoding="utf-8")


def _copy_ignore_files(root, copy):
    """dvc makes no folders for outputs: the .gitignore of each keeps them."""
    for name in ("data", "models", "executed", "sources"):
        for file in (root / name).glob("**/.gitignore"):
            target = copy / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _list_files(root):
    """Files of the working tree that a study needs: those that git tracks, but for photos, and code that it would add.

    Where there is no git (a ZIP file, or no git on this machine), code alone.
    """
    tracked = list_git_files(root, "--cached")
    added = list_git_files(root, "--others", "--exclude-standard", "--", *CODE_FOLDERS, ":(glob)*")
    if not tracked:
        inside = (path for folder in CODE_FOLDERS for path in (root / folder).rglob("*"))
        added = [path.relative_to(root).as_posix() for path in (*root.iterdir(), *inside, *(root / name for name in CODE_FILES))]
    pictures = PHOTO_SUFFIXES | OTHER_SUFFIXES
    names = {name for name in tracked if PurePosixPath(name).suffix.lower() not in pictures} | set(filter(_is_code, added))
    return sorted(name for name in names if (root / name).is_file())


def list_git_files(root, *options):
    """The files that ``git ls-files`` lists with these options, a list of str; empty where there is no git."""
    try:
        done = subprocess.run(["git", "ls-files", "-z", *options], cwd=root, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _is_code(name):
    path = PurePosixPath(name)
    is_there = len(path.parts) == 1 or path.parts[0] in CODE_FOLDERS
    return name in CODE_FILES or (is_there and path.suffix in CODE_SUFFIXES)
