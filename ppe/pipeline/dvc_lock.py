"""dvc's list of who reads and writes what in a folder: what a kill may leave of it, and who is still at work."""

import json
import time
from pathlib import Path

import psutil

RWLOCK = ".dvc/tmp/rwlock"
"""The file, below the project's folder, in which dvc lists the processes that are making a stage, and its files."""


def drop_broken_lock(folder, patience=1.0):
    """Remove dvc's list of who is at work, if a kill left half of it: every later dvc would refuse it.

    patience : float, seconds. How long half of it may be what a living dvc is writing. Returns whether it was removed.
    """
    file, end = folder / RWLOCK, time.monotonic() + patience
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


def wait_for_dvc(folder):
    """Wait until no dvc is at work in a folder: a call that was killed leaves its dvc, which goes on to its last stage.

    dvc itself would refuse a stage, and say that this list may be removed, which lets two write one file.

    folder : path, of the project or of a study's copy.
    """
    said = set()
    while others := list_at_work(folder):
        if others - said:
            who = ", ".join(map(str, sorted(others)))
            whose = "of an earlier call or of another one"
            print(f"dvc is still at work in {folder} (process {who}), {whose}: waiting until it ends", flush=True)
            said |= others
        time.sleep(0.5)


def list_at_work(folder):
    """The living dvc processes that make a stage in a folder: a set of int."""
    try:
        content = json.loads((folder / RWLOCK).read_text())
    except (ValueError, FileNotFoundError):  # dvc is writing it, or none was here
        return set()
    readers = [one for many in content.get("read", {}).values() for one in many]
    return {entry["pid"] for entry in [*readers, *content.get("write", {}).values()] if _is_dvc(entry["pid"])}


def _is_dvc(pid):
    """Whether a process lives and is a dvc: a number may have been given to another program since."""
    try:
        return any(Path(word).name == "dvc" for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
