"""A study's copy of the project, in which another params.yaml and another dvc.lock can lie."""

import os
import shutil
import subprocess
from pathlib import Path

import yaml

from ppe.config import find_shared, write_whole
from ppe.config.params import merge_study
from ppe.config.paths import COPIES

NOT_COPIED = {
    *(".git", ".venv", COPIES, ".checkpoints", ".pytest_cache", ".ruff_cache", "__pycache__", "data", "models", "executed"),
    *("sources", "scratch", "downloads", "results", "docs", "params.yaml", "dvc.lock", ".mirror"),
}
"""What a study's copy does not take from the project: what it makes itself, and what belongs to the machine."""


def prepare_copy(root, copy, name):
    """Make ``copy`` a project that runs a study: the working tree, the study's params, the project's cache.

    root, copy : path; name : str, of ``studies/<name>.yaml``, or None for the project's own params.yaml.
    Returns the environment (a dict) to run its commands in.
    """
    content = merge_study(name, root) if name else yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    for dataset in content.get("datasets", {}).values():
        if isinstance(dataset, dict) and dataset.get("root"):  # relative to the project, wherever the copy lies
            dataset["root"] = str(root / Path(dataset["root"]).expanduser()) if "$" not in dataset["root"] else dataset["root"]
    copy.mkdir(parents=True, exist_ok=True)
    _mirror(root, copy)
    source = f"params.yaml and studies/{name}.yaml" if name else "params.yaml"
    with write_whole(copy / "params.yaml") as partial:
        text = yaml.safe_dump(content, sort_keys=False, width=130)
        partial.write_text(f"# Made of {source}: change those.\n{text}", encoding="utf-8")
    committed, results = root / "results" / (name or content["study"]), copy / "results" / (name or content["study"])
    if committed.exists() and not results.exists():
        shutil.copytree(committed, results)
        if (committed / "dvc.lock").exists():
            shutil.copyfile(committed / "dvc.lock", copy / "dvc.lock")
    local = f"[core]\n    no_scm = true\n[cache]\n    dir = {root / '.dvc' / 'cache'}\n"
    (copy / ".dvc" / "config.local").write_text(local)
    return {**os.environ, "PPE_SHARED": str(find_shared(root).resolve()), "PYTHONPATH": str(copy)}


def _mirror(root, copy):
    """Copy the working tree to a study's copy, and drop from the copy what is gone from the tree."""
    names = [name for name in _list_files(root) if not NOT_COPIED & {name.split("/")[0], *name.split("/")[:-1]}]
    manifest = copy / ".mirror"
    before = set(manifest.read_text(encoding="utf-8").split("\n")) if manifest.exists() else set()
    for name in before - set(names):
        (copy / name).unlink(missing_ok=True)
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
    """Files of the working tree: those that git knows or would add; where there is no git, all that are not left out by name."""
    try:
        call = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
        listed = subprocess.run(call, cwd=root, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # downloaded as a ZIP, or no git on this machine
        listed = []
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if name not in NOT_COPIED and name != "tmp" and name != "cache"]
            listed += [Path(folder, file).relative_to(root).as_posix() for file in files]
    return sorted(name for name in listed if name and (root / name).is_file())
