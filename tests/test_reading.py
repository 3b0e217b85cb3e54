"""Somebody reads: the notebooks on a fresh copy of the project, by their default parameters, as JupyterLab runs them."""

import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from smoke_study import hash_outputs, run

from ppe.pipeline.project_copy import prepare_copy

NOTEBOOKS = [
    *("1_faces", "2_embed", "3_train", "4_generate", "5_attack", "6_evaluate", "7_sensitivity", "8_overrepresentation"),
    "9_claims",
]
BEFORE = {
    "8_overrepresentation": [
        (command, experiment) for experiment in ("tiny-none", "tiny") for command in ("train-experiment", "embed-experiment")
    ],
    "9_claims": [("collect", "tiny")],
}
"""What a reader is told to run first: commands of ``python -m ppe``."""
EVERYTHING = ("data", "models", "results", "sources", "executed", "notebooks", "ppe", "studies")
"""Folders that reading must leave as they are; ``scratch`` is where it may write."""


@pytest.fixture
def fresh(root, tmp_path):
    """A clone in which nothing was run, with the committed results of a study: folder."""
    prepare_copy(root, tmp_path / "clone", None)
    (tmp_path / "clone" / "results" / "embedded" / "attacks.csv").write_text("committed\n")
    return tmp_path / "clone"


def execute(folder, name, place, monkeypatch):
    """Run a notebook with its default parameters from a folder: its error in one line, or ""."""
    monkeypatch.setenv("PYTHONPATH", str(folder))
    book = nbformat.read(folder / "notebooks" / f"{name}.ipynb", as_version=4)
    client = NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder / place)}})
    try:
        client.execute()
    except CellExecutionError as error:
        assert str(error).rstrip().endswith(error.evalue), "the sentence is what a reader sees last"
        return f"{error.ename}: {error.evalue}"
    return ""


@pytest.mark.parametrize(("name", "lacks"), [
    ("2_embed", "data/faces/tiny/faces.npy is not there yet: run notebooks/1_faces.ipynb, which makes it"),
    ("3_train", "data/faces/tiny/faces.csv is not there yet: run notebooks/1_faces.ipynb, which makes it"),
    ("4_generate", "models/generators/tiny/members.csv is not there yet: run notebooks/3_train.ipynb, which makes it"),
    ("5_attack", "data/faces/tiny/faces.csv is not there yet: run notebooks/1_faces.ipynb, which makes it"),
    ("6_evaluate", "data/attacks/tiny/scores.csv is not there yet: run notebooks/5_attack.ipynb, which makes it"),
    ("7_sensitivity", "data/attacks/tiny/photos.csv is not there yet: run notebooks/5_attack.ipynb, which makes it"),
    ("8_overrepresentation",
     "models/experiments/tiny/split.csv is not there yet: run `python -m ppe train-experiment tiny`, which makes it"),
    ("9_claims", "results/smoke/attacks.csv is not there yet: run `python -m ppe collect tiny`, which makes it"),
])  # fmt: skip
def test_a_notebook_that_is_opened_first_says_what_makes_what_it_lacks(fresh, name, lacks, monkeypatch):
    before = hash_outputs(fresh, EVERYTHING)
    said = execute(fresh, name, "notebooks", monkeypatch)
    assert said == f"FileNotFoundError: {fresh}/scratch/{lacks}"
    assert hash_outputs(fresh, EVERYTHING) == before and not (fresh / "scratch").exists()


@pytest.mark.hard
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("place", ["notebooks", "."])
def test_all_notebooks_run_in_order_and_write_to_scratch_alone(fresh, place, monkeypatch):
    before = hash_outputs(fresh, EVERYTHING)
    for name in NOTEBOOKS:
        for command in BEFORE.get(name, ()):
            environment = {"PATH": "/usr/bin", "PYTHONPATH": str(fresh)}
            run([sys.executable, "-m", "ppe", *command], (fresh / place, environment))
        assert execute(fresh, name, place, monkeypatch) == "", name
    assert hash_outputs(fresh, EVERYTHING) == before
    assert (fresh / "scratch" / "results" / "smoke" / "figures" / "roc.png").is_file()
