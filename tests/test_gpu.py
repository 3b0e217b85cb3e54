"""What a GPU does otherwise than a CPU: nets in bfloat16 and TF32, trainings one after another, NCCL under torchrun.

Every tolerance is between a GPU's answer and a CPU's on the same weights; ``bench/README.md`` says what was measured.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

from ppe import embedders
from ppe.attacks.nearest import find_nearest, find_nearest_pixel
from ppe.datasets import synthetic
from ppe.embedders.embed import embed_faces
from ppe.faces import BOX_COLUMNS, LANDMARK_COLUMNS, detect_faces
from ppe.generators import GENERATORS
from ppe.generators.sampling import compute_logits, load_discriminator, load_generator, sample_faces
from ppe.generators.training.groups import list_jobs, train_groups
from ppe.generators.training.loop import train_generator

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU: a CPU cannot show what one does otherwise"
)


@pytest.mark.parametrize("gan", list(GENERATORS))
def test_a_gan_learns_there_and_its_snapshot_draws_the_same_faces_here(gan, small, photos, tmp_path):
    settings = small[gan] | {"precision": "auto"}
    losses = train_generator(photos, family=gan, settings=settings, kimg=2.4, seed=3, folder=tmp_path, device="cuda")
    mean, error = photos.float().mean(dim=(0, 2, 3)), []
    for name in ("snapshot-000000000.safetensors", "snapshot-000002400.safetensors"):
        there, here = (
            torch.cat(list(sample_faces(load_generator(tmp_path / name, gan, 32, settings, device), range(64)))).float()
            for device in ("cuda", "cpu")
        )
        error.append((there.mean(dim=(0, 2, 3)) - mean).abs().mean().item())
        print(f"{gan} {name}: grey levels between GPU and CPU: at most {(there - here).abs().max():.0f}, "
              f"{(there - here).abs().mean():.4f} on average")  # fmt: skip
        assert (there - here).abs().max() <= 3 and (there - here).abs().mean() < 0.1
    assert losses[-1]["images"] == 2400 and error[1] < error[0] / 2
    logits = [
        compute_logits(load_discriminator(tmp_path / "discriminator.safetensors", gan, 32, settings, device), photos)
        for device in ("cuda", "cpu")
    ]
    print(f"{gan} logits: {abs(logits[0] - logits[1]).max():.1e} between GPU and CPU, of {abs(logits[1]).max():.1f}")
    assert abs(logits[0] - logits[1]).max() < 0.02 * max(1.0, abs(logits[1]).max())


@pytest.mark.parametrize("gan", list(GENERATORS))
def test_a_training_that_was_stopped_there_goes_on(gan, small, photos, tmp_path, monkeypatch, train_until):
    """A GPU adds in another order each time: it may end as far from an unbroken training as that one made again does."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    recipe = {"images": photos, "family": gan, "settings": small[gan], "kimg": 0.4, "seed": 3, "device": "cuda"}
    train_until(31, **recipe, folder=tmp_path / "halted")
    for name in ("whole", "again", "halted"):
        train_generator(**recipe, folder=tmp_path / name)
    faces = {
        name: next(
            sample_faces(load_generator(tmp_path / name / "snapshot-000000400.safetensors", gan, 32, small[gan]), range(64))
        )
        for name in ("whole", "again", "halted")
    }
    apart = {name: (faces[name].float() - faces["whole"].float()).abs().mean().item() for name in ("again", "halted")}
    print(f"{gan}: mean grey levels from the unbroken training: made again {apart['again']:.3f}, stopped {apart['halted']:.3f}")
    assert len(json.loads((tmp_path / "halted" / "finished.json").read_text())) == 4
    assert apart["halted"] <= 2 * apart["again"] + 0.01


def test_a_runs_three_gans_train_one_after_another(small, photos, tmp_path):
    jobs = list_jobs(
        dict.fromkeys("abc", photos), 2, tmp_path, "run", family="fastgan", settings=small["fastgan"], kimg=0.1, description="{}"
    )
    assert [rows[-1]["images"] for rows in train_groups(jobs, "cuda", "run")] == [96, 96, 96]


def test_faces_are_found_alike():
    """All but a few to the detector's step of 1/16 pixel. On an H100 one of these 24 lay 4 pixels away, for a cause not found."""
    photos = synthetic.draw_photos(synthetic.sample_identities(24, 5), torch.arange(24), size=160)
    frames = list(photos.permute(0, 2, 3, 1).numpy())
    here, there = detect_faces(frames), detect_faces(frames, "cuda")
    columns = [*BOX_COLUMNS, *LANDMARK_COLUMNS]
    apart = (here[columns] - there[columns]).abs().max(axis=1)
    print(f"boxes and landmarks, of 160 pixels, between GPU and CPU: {sorted(apart)}")
    assert here.detected.all() and there.detected.all() and (apart <= 1 / 16).sum() >= 22


def test_faces_are_embedded_alike():
    photos = synthetic.draw_photos(synthetic.sample_identities(24, 5), torch.arange(24), size=160)
    torch.manual_seed(0)
    net = embedders.build("mobilefacenet", input_size=48, width=0.25)
    vectors = {device: embed_faces(photos, net, device=device) for device in ("cuda", "cpu")}
    cosine = (vectors["cuda"] * vectors["cpu"]).sum(1)
    print(f"embeddings: cosine between GPU and CPU at least {cosine.min():.6f}")
    assert cosine.min() > 0.9999


def test_the_nearest_is_exact_there_too():
    random = torch.Generator().manual_seed(0)
    query, reference = (torch.nn.functional.normalize(torch.randn(n, 64, generator=random), dim=1) for n in (300, 5000))
    for here, there in zip(find_nearest(query, reference), find_nearest(query.cuda(), reference.cuda()), strict=True):
        assert torch.equal(here, there.cpu())
    query, reference = (torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=random) for n in (50, 700))
    for here, there in zip(find_nearest_pixel(query, reference), find_nearest_pixel(query.cuda(), reference.cuda()), strict=True):
        assert torch.equal(here, there.cpu())


TRAIN = """
import json, sys, torch
from ppe.generators.training.loop import train_generator
images = torch.full((12, 3, 32, 32), 60, dtype=torch.uint8)
train_generator(images, family="fastgan", settings=json.loads(sys.argv[1]), kimg=0.1, seed=3, folder=sys.argv[2], device="cuda")
print(torch.distributed.get_backend())
"""


def test_torchrun_trains_there(small, tmp_path, root):
    """As many processes as there are GPUs, each with one, by NCCL; the first one writes."""
    (tmp_path / "train.py").write_text(TRAIN)
    number = 2 if torch.cuda.device_count() > 1 else 1
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    call = [*launcher, str(tmp_path / "train.py"), json.dumps(small["fastgan"]), str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(call, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nccl" in done.stdout and (tmp_path / "out" / "finished.json").exists()
