"""How a stage runs: one at a time in a folder, its notebook by papermill, its last words where the study finds them.

Papermill is started as a program of its own, never imported.
"""

import json
import locale
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from ppe.config import find_root, load_params
from ppe.config.paths import LAST_WORDS, SCRATCH_STUDY, STAGE_LOCKS, check_member, find_project
from ppe.config.storage import hold_lock, write_whole
from ppe.pipeline.runtime import note_runtime

BOOKS = {
    "1_faces": "dataset", "2_embed": "dataset", "3_train": "run", "4_generate": "run", "5_attack": "run", "6_evaluate": "run",
    "7_sensitivity": "run", "8_overrepresentation": "experiment", "9_claims": "study", "defences": "tradeoff",
}  # fmt: skip
"""Notebook -> its one parameter."""
QUIET = ("--no-progress-bar", "--log-level", "ERROR", "--stdout-file", "-", "--stderr-file", "-")
"""Options of papermill: what cells print goes to the terminal, their tables and figures stay in the notebook. Papermill's own
error stream, with a warning of every kernel, is shown where it fails."""
SENTENCES = ("ValueError", "FileNotFoundError", "OSError", "FloatingPointError", "RuntimeError", "ConnectionError")
"""Errors that ppe raises with a sentence of its own."""
DISK_IS_FULL = ("No space left on device", "File too large", "unexpected pos")
"""What the libraries that write weights and checkpoints say where the disk is full; torch.save counts where it stands."""


def run_notebook(book, name):
    """Execute ``notebooks/<book>.ipynb`` with its parameter set to ``name``; the result goes to ``executed/``.

    While it runs, and if it stops, its cells are in ``<result>.unfinished.ipynb``: a notebook without that ending is whole.

    Parameters
    ----------
    book : str, a key of ``BOOKS``.
    name : str
        A data set, run, experiment, study or trade-off of params.yaml, whichever the notebook is about.

    Raises
    ------
    ValueError
        If the notebook is unknown, or ``name`` is none of what it is about.
    RuntimeError
        What the notebook said when it stopped, in one sentence.
    """
    if book not in BOOKS:
        raise ValueError(f"notebook {book!r} is not one of {list(BOOKS)}")
    params = load_params(name)
    check_member(BOOKS[book], name, _list_allowed(params, BOOKS[book]), params.file)
    target = params.executed_file(book, name)
    unfinished = target.with_suffix(".unfinished.ipynb")
    target.parent.mkdir(exist_ok=True)
    unfinished.unlink(missing_ok=True)  # its error is not this one's
    started = time.monotonic()
    command = [sys.executable, "-m", "papermill", f"notebooks/{book}.ipynb", str(unfinished), "-k", "python3", *QUIET]
    with note_runtime(params, book.split("_", 1)[-1], name), TemporaryFile() as errors:
        status = wait_for(subprocess.Popen([*command, "-p", BOOKS[book], name], cwd=params.root, stderr=errors), shows_time=True)
        if status:
            errors.seek(0)
            said = errors.read().decode(errors="replace")
            print(said, end="", file=sys.stderr, flush=True)
            raise RuntimeError(_read_error(unfinished, target.stem) or _explain_status(target.stem, status, said))
    with write_whole(target) as partial:
        partial.write_text(strip_notebook(unfinished.read_text(encoding="utf-8")), encoding="utf-8")
    unfinished.unlink()
    print(f"{target.relative_to(find_project(params.root)).as_posix()}: {time.monotonic() - started:.0f} s")


def _list_allowed(params, kind):
    """What a notebook of a kind (a value of ``BOOKS``) can be about: a collection of str."""
    if kind == "study":
        return [params.study, *(["tiny"] if params.study == SCRATCH_STUDY else [])]
    return getattr(params, f"{kind}s")


def strip_notebook(text):
    """Remove from an executed notebook (its JSON as text) what differs between two runs that compute the same.

    These are papermill's timings, the random id of the cell that it injects, and what was logged on the standard error
    stream. So a run that reproduces everything leaves the same bytes.
    """
    book = json.loads(text)
    book["metadata"].pop("papermill", None)
    for cell in book["cells"]:
        cell["metadata"] = {key: cell["metadata"][key] for key in ("tags",) if cell["metadata"].get(key)}
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if _is_kept(output)]
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _is_kept(output):
    return output.get("name") != "stderr" and "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def _explain_status(name, status, said):
    """Why a notebook stopped whose cells do not say it: the last line of papermill's error stream, or else what is likely."""
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "") or "was its output closed?"
    return explain_full_disk(f"{name} stopped with status {status}: {last}")


@contextmanager
def hold_stage(root, name):
    """Let a stage work once at a time: a dvc that was killed may leave it at work, and the next dvc starts it again.

    Other stages may work beside it, as dvc allows: it knows which of them read or write the same files.

    root : path, the project; name : str, ``<stage>@<run>``.
    """
    file = Path(root) / STAGE_LOCKS / (re.sub(r"[^\w@.-]", "-", name) + ".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(f"{file}.txt")
    other = holder.read_text() if holder.is_file() else "another process"
    with hold_lock(file, f"{name} is still at work in this folder ({other}): waiting until it ends"):
        holder.write_text(f"process {os.getpid()}")
        yield


def leave_last_words(sentence):
    """Write down why a stage stopped, since dvc says something below it; ``python -m ppe study`` repeats it at the end."""
    file = find_root() / LAST_WORDS
    file.parent.mkdir(exist_ok=True)
    file.write_text(sentence, encoding="utf-8")


def check_folder(folder):
    """Raise ValueError if dvc could not write the folder's name, which it does after a stage's work.

    dvc's own words would be "'utf-8' codec can't encode characters". Two cases: letters that are not ASCII in an ASCII locale,
    and a name that is not UTF-8.
    """
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError:
        is_ascii = locale.getpreferredencoding(False).upper() in ("ASCII", "US-ASCII", "ANSI_X3.4-1968")
        name = os.fsencode(folder).decode("utf-8", "backslashreplace")
        name, cure = (ascii(name), "set LC_ALL=C.UTF-8") if is_ascii else (repr(name), "rename it")
        what = "not ASCII, which this locale" if is_ascii else "not UTF-8, which dvc"
        raise ValueError(f"the folder {name} has a name that is {what} cannot write: {cure}") from None


def explain_full_disk(sentence):
    """Add what to do to a sentence that comes from a full disk and does not say so."""
    is_full = any(words in sentence for words in DISK_IS_FULL) and "make room" not in sentence
    return f"{sentence}: the disk is full, make room and give the same command again" if is_full else sentence


def wait_for(process, shows_time=False):
    """Wait for a process also after Ctrl-C, which the terminal sends to it as well: it must not be left at work.

    With ``shows_time`` a person at a terminal sees how long it has been at work; the next line is written over that.
    """
    was_stopped, started = False, time.monotonic()
    tick = 1.0 if shows_time and sys.stderr and sys.stderr.isatty() else None
    while process.returncode is None:
        try:
            _wait_a_while(process, tick, started)
        except KeyboardInterrupt:
            was_stopped = True
        except OSError:  # the terminal has gone away, and the work goes on
            tick = None
    if was_stopped:
        raise KeyboardInterrupt
    return process.returncode


def _wait_a_while(process, tick, started):
    """Wait ``tick`` seconds, or until the end where it is None; then write the time that has passed, to be written over."""
    try:
        process.wait(tick)
    except subprocess.TimeoutExpired:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        print(f"{minutes}:{seconds:02d}", end="\r", file=sys.stderr, flush=True)  # short: what is left of it would mislead


def _read_error(path, name, patience=2.0):
    """What stopped the executed notebook ``name``, without its traceback; "" where it holds no error."""
    end = time.monotonic() + patience
    while True:
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            break
        except (ValueError, KeyError, OSError):  # half a notebook: of a disk that is full, or still being written
            if time.monotonic() > end:
                return ""
            time.sleep(0.1)
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if output["output_type"] == "error":
            if output["ename"] == "KeyboardInterrupt":
                raise KeyboardInterrupt
            kind = "" if output["ename"] in SENTENCES else f"{output['ename']}: "
            return explain_full_disk(f"{name} stopped: {kind}{output['evalue']}")
    return ""
