"""Contracts between the notebooks and the lists of dependencies and of tests."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib

import nbformat
import pytest
import yaml

NOTEBOOKS = [
    "1_faces", "2_embed", "3_train", "4_generate", "5_attack", "6_evaluate", "7_sensitivity", "8_overrepresentation", "9_claims",
]  # fmt: skip


def read_notebook(root, name):
    return nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_prose_with_short_cells_and_no_outputs(root, name):
    book = read_notebook(root, name)
    nbformat.validate(book)
    code = [c for c in book.cells if c.cell_type == "code"]
    assert book.cells[0].cell_type == "markdown" and "**Question.**" in book.cells[0].source
    assert [("parameters" in c.metadata.get("tags", [])) for c in code].index(True) == 0
    assert sum("parameters" in c.metadata.get("tags", []) for c in code) == 1
    for line in code[0].source.splitlines():
        assert re.fullmatch(r'\w+ = "tiny"  # .+', line)
    for cell in code:
        assert not cell.outputs and cell.execution_count is None
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 12
        assert not re.search(r"^\s*(def|class|try)\b|^\s*[!%]|^    .*\n {8,}for ", cell.source, re.M)
    assert len({c["id"] for c in book.cells}) == len(book.cells)
    assert len(code) <= 16
    assert sum(len(c.source.split()) for c in book.cells if c.cell_type == "markdown") <= 1000


def test_what_dvc_leaves_beside_the_results_is_not_seen_by_git(root, tmp_path):
    """The page of ``dvc plots show``, and a partial file of a dvc that was killed."""
    for name in (".gitignore", ".dvcignore", ".dvc/.gitignore", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(root / name, tmp_path / name)
    (tmp_path / "headline.csv").write_text("run,auc\none,0.7\n")
    (tmp_path / "dvc.yaml").write_text("plots: [headline.csv: {x: auc, y: run}]\n")
    who = {f"GIT_{role}_{key}": "test" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | who, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        run("git", *command)
    run(sys.executable, "-m", "dvc", "plots", "show")
    (tmp_path / "headline.csv.PqmZ3TvD.tmp").touch()
    assert (tmp_path / "dvc_plots" / "index.html").exists() and run("git", "status", "--porcelain") == ""


def test_environment_and_constraints_name_what_pyproject_names(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((root / "environment.yml").read_text())
    assert f"python{project['requires-python']}" in environment["dependencies"]
    assert environment["dependencies"][-1] == {"pip": ["-e .[faces,privacy]"]}, "the packages stand in pyproject.toml alone"
    pinned = {
        re.split(r"[=@ ]", line)[0].lower().replace("_", "-") for line in (root / "constraints.txt").read_text().splitlines()
    }
    extras = project["optional-dependencies"]
    named = ("test", "faces", "privacy", "onnx")
    wanted = project["dependencies"] + [requirement for name in named for requirement in extras[name]]
    for requirement in wanted:
        assert re.split(r"[<>=]", requirement)[0].lower() in pinned, requirement


def test_every_dependency_has_a_reason(root):
    text = (root / "pyproject.toml").read_text().split("dependencies = [")[1].split("[tool.setuptools]")[0]
    lines = [line for line in text.splitlines() if line.strip().startswith('"')]
    assert len(lines) > 15 and all("  # " in line for line in lines)


def test_every_test_that_the_table_names_exists(root):
    """tests/README.md: what was tried, what happens, and the test that keeps it."""
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)::(test_\w+)`( \(hard\))?", (root / "tests" / "README.md").read_text())
    assert len(named) > 40
    for file, name, hard in named:
        code = (root / "tests" / file).read_text()
        found = re.search(rf"((?:^(?!def |\n).*\n)*)^def {name}[(]", code, re.M)
        assert found, f"{file}::{name}"
        is_hard = "mark.hard" in found[1] or re.search(r"^pytestmark = .*mark\.hard", code, re.M)
        assert bool(is_hard) == bool(hard), f"{file}::{name}: hard or not?"


@pytest.mark.parametrize(
    "name", [
        *("appearance", "attack_trials", "audit_calibration", "coverage", "data_share_power", "dlib_outputs", "drawn_people"),
        *("embedders", "lfw_pairs", "nearest", "pipeline", "train"),
    ],
)
def test_a_bench_finds_what_it_measures(root, name):
    """Nothing else runs the benches, so that a moved function would be noticed by whoever needs the number."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", root / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main)
