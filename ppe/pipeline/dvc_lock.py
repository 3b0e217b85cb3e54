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
    """Wait until no ``dvc repro`` is at work in a folder: a study that was killed leaves its own, which goes on to its end.

    dvc itself would refuse a stage, and say that its list may be removed, which lets two write one file.

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
    """The processes ``dvc repro`` in a folder, also between two stages, where dvc's list is empty: a set of int."""
    above = {process.pid for process in psutil.Process().parents()}
    return {process.pid for process in psutil.process_iter() if process.pid not in above and _repeats(process, folder.resolve())}


def _repeats(process, folder):
    try:
        words = process.cmdline()
        return "repro" in words and any(Path(word).name == "dvc" for word in words) and Path(process.cwd()) == folder
    except psutil.Error:  # it has ended, or is somebody else's
        return False
