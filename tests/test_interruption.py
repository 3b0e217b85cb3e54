"""kill -9 at three moments of every stage, of all processes or of dvc alone: then `dvc repro`, and the same bytes.

A kill can leave half of dvc's own lock file, which no dvc repro mends; `python -m ppe study` does first what is done here.

Takes about half an hour on two cores, so only `make test-hard` runs it; test_graph.py keeps one kill.
"""

import shutil
import time

import pytest
from smoke_study import copy_study, hash_outputs, kill, list_survivors, run, start

from ppe.pipeline.dvc_lock import drop_broken_lock

pytestmark = [pytest.mark.hard, pytest.mark.timeout(2400)]

STAGES = [
    *("code", "index@tiny", "faces@tiny", "embed@tiny", "train@tiny", "generate@tiny", "attack@tiny", "evaluate@tiny"),
    *("sensitivity@tiny", "train-experiment@tiny", "embed-experiment@tiny", "overrepresentation@tiny", "collect", "claims"),
]
KILLS = [(0.15, False), (0.5, False), (0.85, False), (0.5, True)]
"""When, as a share of the time that the stage takes when nobody kills it, and whether dvc alone is killed."""


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory):
    return copy_study(finished, tmp_path_factory.mktemp("killed") / "smoke")


@pytest.fixture(scope="module")
def expected(finished):
    return hash_outputs(finished[0])


@pytest.fixture(scope="module")
def seconds():
    """How long each stage took when nobody killed it, filled by the first test on it."""
    return {}


def force(stage, study):
    """The command that runs a stage alone and from its beginning, whatever is there already."""
    if stage.startswith(("train@", "train-experiment@")):
        shutil.rmtree(study[0] / ".checkpoints")
    return ["dvc", "repro", "-f", "-s", stage]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_run_again_makes_the_same_bytes(study, expected, seconds, stage):
    started = time.monotonic()
    run(force(stage, study), study)
    seconds[stage] = time.monotonic() - started
    print(f"\n{stage}: {seconds[stage]:.1f} s", flush=True)
    assert hash_outputs(study[0]) == expected


@pytest.mark.parametrize(("moment", "alone"), KILLS, ids=["early", "midway", "late", "midway-dvc-alone"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_killed_ends_as_one_that_never_was(study, expected, seconds, stage, moment, alone):
    folder = study[0]
    if stage not in seconds:
        test_a_stage_that_is_run_again_makes_the_same_bytes(study, expected, seconds, stage)
    process = start(force(stage, study), study, folder / "log")
    time.sleep(moment * seconds[stage])
    was_running = process.poll() is None
    assert was_running or moment > 0.5, "the kill came after the stage's end"
    orphans = kill(process, alone)
    started, had_half_a_lock = time.monotonic(), drop_broken_lock(folder)
    output = run(["dvc", "repro", "--no-run-cache"], study)
    waited = "is still at work in this folder" in output
    print(f"\n{stage} at {moment}: running {was_running}, {len(orphans)} lived on, waited {waited}, "
          f"half a lock {had_half_a_lock}, {time.monotonic() - started:.1f} s to go on", flush=True)
    assert hash_outputs(folder) == expected
    assert list_survivors(folder) == []
    assert not [path for path in (folder / "executed").iterdir() if path.suffix == ".partial"]
