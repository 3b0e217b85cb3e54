"""Runs side by side: no file is written by two at once, no stage starts before what it reads, and the bytes are the same."""

import re
import threading
import time

import pytest
import yaml
from smoke_study import hash_outputs, make_study, run

from ppe.config.params import load_study
from ppe.pipeline.side_by_side import plan_chains, plan_tables, reproduce_lines, reproduce_tables

STUDIES = ["smoke", "lfw-overrepresentation-cpu", "lfw-cpu"]


@pytest.fixture(params=STUDIES)
def params(request, root):
    return load_study(request.param, root)


@pytest.fixture
def files(root, params):
    """What a stage (str, ``train@<run>``) reads and writes, of dvc.yaml: a function that returns two sets of str."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]

    def list_files(stage):
        name, _, key = stage.partition("@")
        content = stages[name]
        item = getattr(params, content["foreach"].strip("${}"))[key] if "foreach" in content else None
        content = content.get("do", content)

        def expand(path):
            path = path.replace("${key}", key).replace("${study}", params.study)
            return re.sub(r"\$\{item\.(\w+)\}", lambda match: getattr(item, match[1]), path)

        paths = [[next(iter(path)) if isinstance(path, dict) else path for path in content.get(part, [])]
                 for part in ("deps", "outs")]  # fmt: skip
        return tuple({expand(path) for path in part} for part in paths)

    return list_files


def test_no_two_chains_at_one_time_touch_a_file_that_one_of_them_writes(params, files):
    first, chains, later = plan_chains(params, list(dict.fromkeys([*params.runs, *params.experiments])))
    assert first[0] == "code"
    runs = [chain for chain in chains if chain[-1].startswith("sensitivity@")]
    for together in (chains, runs + later, plan_tables(params)):
        touched = [[set.union(*part) for part in zip(*map(files, chain), strict=True)] for chain in together]
        for number, (_, writes) in enumerate(touched):
            for reads, others in touched[:number] + touched[number + 1 :]:
                assert not writes & (reads | others)


def test_a_stage_starts_when_what_it_reads_is_there(params, files):
    """All stages of the lines are made, and nothing that a later one writes is read."""
    first, *others = plan_chains(params, list(dict.fromkeys([*params.runs, *params.experiments])))
    upstream = [f"{stage}@{name}" for name in params.datasets for stage in ("index", "faces")]
    planned = [first[0], *upstream, *first[1:], *(stage for chains in others for chain in chains for stage in chain)]
    wanted = {f"{stage}@{run}" for run in params.runs for stage in ("train", "generate", "attack", "evaluate", "sensitivity")}
    wanted |= {f"{stage}@{name}" for name in params.experiments for stage in ("train-experiment", "overrepresentation")}
    assert wanted <= set(planned) and len(planned) == len(set(planned))
    written = {path for stage in planned for path in files(stage)[1]}
    there = set()
    for stage in planned:
        reads, writes = files(stage)
        assert reads & written <= there, stage
        there |= writes


def test_every_stage_of_the_graph_is_made(root, params):
    params.datasets["unused"] = next(iter(params.datasets.values()))
    params.audits["own"] = None  # only its name is asked
    first, *others = plan_chains(params, list(dict.fromkeys([*params.runs, *params.experiments])))
    planned = {*first, "collect", *(stage for chains in [*others, plan_tables(params)] for chain in chains for stage in chain)}
    planned |= {f"{stage}@{name}" for name in params.datasets for stage in ("index", "faces") if f"embed@{name}" in planned}
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    lines = {name: getattr(params, content["foreach"].strip("${}")) for name, content in stages.items() if "foreach" in content}
    assert planned == {name if name not in lines else f"{name}@{line}" for name in stages for line in lines.get(name, [""])}


def test_claims_and_trade_offs_are_made_at_once_when_all_rows_are_collected(root, tmp_path, capsys):
    params = load_study("smoke", root)
    params._base = tmp_path
    call = Recorder()
    reproduce_tables(call, params, 2)
    assert call.asked[0] == ("repro", "--single-item", "collect") and call.most == 2
    assert sorted(arguments[3:] for arguments in call.asked[1:]) == [("claims",), ("defences@tiny",)]
    assert "claims begins; what it prints" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="what went wrong"):
        reproduce_tables(Recorder(fails="claims"), params, 2)
    assert "claims has failed: what went wrong (tiny will end" in capsys.readouterr().out


def test_the_baseline_of_an_experiment_that_is_asked_for_is_there(root):
    params = load_study("smoke", root)
    params.experiments["own"] = params.experiments["tiny"]
    _, chains, last = plan_chains(params, ["own"])
    names = ["train-experiment", "embed-experiment"]
    assert chains == [[f"{stage}@{name}" for stage in names] for name in ("tiny-none", "own")]
    assert last == [["overrepresentation@own"]]


class Recorder:
    """Stands in for dvc: notes what it is asked, how many are at work at once, and fails where it is told to."""

    def __init__(self, fails=""):
        self.asked, self.now, self.most, self.fails, self.lock = [], 0, 0, fails, threading.Lock()

    def __call__(self, *arguments, log=None):
        with self.lock:
            self.asked.append(arguments)
            self.now += 1
            self.most = max(self.most, self.now)
        if self.fails in arguments:
            raise SystemExit("what went wrong")
        time.sleep(0.3)
        with self.lock:
            self.now -= 1


def test_as_many_work_at_once_as_there_are_jobs(root, tmp_path, capsys):
    params = load_study("lfw-cpu", root)
    params._base = tmp_path
    call, ended = Recorder(), []
    reproduce_lines(call, params, list(params.runs), 3, ended.append)
    assert call.most == 3 and sorted(ended) == sorted(params.runs)
    assert call.asked[0][:2] == ("repro", "code")
    assert all(arguments[:3] == ("--wait-for-lock", "repro", "--single-item") for arguments in call.asked[1:])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 * len(params.runs) and all("begins; what it prints" in line or "has ended" in line for line in said)


def test_where_a_run_fails_no_other_starts_and_its_sentence_is_the_end(root, tmp_path, capsys):
    params = load_study("lfw-cpu", root)
    params._base = tmp_path
    runs, ended = list(params.runs), []
    call = Recorder(fails=f"train@{runs[0]}")
    with pytest.raises(SystemExit, match="what went wrong"):
        reproduce_lines(call, params, runs, 2, ended.append)
    assert len(call.asked) == 3 and len(runs) > 2, "what they stand on, and the two that began at once"
    assert ended == [runs[1]], "what had begun goes on to its end, and is brought back"
    assert f"{runs[0]} has failed: what went wrong ({runs[1]} will end, and nothing else begins)" in capsys.readouterr().out


def test_experiments_are_looked_at_when_all_are_trained_and_runs_need_not_be(root, tmp_path):
    params = load_study("smoke", root)
    params._base = tmp_path
    call, ended = Recorder(), []
    reproduce_lines(call, params, ["tiny", "tiny-none"], 3, ended.append)
    first = [arguments[3] for arguments in call.asked[1:]]
    assert sorted(first[:3]) == ["train-experiment@tiny", "train-experiment@tiny-none", "train@tiny"]
    assert sorted(first[3:]) == ["overrepresentation@tiny", "overrepresentation@tiny-none"]
    assert sorted(ended) == ["tiny", "tiny", "tiny-none"], "the run, and both experiments when their last stage is made"


@pytest.mark.hard
def test_runs_side_by_side_make_the_same_bytes(root, finished, tmp_path):
    study = make_study(root, tmp_path / "smoke")
    said = run(["python", "-m", "ppe", "study", "--jobs", "2"], study)
    assert "tiny (train, generate, attack, evaluate, sensitivity) has ended" in said
    assert hash_outputs(study[0]) == hash_outputs(finished[0])
