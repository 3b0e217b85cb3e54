"""A study's copy of the project: what is committed comes along, and a run whose rows are there is not made again."""

import shutil
import subprocess
import threading

import pytest
import yaml

from ppe.config import load_params
from ppe.pipeline import presets as presets
from ppe.pipeline.presets import bring_back, drop_broken_lock, has_rows, prepare_copy, run_study


def test_a_fresh_copy_goes_on_from_committed_rows(root, tmp_path):
    """As after a clone: two of the runs have rows, with the lock that says what made them."""
    project, name = tmp_path / "project", "lfw-cpu"
    shutil.copytree(root / "results" / name, project / "results" / name)
    for file in ("dvc.yaml", "params.yaml", f"studies/{name}.yaml", "ppe/__init__.py", ".dvc/config"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, project / file)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    preset = yaml.safe_load((project / "studies" / f"{name}.yaml").read_text())
    first, second, *others = [run for run in preset["runs"] if (project / "results" / name / "rows" / f"{run}.csv").exists()]
    preset["runs"][second]["kimg"] += 1
    preset["runs"]["lfw-32-fastgan-10-seed9"] = preset["runs"][first] | {"seed": 9}
    (project / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(preset, sort_keys=False))
    copy = project / ".studies" / name
    prepare_copy(project, copy, project / "studies" / f"{name}.yaml")
    assert (copy / "dvc.lock").read_bytes() == (root / "results" / name / "dvc.lock").read_bytes()
    params = load_params(root=copy)
    ready = [run for run in params.runs if has_rows(params, run)]
    assert ready == [first, *others], "another kimg, or no rows at all: made anew"
    params.rows_file(first).write_text("changed here")
    prepare_copy(project, copy, project / "studies" / f"{name}.yaml")
    assert params.rows_file(first).read_text() == "changed here", "a copy that is there is not set back"
    bring_back(copy, project / "results" / name)
    assert (project / "results" / name / "rows" / f"{first}.csv").read_text() == "changed here"


def test_one_run_that_was_asked_for_is_made_though_its_rows_are_there_and_no_other(root, tmp_path, monkeypatch):
    project, commands = tmp_path / "project", []
    for file in ("dvc.yaml", "studies/lfw-dose-cpu.yaml", ".dvc/config"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, project / file)
    shutil.copytree(root / "results" / "lfw-dose-cpu", project / "results" / "lfw-dose-cpu")
    before = {path: path.read_bytes() for path in (project / "results").rglob("*.csv")}
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    monkeypatch.setattr(presets, "_call", lambda command, *_: commands.append(" ".join(command)))
    monkeypatch.setattr(presets, "note_costs", lambda params: None)
    for name, stage in {"lfw-32-fastgan-10": "attack@lfw-32-fastgan-10", "one": "dose@one"}.items():
        commands.clear()
        run_study(project, "lfw-dose-cpu", name)
        made = [command.removeprefix("dvc repro ") for command in commands if command.startswith("dvc")]
        assert made == ["code", stage, *(f"--single-item {end}" for end in ("collect", "figures", "claims"))]
    assert {path: path.read_bytes() for path in (project / "results").rglob("*.csv")} == before
    with pytest.raises(ValueError, match=r"'two' is not one of \['lfw-32-fastgan-10', 'none', .*studies/lfw-dose-cpu.yaml"):
        run_study(project, "lfw-dose-cpu", "two")


def test_half_a_lock_that_a_killed_dvc_left_is_removed_and_a_whole_one_stays(tmp_path):
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    assert not drop_broken_lock(tmp_path)
    lock.parent.mkdir(parents=True)
    lock.write_text("{}")
    assert not drop_broken_lock(tmp_path) and lock.exists()
    for member_group in ("", '{"read": {"data'):
        lock.write_text(member_group)
        assert drop_broken_lock(tmp_path, patience=0.1) and not lock.exists()


def test_half_a_lock_that_a_living_dvc_is_writing_stays(tmp_path):
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    writer = threading.Timer(0.2, lock.write_text, ["{}"])
    writer.start()
    assert not drop_broken_lock(tmp_path, patience=5.0) and lock.read_text() == "{}"
    writer.join()
