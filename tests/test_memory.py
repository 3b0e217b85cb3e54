"""Sets larger than memory: what is read from a mapped file is given back, and what is written goes to one."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ppe.attacks.nearest import compute_log_density, find_nearest
from ppe.config import load_array, save_array

STATUS = Path("/proc/self/status")


def read_mapped():
    """Megabytes of files that this process has mapped and holds in memory."""
    return int(re.search(r"RssFile:\s+(\d+)", STATUS.read_text())[1]) / 1024


def draw_unit(rows, seed):
    vectors = np.random.default_rng(seed).standard_normal((rows, 512), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.skipif(not STATUS.is_file(), reason="this system does not say what a process has mapped")
@pytest.mark.parametrize("search", [find_nearest, lambda query, rows: compute_log_density(query, rows, 16.0)])
def test_pages_of_a_mapped_file_are_given_back(tmp_path, search):
    faces, query = draw_unit(40_000, 1), torch.from_numpy(draw_unit(20, 2))
    save_array(faces, tmp_path / "faces.npy")
    mapped = load_array(tmp_path / "faces.npy")
    before = read_mapped()
    found = search(query, mapped)
    assert read_mapped() - before < 25, "of a file of 78 MB"
    expected = search(query, torch.from_numpy(faces))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def measure_growth(root, folder, name):
    """Megabytes by which the peak of a new process's memory grows while it computes a data set of ``large_sets.py``."""
    call = [sys.executable, str(root / "tests" / "large_sets.py"), name]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[0])


@pytest.mark.skipif(not STATUS.is_file(), reason="this system does not say how much memory a process took")
def test_faces_of_480_megabytes_are_prepared_and_read_in_blocks(root, tmp_path):
    assert measure_growth(root, tmp_path, "faces") < 300


@pytest.mark.skipif(not STATUS.is_file(), reason="this system does not say how much memory a process took")
def test_pairs_of_fifty_thousand_photos_are_drawn_without_a_list_of_all(root, tmp_path):
    assert measure_growth(root, tmp_path, "pairs") < 100, "a list of all pairs takes 20 GB"


@pytest.mark.hard
@pytest.mark.timeout(1800)
def test_a_million_faces_against_ten_thousand_queries_take_less_than_two_gigabytes(root, tmp_path):
    call = [sys.executable, str(root / "bench" / "nearest.py"), "--mapped", "--rows", "1000000", "--queries", "10000"]
    said = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    print(said)
    assert float(re.search(r"peak ([\d.]+) GB", said)[1]) < 2
