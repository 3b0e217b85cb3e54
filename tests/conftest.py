"""What several tests need: the repository's root, and ../shared or a reason to skip."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def shared():
    folder = Path(os.environ.get("PPE_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "lfw").is_dir():
        pytest.skip("needs the photos and weights of ../shared (or $PPE_SHARED), which the repository does not hold")
    return folder


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)
