"""What a change makes stale, asked of the graph of a finished study (`dvc status`), and what a study does when it is stopped."""

import json
import os
import re
import signal
import time

import nbformat
import pytest
import yaml
from dvc.repo import Repo
from smoke_study import alone, copy_study, hash_outputs, kill, list_survivors, run, start, wait_for

from ppe.pipeline.dvc_lock import drop_broken_lock

pytestmark = pytest.mark.timeout(1600)  # beside the whole graph, on a machine that may be busy

NEW_GENERATOR = '''"""FastGAN under another name, as a reader's own generator would be added."""

from ppe.generators.fastgan import build

__all__ = ["build"]
'''


@pytest.fixture
def study(finished, tmp_path):
    return copy_study(finished, tmp_path / "smoke")


def list_stale(study):
    """Names of the stages that ``dvc repro`` would run, apart from ``index``, which always looks at the photos again."""
    status = json.loads(run(["dvc", "status", "--json"], study).splitlines()[-1])
    return {stage for stage in status if not stage.startswith("index@")}


def change(study, name, *replacements):
    """Replace text in a file of the study; each must be there."""
    text = (study[0] / name).read_text()
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    (study[0] / name).write_text(text)


def test_nothing_is_stale_in_a_finished_study(finished):
    with alone(finished):
        assert list_stale(finished) == set()


def test_mending_prose_trains_nothing(study):
    path = study[0] / "notebooks" / "3_train.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells[0].source += "\n\nA mended sentence."
    nbformat.write(book, path)
    assert list_stale(study) == {"code"}
    output = run(["dvc", "repro"], study)
    running = [line for line in output.splitlines() if line.startswith("Running stage")]
    assert running == ["Running stage 'code':", "Running stage 'index@tiny':"]


def test_a_generators_params_make_its_own_runs_stale_and_no_other(study):
    """Two runs in the graph, as dvc sees them: the second is not computed, so only its own missing outputs are told."""
    file = study[0] / "params.yaml"
    content = yaml.safe_load(file.read_text())
    content["runs"]["other"] = content["runs"]["tiny"] | {"generator": "stylegan2"}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    before = list_stale(study)
    new = {f"{stage}@other" for stage in ("train", "generate", "attack", "evaluate", "sensitivity")}
    assert before == new | {"collect", "claims", "defences@tiny"}, "a new run, and what sums up"
    path_weight = re.search(r"path_length_weight: [\d.]+", (study[0] / "params.yaml").read_text())[0]
    change(study, "params.yaml", (path_weight, "path_length_weight: 3.5"))
    assert list_stale(study) == before, "StyleGAN2's params are not in FastGAN's runs"
    change(study, "params.yaml", ("r1_gamma: 0.2", "r1_gamma: 0.3"))
    own = {f"{stage}@tiny" for stage in ("train", "generate", "attack", "sensitivity", "train-experiment")}
    own |= {"train-experiment@tiny-none"}
    assert list_stale(study) == before | own
    # The other way round, dvc's words on a run that was never made do not tell: what it looks at does.
    tracked = {stage.name: {name for dep in stage.deps for name in getattr(dep, "params", ())}
               for stage in Repo(str(study[0])).index.stages}  # fmt: skip
    assert "generators.fastgan" in tracked["train@tiny"] and "generators.stylegan2" not in tracked["train@tiny"]
    assert "generators.stylegan2" in tracked["train@other"] and "generators.fastgan" not in tracked["train@other"]


def test_adding_a_generator_makes_no_row_stale(study):
    """A module, an entry in the registry, a section and its class: no run of another generator is touched."""
    (study[0] / "ppe" / "generators" / "mine.py").write_text(NEW_GENERATOR)
    change(study, "ppe/generators/__init__.py", ('GENERATORS = {', 'GENERATORS = {"mine": "ppe.generators.mine", '))
    section = re.search(r"  fastgan:\n((?:    .*\n)+)", (study[0] / "params.yaml").read_text())[0]
    change(study, "params.yaml", (section, section + section.replace("fastgan:", "mine:")))
    assert list_stale(study) == set()


def test_a_training_that_was_killed_ends_as_one_that_never_was(study, finished):
    """kill -9 of dvc and all below it, once every generator has a checkpoint; make test-hard does it to every stage, thrice."""
    folder = study[0]
    for checkpoints in (folder / ".checkpoints").glob("tiny-*"):
        for file in checkpoints.glob("*/*"):
            file.unlink()
    process = start(["dvc", "repro", "-f", "-s", "train@tiny"], study, folder / "log")
    wait_for(lambda: len(list((folder / ".checkpoints").glob("tiny-*/*/checkpoint.pt"))) == 3, process)
    kill(process)
    drop_broken_lock(folder)  # a kill may leave half of it, and dvc alone does not mend that
    assert hash_outputs(folder) != hash_outputs(finished[0]), "the stage's outputs were gone"
    run(["dvc", "repro", "--no-run-cache"], study)
    assert hash_outputs(folder) == hash_outputs(finished[0])
    assert list_survivors(folder) == []


def test_a_study_that_cannot_go_on_ends_with_one_sentence(study):
    change(study, "params.yaml", ("    num_identities: 4\n", "    num_identities: 400\n"))
    said = run(["python", "-m", "ppe", "study"], study, wanted=1).splitlines()
    assert "tiny has 15 identities to attack with at least 3 + 3 photos, but 3 x 400 are asked for" in said[-1]
    assert not any("Traceback" in line for line in said)
    change(study, "params.yaml", ("    num_identities: 400\n", "    num_identities: many\n"))
    assert run(["python", "-m", "ppe", "study"], study, wanted=1).splitlines() == [
        "runs.tiny.num_identities='many': Input should be a valid integer (params.yaml)"
    ]


@pytest.mark.hard
def test_a_second_repro_at_once_is_refused_and_ctrl_c_says_how_to_go_on(study):
    folder = study[0]
    change(study, "params.yaml", ("kimg: 0.5", "kimg: 500.0"))
    process = start(["python", "-m", "ppe", "study"], study, folder / "log")
    wait_for(lambda: len(list((folder / ".checkpoints").glob("tiny-*/*/checkpoint.pt"))) == 3, process)
    refused = run(["dvc", "repro"], study, wanted=255)
    assert "is busy, it is being blocked by" in refused and "Running stage 'train@" not in refused
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # to the group, as a terminal does
    assert process.wait(timeout=60) == 130
    print(f"ended {time.monotonic() - started:.1f} s after Ctrl-C")
    assert time.monotonic() - started < 20
    assert (folder / "log").read_text().rstrip().splitlines()[-1].startswith("Stopped by Ctrl-C. Stages that ended are kept")
    time.sleep(1)
    assert list_survivors(folder) == []
