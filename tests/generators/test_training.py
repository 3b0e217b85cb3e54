"""The trainer: learning, resuming, errors, and several processes."""

import itertools
import json
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from ppe.generators import GENERATORS, build, load_trainer
from ppe.generators.sampling import load_generator, sample_faces
from ppe.generators.training import groups
from ppe.generators.training.checkpoints import fingerprint, publish_training
from ppe.generators.training.loop import train_generator


@pytest.mark.parametrize("family", list(GENERATORS))
def test_training_learns_the_mean_colour_and_logs_its_losses(family, small, photos, tmp_path):
    settings = small[family] | {"ada_kimg": 20.0}  # slow: the colours of a strong augmentation leak into the faces
    losses = train_generator(photos, family=family, settings=settings, kimg=2.4, seed=3, folder=tmp_path)
    assert [row["images"] for row in losses][-1] == 2400
    assert set(losses[-1]) == {"images", *load_trainer(family).LOSSES}
    if family == "fastgan":
        assert losses[-1]["loss_redraw"] < losses[0]["loss_redraw"] and losses[-1]["p"] == 0
    elif family == "edm":
        assert losses[-1]["loss_denoising"] < losses[0]["loss_denoising"] / 2
    else:
        assert losses[-1]["path_length"] > 0 and 0 < losses[-1]["p"] <= 1
    names = sorted(p.name for p in tmp_path.glob("snapshot-*"))
    assert names == ["snapshot-000000000.safetensors", "snapshot-000001200.safetensors", "snapshot-000002400.safetensors"]
    mean = photos.float().mean(dim=(0, 2, 3))
    error = []
    for name in (names[0], names[-1]):
        faces = torch.cat(list(sample_faces(load_generator(tmp_path / name, family, 32, small[family]), range(64))))
        error.append((faces.float().mean(dim=(0, 2, 3)) - mean).abs().mean().item())
    print("distance of the mean colour before and after:", error)
    assert error[1] < error[0] / 2


@pytest.mark.parametrize("family", list(GENERATORS))
def test_an_interrupted_training_ends_with_the_same_bytes(family, small, photos, tmp_path, train_until):
    whole, halted = tmp_path / "whole", tmp_path / "halted"
    recipe = {"images": photos, "family": family, "settings": small[family], "kimg": 0.4, "seed": 3}
    train_generator(**recipe, folder=whole)
    train_until(31, **recipe, folder=halted)
    train_generator(**recipe, folder=halted)
    for file in sorted(whole.glob("*.safetensors")):
        assert (halted / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("family", list(GENERATORS))
def test_a_shorter_training_ends_with_the_bytes_of_the_longer_ones_snapshot(family, small, photos, tmp_path):
    """So the defence ``stop-0.5`` gives the generator that stood in the middle of the whole training."""
    recipe = {"images": photos, "family": family, "settings": small[family], "seed": 3}
    train_generator(**recipe, kimg=0.4, folder=tmp_path / "whole")
    train_generator(**recipe, kimg=0.2, folder=tmp_path / "stopped")
    name = "snapshot-000000200.safetensors"
    assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("family", list(GENERATORS))
@pytest.mark.parametrize("limit", [2**15, 2**19], ids=["snapshot", "checkpoint"])
def test_a_full_disk_leaves_no_partial_file_and_the_training_resumes(family, limit, small, photos, tmp_path):
    """A limit on file size acts like a full disk; the larger limit admits the first snapshot but no checkpoint."""
    recipe = {"family": family, "settings": small[family] | {"checkpoint_seconds": 0.0}, "kimg": 0.1, "seed": 3}
    train_generator(photos, **recipe, folder=tmp_path / "whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match="could not be written .* make room, then run it again"):
            train_generator(photos, **recipe, folder=tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "full").glob("*.partial"))
    for file in (tmp_path / "full").glob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "whole" / file.name).read_bytes(), "complete or absent"
    assert not (tmp_path / "full" / "finished.json").exists()
    train_generator(photos, **recipe, folder=tmp_path / "full")
    for file in (tmp_path / "whole").glob("*.safetensors"):
        assert (tmp_path / "full" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("family", list(GENERATORS))
def test_a_loss_that_is_not_finite_is_an_error_and_keeps_the_snapshots(family, small, photos, tmp_path):
    settings = small[family] | {"learning_rate": 1e30}
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train_generator(photos, family=family, settings=settings, kimg=0.4, seed=3, folder=tmp_path, label="run")
    assert (tmp_path / "snapshot-000000000.safetensors").exists()


def test_wrong_images_and_unknown_models_are_refused(small):
    with pytest.raises(ValueError, match="uint8"):
        settings = small["fastgan"]
        train_generator(torch.rand(4, 3, 32, 32), family="fastgan", settings=settings, kimg=1, seed=0, folder="/tmp/never")
    with pytest.raises(ValueError, match="is not one of"):
        build("nogan", 32, small["fastgan"])


def test_publishing_keeps_the_training_and_deletes_other_recipes_of_the_run(tmp_path):
    (tmp_path / "run-0123" / "a").mkdir(parents=True)
    for other in ("run-4567", "run-10-4567"):
        (tmp_path / other).mkdir()
    (tmp_path / "run-0123" / "a" / "snapshot-1.safetensors").write_bytes(b"x")
    (tmp_path / "run-0123" / "a" / "finished.json").write_bytes(b"[]")
    publish_training(tmp_path / "run-0123", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out" / "a").iterdir()] == ["snapshot-1.safetensors"]
    assert (tmp_path / "run-0123").exists() and (tmp_path / "run-10-4567").exists(), "another run's recipe"
    assert not (tmp_path / "run-4567").exists(), "another recipe of this run"


def test_a_finished_training_is_not_repeated(small, photos, tmp_path):
    first = train_generator(photos, family="fastgan", settings=small["fastgan"], kimg=0.1, seed=3, folder=tmp_path)
    times = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert "checkpoint.pt" not in times
    assert train_generator(photos, family="fastgan", settings=small["fastgan"], kimg=0.1, seed=3, folder=tmp_path) == first
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == times


TRAIN = """
import json, sys, torch
from ppe.generators import load_trainer
from torch.distributed import is_initialized, get_rank
torch.set_num_threads(1)
images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
for family, settings in json.loads(sys.argv[1]).items():
    trainer = load_trainer(family)
    state = trainer.start_training(images, family, settings, 1, "cpu")
    losses = []
    for step in range(20):
        before = state["recent"]
        trainer.train_step(state, step, settings, 1)
        values = state["recent"] - before
        losses.append((state["fabric"].all_reduce(values, reduce_op="mean") if state["fabric"] else values).tolist())
    modules = {f"{n}.{k}": v.clone() for n in ("generator", *trainer.KEPT) for k, v in state[n].named_parameters()}
    torch.save({"losses": losses, "modules": modules}, f"{sys.argv[2]}/{family}-{state['world']}-{state['rank']}.pt")
"""


@pytest.fixture(scope="module")
def shared_settings(small):
    """Settings of each family's trainings by one process and by two."""
    # At three times this rate rounding grows past 1e-3 within the twenty steps.
    return {family: small[family] | {"augment": [], "batch_size": 16, "learning_rate": 1e-3} for family in GENERATORS}


@pytest.fixture(scope="module")
def trained_by_two(shared_settings, tmp_path_factory, root):
    """A folder of what one process and two trained, of each family: these start once for all."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "train.py").write_text(TRAIN)
    call = [str(folder / "train.py"), json.dumps(shared_settings), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for launcher in ([], many):
        subprocess.run([sys.executable, *launcher, *call], env=environment, check=True, cwd=root, capture_output=True)
    return folder


@pytest.mark.parametrize("family", list(GENERATORS))
def test_two_processes_train_the_model_that_one_trains(family, shared_settings, trained_by_two):
    """Under torchrun both have equal parameters, and the losses of one process (but for FastGAN, whose batch norm sees half)."""
    settings, names = shared_settings[family], ("1-0", "2-0", "2-1")
    one, first, second = (torch.load(trained_by_two / f"{family}-{name}.pt", weights_only=True) for name in names)
    for name, value in first["modules"].items():
        assert torch.equal(value, second["modules"][name]), name
    untrained = build(family, 32, settings)[0].state_dict()
    name = {"stylegan2": "constant", "fastgan": "to_rgb.weight", "edm": "net.out.weight"}[family]
    assert not torch.equal(first["modules"][f"generator.{name}"], untrained[name])
    if family != "fastgan":
        difference = (torch.tensor(one["losses"]) - torch.tensor(first["losses"])).abs().amax(0)
        difference = dict(zip(load_trainer(family).LOSSES, difference.tolist(), strict=True))
        print("largest difference of 20 steps:", difference)
        assert max(difference.values()) < 1e-3


def test_a_fingerprint_changes_with_one_grey_level(photos):
    import pandas as pd

    members = pd.DataFrame({"group": ["a"], "image_id": ["1"], "identity": ["x"]})
    changed = photos.clone()
    changed[3, 1, 5, 5] += 1
    assert fingerprint(members, {"a": photos}) == fingerprint(members, {"a": photos.clone()})
    assert fingerprint(members, {"a": photos}) != fingerprint(members, {"a": changed})


def test_weights_that_are_not_finite_are_not_saved(photos, small, tmp_path):
    """The loss stays finite one step longer than the weights."""
    from ppe.generators.training.checkpoints import save_snapshot
    from ppe.generators.training.gan import start_training

    state = start_training(photos, "stylegan2", small["stylegan2"], 1, "cpu")
    save_snapshot(state, tmp_path / "good.safetensors", "{}", 1)
    assert load_file(tmp_path / "good.safetensors")
    with torch.no_grad():
        next(state["average"].parameters()).fill_(float("nan"))
    assert not save_snapshot(state, tmp_path / "bad.safetensors", "{}", 1)
    assert not (tmp_path / "bad.safetensors").exists()


def test_a_group_trained_beside_others_has_the_bytes_of_one_trained_alone(photos, small, tmp_path):
    from ppe.generators.training.groups import list_jobs, train_groups

    images = {"a": photos, "b": photos.flip(3), "c": photos.flip(2)}
    recipe = {"family": "fastgan", "settings": small["fastgan"], "kimg": 0.2, "description": "{}"}
    jobs = list_jobs(images, 2, tmp_path, "run", **recipe)
    assert [job["seed"] for job in jobs] == [6, 7, 8]
    jobs = jobs[:2]
    losses = train_groups(jobs, "cpu", "run")
    assert len(losses) == 2 and losses[0][-1]["images"] == 200 and losses[0] != losses[1]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_generator(**{**jobs[1], "folder": tmp_path / "alone"})
    torch.set_num_threads(threads)
    name = "snapshot-000000200.safetensors"
    assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert train_groups(jobs, "cpu", "run") == losses, "nothing is repeated"


def test_an_error_in_a_training_process_is_raised_in_the_parent(photos, small, tmp_path):
    from ppe.generators.training.groups import list_jobs, train_groups

    recipe = {"family": "fastgan", "settings": small["fastgan"] | {"learning_rate": 1e30}, "kimg": 0.4}
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train_groups(list_jobs({"a": photos, "b": photos}, 1, tmp_path, "run", **recipe), "cpu", "run")


def test_a_step_mixes_styles_of_different_latents_none_of_which_is_published(photos, small, monkeypatch):
    """torch on a CPU ignores the bits of a seed above 32: the mixed latent must be neither z nor a published one."""
    from ppe.generators.sampling import draw_latents
    from ppe.generators.training import gan as training

    state = training.start_training(photos, "stylegan2", small["stylegan2"], 0, "cpu")
    seen = []
    mapping = state["generator"].map
    monkeypatch.setattr(state["generator"], "map", lambda z: seen.append(z) or mapping(z))
    for step in range(1, 4):
        training.train_step(state, step, small["stylegan2"], 0)
    z = torch.cat(seen)
    assert len(z) == 3 * 2 * 8 and len(z.unique(dim=0)) == len(z), "two latents of three steps, all different"
    published = draw_latents(range(100), 16)
    assert not (z[:, None] == published).all(2).any()


def test_seeds_of_training_steps_lie_below_those_of_published_faces():
    from ppe.generators.sampling import LATENT_STREAM
    from ppe.generators.training.draws import mix_seed

    seeds = [mix_seed(seed, step, stream) for seed in (0, 3, 2024) for step in range(2000) for stream in (0, 1)]
    assert 0 <= min(seeds) and max(seeds) < LATENT_STREAM
    assert len(set(seeds)) > len(seeds) - 3, "hardly any collision of 12,000 seeds below 2**31"
    assert mix_seed(1, 23) != mix_seed(12, 3)


def test_a_training_that_resumes_alone_keeps_its_number_of_threads(photos, small, tmp_path, monkeypatch):
    from ppe.generators.training import groups

    seen = []
    monkeypatch.setattr(groups, "_train_side_by_side", lambda jobs, threads, label: seen.append((len(jobs), threads)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    jobs = groups.list_jobs({"a": photos, "b": photos, "c": photos}, 1, tmp_path, "run", family="fastgan", kimg=1.0)
    for group in "ab":
        (tmp_path / group).mkdir()
        (tmp_path / group / "finished.json").write_text("[]")
    with pytest.raises(FileNotFoundError):
        groups.train_groups(jobs, "cpu", "run")  # the stub did not train c
    assert seen == [(1, 2)], "one training is left, with its two of six threads"


def test_a_second_trainer_waits_and_says_so(tmp_path, capsys):
    from threading import Event, Thread, Timer

    from ppe.generators.training.checkpoints import hold_lock, is_held

    locked, release = Event(), Event()

    def hold():
        with hold_lock(tmp_path / "a"):
            locked.set()
            release.wait(30)

    Thread(target=hold).start()
    assert locked.wait(30) and is_held(tmp_path)
    Timer(0.3, release.set).start()
    with hold_lock(tmp_path / "a"):
        assert release.is_set()
    assert capsys.readouterr().err == "another process is training a: waiting until it ends\n"
    assert not is_held(tmp_path)


def test_a_training_process_ends_with_its_parent(photos, small, tmp_path, root):
    """After kill -9 of the parent its processes end, so that the next run finds the folder unlocked."""
    import signal
    import time

    code = f"""
import json, sys, torch
from pathlib import Path
from ppe.generators.training.groups import list_jobs, train_groups
if __name__ == "__main__":
    images = torch.zeros(12, 3, 32, 32, dtype=torch.uint8)
    recipe = {{"family": "fastgan", "kimg": 900.0, "settings": json.loads({json.dumps(json.dumps(small["fastgan"]))})}}
    train_groups(list_jobs({{"a": images, "b": images}}, 1, Path({str(tmp_path)!r}), "run", **recipe))
"""
    (tmp_path / "start.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "start.py")], env=environment, cwd=root)
    waited = time.monotonic()
    try:
        while not all((tmp_path / g / "snapshot-000000000.safetensors").exists() for g in "ab"):
            assert time.monotonic() - waited < 120 and parent.poll() is None
            time.sleep(0.2)
    finally:  # also where the machine was too busy for the trainings to begin
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    from ppe.generators.training.checkpoints import is_held

    waited = time.monotonic()
    while is_held(tmp_path):
        assert time.monotonic() - waited < 30, "a process outlives its parent"
        time.sleep(0.2)


def test_the_speed_that_is_logged_leaves_out_the_images_of_an_earlier_call(monkeypatch, capsys):
    """Two trainings of three seconds. The second goes on at 500 images, a second later: 60 and 20 images are new."""
    told, clock, shown = iter([[1000, 0], [1020, 500], [1040, 510], [1060, 520]]), itertools.count(), [0, 0]
    sleep = lambda _: shown.__setitem__(slice(None), next(told))  # noqa: E731
    monkeypatch.setattr(groups, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: next(clock)))
    monkeypatch.setattr(groups, "LOG_SECONDS", 0)
    processes = [SimpleNamespace(is_alive=lambda: shown[0] < 1060)] * 2
    groups._show_progress(processes, shown, [2000, 2000], "run")
    assert capsys.readouterr().err.splitlines()[-1] == "run: [1060, 520] of [2000, 2000] images, 27 images/s together"
