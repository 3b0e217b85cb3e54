"""What several tests need: the repository's root, and ../shared or a reason to skip."""

import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from smoke_study import make_study, run

from ppe.generators import load_trainer
from ppe.generators.training import loop as training

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # several processes share the cores
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))

ROOT = Path(__file__).resolve().parents[1]
LONGEST = ("test_notebooks", "test_other_data", "test_graph", "test_training")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def shared():
    folder = Path(os.environ.get("PPE_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "lfw").is_dir():
        pytest.skip("needs the photos and weights of ../shared (or $PPE_SHARED), which the repository does not hold")
    return folder


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory):
    """The smallest study (``make smoke``), run once for all tests: (folder, environment). A test that changes it copies it.

    Processes of pytest-xdist share one, which lies beside their own folders.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "finished" / "smoke"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.parent / "lock", timeout=1500):
        study = make_study(root, folder)
        if not (folder.parent / "done").exists():
            (folder.parent / "done").write_text(run(["dvc", "repro"], study))
    return study


def pytest_collection_modifyitems(items):
    """Start with the longest files, so that the processes of pytest-xdist, which take whole files, end at about the same time."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def photos():
    """Twelve pictures of two flat colours with a bright spot: easy to learn, and not all alike."""
    images = torch.full((12, 3, 32, 32), 60, dtype=torch.uint8)
    images[::2, 0] = 200
    images[:, :, 10:16, 12:20] = 240
    return images


@pytest.fixture(scope="session")
def small():
    """Settings of the smallest nets that the tests train, by GAN."""
    common = {
        "latent_dim": 16, "channel_base": 256, "channel_base_discriminator": 256, "channel_max": 32, "batch_size": 8,
        "learning_rate": 1e-3, "discriminator_rate": 1.0, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 0.1, "r1_interval": 4,
        "ema_kimg": 1.0, "ema_rampup": 0.1, "flip": True, "ada_target": 0.6, "ada_kimg": 1.0,
        "snapshots": [0.0, 0.5, 1.0], "checkpoint_seconds": 1e9, "precision": "float32",
    }  # fmt: skip
    style = {
        "learning_rate": 3e-3, "style_dim": 16, "mapping_layers": 2, "mapping_rate": 0.01, "style_mixing": 0.9, "truncation": 1.0,
        "path_length_weight": 2.0, "path_length_interval": 4, "path_length_shrink": 2, "path_length_decay": 0.01,
        "augment": ["ada"],
    }  # fmt: skip
    fast = {"redraw_weight": 1.0, "augment": ["colour", "translation"]}
    diffusion = {
        "channels": [32, 32], "attention_side": 8, "sigma_data": 0.5, "p_mean": -1.2, "p_std": 1.2, "sigma_min": 0.002,
        "sigma_max": 80.0, "rho": 7.0, "num_steps": 6, "warmup_kimg": 0.1, "max_gradient": 1.0, "learning_rate": 3e-3,
    }  # fmt: skip
    return {"fastgan": common | fast, "stylegan2": common | style, "edm": common | diffusion}


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture
def train_until(monkeypatch):
    """``train_generator`` that dies before a step, having saved a checkpoint wherever it may: (the step, **its keywords)."""

    def call(number, *, settings, **recipe):
        trainer = load_trainer(recipe["family"], is_private=bool(settings.get("privacy")))
        step = trainer.train_step

        def stop(state, at, *others):
            if at == number:
                raise Killed
            step(state, at, *others)

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "train_step", stop)
            with pytest.raises(Killed):
                training.train_generator(settings=settings | {"checkpoint_seconds": 0.0}, **recipe)

    return call


class Killed(Exception):
    pass
