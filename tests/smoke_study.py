"""The smallest study in a folder of its own: make one, copy one, run commands in it, kill them, compare what came out."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from filelock import FileLock

from ppe.pipeline.project_copy import prepare_copy

BIN = Path(sys.executable).parent
OUTPUTS = ("data", "models", "results", "sources")
"""Folders whose bytes are compared; executed notebooks hold timings, and so do ``NOT_COMPARED``."""
NOT_COMPARED = {"runtime.csv", "__pycache__"}
"""Timings, and what Python keeps beside code."""


def make_study(root, folder, name="smoke"):
    """A copy of the project that runs ``studies/<name>.yaml`` with a cache of its own: (folder, environment).

    It starts from nothing, also where the project has run the study.
    """
    is_new = not folder.exists()
    environment = prepare_copy(root, folder, name)
    if is_new:
        for made in (folder / ".checkpoints", folder / "results" / name):
            shutil.rmtree(made, ignore_errors=True)
        (folder / "dvc.lock").unlink(missing_ok=True)
    return _use_own_cache(folder, environment)


def copy_study(study, folder):
    """A copy of a study with all that it computed, which a test may change or break."""
    with alone(study):
        shutil.copytree(study[0], folder)
    return _use_own_cache(folder, study[1])


def alone(study):
    """A lock on a study that several processes of pytest share: dvc refuses a second dvc in one folder."""
    return FileLock(f"{study[0]}.lock")


def _use_own_cache(folder, environment):
    (folder / ".dvc" / "config.local").write_text(f"[core]\n    no_scm = true\n[cache]\n    dir = {folder / '.dvc' / 'cache'}\n")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what Python keeps beside code must make nothing stale
    path = environment["PATH"] if environment["PATH"].startswith(f"{BIN}:") else f"{BIN}:{environment['PATH']}"
    return folder, {**environment, "PYTHONPATH": str(folder), "PATH": path}


def run(command, study, wanted=0):
    """Run a command in a study and return what it printed; a test fails where it does not end as wanted."""
    done = subprocess.run(command, cwd=study[0], env=study[1], capture_output=True, text=True, timeout=1500)
    assert done.returncode == wanted, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def start(command, study, log):
    """Start a command as a terminal does, the leader of its group; what it prints goes to the file ``log``."""
    with open(log, "w") as file:
        return subprocess.Popen(
            command, cwd=study[0], env=study[1], stdout=file, stderr=file, start_new_session=True, preexec_fn=_hear_ctrl_c
        )


def _hear_ctrl_c():
    """What a shell starts in the background ignores Ctrl-C, and so would its children: these tests may be run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition, process, seconds=240):
    """Wait until ``condition()`` holds while a process runs."""
    started = time.monotonic()
    while not condition():
        assert process.poll() is None and time.monotonic() - started < seconds, "what was waited for did not come"
        time.sleep(0.05)


def kill(process, alone=False):
    """kill -9: all that the process has started (a kernel has a group of its own), or, where ``alone``, only itself.

    Returns those that were not killed.
    """
    others = psutil.Process(process.pid).children(recursive=True)
    for victim in [psutil.Process(process.pid), *([] if alone else others)]:
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            pass
    process.wait()
    return others if alone else []


def list_survivors(folder):
    """Processes that still work in a study's folder, apart from this one."""
    found = []
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(folder) and process.pid != os.getpid():
            found.append(process.pid)
    return found


def hash_outputs(folder, parts=OUTPUTS):
    """sha256 of every file below some folders, by path: left-overs show as well as changes."""
    files = [path for part in parts for path in (folder / part).rglob("*") if path.is_file()]
    files = [path for path in files if not NOT_COMPARED & set(path.relative_to(folder).parts)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}
