"""How a stage runs: alone in its folder, its notebook stripped of what differs, its last words in one sentence."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ppe.config import load_params
from ppe.pipeline import execution
from ppe.pipeline.execution import explain_full_disk, hold_stage, strip_notebook


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 in every locale of macOS")
@pytest.mark.parametrize(
    ("folder", "locale", "sentence"),
    [
        ("Übung", "C", "is not ASCII, which this locale cannot write: set LC_ALL=C.UTF-8"),
        (os.fsdecode(b"stud\xefe"), "C.UTF-8", r"'.*/stud\\\\xefe' has a name that is not UTF-8, which dvc cannot write"),
    ],
)
def test_a_folder_that_dvc_cannot_write_is_one_sentence_before_anything_is_done(root, tmp_path, folder, locale, sentence):
    """Of a study, of a check of params and of a stage, as a bare ``dvc repro`` starts it."""
    project = tmp_path / folder
    (project / "ppe").mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(root / name, project / name)
    shutil.copytree(root / "studies", project / "studies")
    names = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(root)}
    for command in ("study", "study smoke", "params", "index synthetic"):
        call = [sys.executable, "-P", "-m", "ppe", *command.split()]  # -P: the code of this project, not of the folder
        done = subprocess.run(call, cwd=project, env=os.environ | names, capture_output=True)
        said = done.stderr.decode(errors="backslashreplace").strip()
        assert done.returncode == 1 and "\n" not in said and re.search(sentence, said), (command, said)
    assert {path.name for path in project.iterdir()} == {"ppe", "params.yaml", "dvc.yaml", "studies"}, "nothing is written"


def test_a_check_of_params_names_folders_that_are_absent(root):
    names = {"PYTHONPATH": str(root), "PPE_SHARED": "/nowhere"}
    call = [sys.executable, "-m", "ppe", "params", "paper"]
    said = subprocess.run(call, cwd=root, env=os.environ | names, capture_output=True, text=True).stdout
    assert "vggface2: /nowhere/data/vggface2 is no folder on this machine (datasets.vggface2.root)" in said.splitlines()


def make_executed(seconds, identifier):
    """A notebook as papermill leaves it, with a log on the error stream, a result and a progress bar."""
    timing = {"duration": seconds, "status": "completed"}
    parameters = new_code_cell('run = "x"', metadata={"tags": ["injected-parameters"], "papermill": timing}, id=identifier)
    log = new_output("stream", name="stderr", text=f"{seconds} images/s")
    bar = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": identifier}})
    result = new_output("execute_result", {"text/plain": "0.89"}, execution_count=2)
    metadata = {"papermill": timing, "execution": {"iopub.status.busy": str(seconds)}}
    cell = new_code_cell("f()", metadata=metadata, outputs=[log, bar, result], id="one")
    book = new_notebook(cells=[new_markdown_cell("# Title", id="zero"), parameters, cell])
    book.metadata["papermill"] = {"start_time": seconds}
    return nbformat.writes(book)


def test_two_runs_that_compute_the_same_leave_the_same_bytes():
    first, second = strip_notebook(make_executed(1.5, "aa")), strip_notebook(make_executed(2.5, "bb"))
    assert first == second == strip_notebook(first)
    book = nbformat.reads(first, as_version=4)
    nbformat.validate(book)
    assert [output.output_type for output in book.cells[2].outputs] == ["execute_result"]
    assert book.cells[1].metadata.tags == ["injected-parameters"], "the site leaves that cell out"


def test_a_result_that_differs_stays():
    assert strip_notebook(make_executed(1, "aa")) != strip_notebook(make_executed(1, "aa").replace("0.89", "0.88"))


CODE = """
import sys
from ppe.pipeline.execution import hold_stage
with hold_stage(sys.argv[1], "train@x"):
    print("went on", flush=True)
"""


def test_a_stage_waits_for_itself_says_so_and_lets_others_work(root, tmp_path):
    """A stage whose dvc was killed holds its lock until it ends; other runs are made beside it."""
    locks = tmp_path / ".checkpoints" / ".stages"
    locks.mkdir(parents=True)
    (locks / "train@x.lock.txt").write_text("process 12")
    with FileLock(locks / "train@y.lock"), FileLock(locks / "train@x.lock"):
        call = [sys.executable, "-c", CODE, str(tmp_path)]
        waiting = subprocess.Popen(call, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True)
        said = waiting.stdout.readline()
        assert said == "train@x is still at work in this folder (process 12): waiting until it ends\n"
        assert waiting.poll() is None
        with hold_stage(tmp_path, "attack@x"):
            assert (locks / "attack@x.lock.txt").read_text() == f"process {os.getpid()}"
    assert waiting.communicate(timeout=60)[0] == "went on\n" and waiting.returncode == 0
    assert (locks / "train@x.lock.txt").read_text() == f"process {waiting.pid}"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ValueError", "got 3, allowed are 1 and 2", "3_train-x stopped: got 3, allowed are 1 and 2"),
        ("KeyError", "'a'", "3_train-x stopped: KeyError: 'a'"),
        ("OSError", "[Errno 28] No space left on device", "make room and give the same command again"),
    ],
)
def test_what_stopped_a_notebook_is_one_sentence(tmp_path, name, value, sentence):
    error = new_output("error", ename=name, evalue=value, traceback=["Traceback"])
    nbformat.write(new_notebook(cells=[new_code_cell("f()", outputs=[error])]), tmp_path / "3_train-x.ipynb")
    assert sentence in execution._read_error(tmp_path / "3_train-x.ipynb", "3_train-x")


def test_half_a_notebook_gives_no_sentence(tmp_path):
    (tmp_path / "half.ipynb").write_text(json.dumps({"cells": []})[:5])
    assert execution._read_error(tmp_path / "half.ipynb", "half", patience=0.1) == ""


def test_ctrl_c_in_a_notebook_is_ctrl_c(tmp_path):
    error = new_output("error", ename="KeyboardInterrupt", evalue="", traceback=[])
    nbformat.write(new_notebook(cells=[new_code_cell("f()", outputs=[error])]), tmp_path / "x.ipynb")
    with pytest.raises(KeyboardInterrupt):
        execution._read_error(tmp_path / "x.ipynb", "x")


def test_a_full_disk_is_explained_once():
    assert explain_full_disk("x: make room") == "x: make room"
    assert explain_full_disk("File too large").endswith("make room and give the same command again")


def test_an_unknown_notebook_is_one_sentence():
    with pytest.raises(ValueError, match="notebook '5_attak' is not one of"):
        execution.run_notebook("5_attak", "tiny")


@pytest.mark.parametrize(
    ("book", "name", "sentence"),
    [
        ("3_train", "synthetic", r"run='synthetic' is not one of \['synthetic-32-fastgan-10', .*\] \(params.yaml\)"),
        ("1_faces", "synthetic-32-fastgan-10", r"dataset='synthetic-32-fastgan-10' is not one of \['synthetic'\]"),
        ("9_claims", "synthetic", r"study='synthetic' is not one of \['embedded'\] \(params.yaml\)"),
    ],
)
def test_what_a_notebook_is_not_about_is_one_sentence(root, monkeypatch, book, name, sentence):
    monkeypatch.chdir(root)
    with pytest.raises(ValueError, match=sentence):
        execution.run_notebook(book, name)


@pytest.mark.parametrize(("code", "why"), [("1 / 0", "division by zero"), ("import os; os._exit(3)", "Kernel died")])
def test_a_notebook_that_stopped_does_not_count_as_executed(root, tmp_path, monkeypatch, code, why):
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(root / name, tmp_path / name)
    (tmp_path / "ppe").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    parameters = new_code_cell('dataset = "tiny"', metadata={"tags": ["parameters"]})
    book = tmp_path / "notebooks" / "1_faces.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(code)], metadata=kernel), book)
    whole = tmp_path / "executed" / "1_faces-synthetic.ipynb"
    with pytest.raises(RuntimeError, match=f"1_faces-synthetic stopped.*{why}"):
        execution.run_notebook("1_faces", "synthetic")
    assert not whole.exists() and whole.with_suffix(".unfinished.ipynb").exists()
    nbformat.write(new_notebook(cells=[parameters, new_code_cell("dataset")], metadata=kernel), book)
    execution.run_notebook("1_faces", "synthetic")
    assert [file.name for file in whole.parent.glob("*.ipynb")] == [whole.name]


def test_the_verdicts_of_tiny_do_not_replace_those_of_the_study(root):
    assert load_params(root=root).executed_file("9_claims", "embedded").name == "9_claims.ipynb"
    assert load_params("tiny", root).executed_file("9_claims", "tiny").name == "9_claims-tiny.ipynb"


def test_threads_that_wait_do_not_spin_whoever_starts_the_command(root):
    code = ("import os, sys; sys.argv = ['ppe', 'params']; import ppe.__main__; assert 'torch' not in sys.modules; "
            "ppe.__main__.main(); print(os.environ['OMP_WAIT_POLICY'])")  # fmt: skip
    bare = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "PASSIVE"


class Terminal:
    """An error stream at a terminal that breaks where the time at work is written."""

    def __init__(self, error):
        self.error, self.written = error, ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text
        if self.error:
            raise self.error

    def flush(self):
        pass


@pytest.mark.parametrize("error", [None, OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_process_is_waited_for_whatever_becomes_of_the_terminal(monkeypatch, error):
    """It must not be left at work, with its stage's lock free."""
    terminal = Terminal(error)
    monkeypatch.setattr(sys, "stderr", terminal)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)"])
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            execution.wait_for(process, shows_time=True)
    else:
        assert execution.wait_for(process, shows_time=True) == 0
    assert process.returncode == 0 and terminal.written.startswith("0:01")
    monkeypatch.setattr(sys, "stderr", None)  # closed by 2>&-
    assert execution.wait_for(subprocess.Popen([sys.executable, "-c", ""]), shows_time=True) == 0


def test_a_notebook_that_says_nothing_has_a_likely_reason():
    assert execution._explain_status("x", 1, "a\nDeadKernelError: died\n\n").endswith("status 1: DeadKernelError: died")
    assert execution._explain_status("x", 1, " ").endswith("was its output closed?")
    assert "make room" in execution._explain_status("x", 1, "OSError: [Errno 28] No space left on device")


@pytest.mark.parametrize(("before", "said"), [("", ""), ("sys.modules['triton'] = sys", "looked for")])
def test_a_process_ends_without_a_look_for_cycles_unless_their_owner_would_complain(before, said):
    code = f"""
import sys, ppe
{before}
class Cycle:
    def __del__(self):
        print("looked for")
own = Cycle()
own.own = own
del own
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == said
