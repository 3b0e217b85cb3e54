"""A reader's own photos: a folder, two commands and no code give a figure."""

import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from smoke_study import make_study, run

from ppe.datasets import synthetic

pytestmark = pytest.mark.timeout(1600)  # the whole graph, on a machine that may be busy

NAMES = ["Ольга", "山田", "-rf", "two words", "Anna", "anna", "O'Neil", "a,b", "007", "NA"]
@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Photos of 14 identities with eight each, 14 with five and one with one, in several sizes and formats."""
    folder = tmp_path_factory.mktemp("disk") / "album"
    vectors = synthetic.sample_identities(29, 4711)
    for identity, count in enumerate([8] * 14 + [5] * 14 + [1]):
        name = NAMES[identity] if identity < len(NAMES) else f"somebody {identity}"
        (folder / name).mkdir(parents=True)
        seeds = torch.arange(count) + 100 * identity
        drawn = synthetic.draw_photos(vectors[identity].repeat(count, 1), seeds, size=96).permute(0, 2, 3, 1).numpy()
        for number, photo in enumerate(drawn):
            image = Image.fromarray(np.pad(photo, ((0, 10 * (number % 2)), (5, 5), (0, 0)), mode="edge"))
            image.save(folder / name / f"IMG {number:03d}.{('jpg', 'JPEG', 'png')[number % 3]}")
    (folder / "Anna" / "notes.txt").write_text("not a photo")
    (folder / "Anna" / "broken.jpg").write_bytes((folder / "Anna" / "IMG 000.jpg").read_bytes()[:900])
    return folder


def test_a_folder_of_photos_and_two_commands_make_a_figure(root, album, tmp_path):
    page = (root / "docs" / "own-photos.md").read_text()
    assert "make new NAME=trial ROOT=/path/to/photos OPTIONS=--quick" in page and "make study STUDY=trial" in page
    project = tmp_path / "project"
    shutil.copytree(root, project, ignore=shutil.ignore_patterns(".*", "results", "docs", "tests", "__pycache__", "bench"))
    shutil.copytree(root / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    environment = {**os.environ, "PYTHONPATH": str(project)}
    said = run([sys.executable, "-m", "ppe", "new", "trial", "--root", str(album), "--quick"], (project, environment))
    assert "184 photos of 29 identities, 0 files that cannot be read" in said and "numbers mean nothing" in said
    file = project / "studies" / "trial.yaml"
    file.write_text(file.read_text() + "tradeoffs: {trial: {}}\n")
    folder, environment = study = make_study(project, tmp_path / "copy", "trial")
    said = run(["python", "-m", "ppe", "study"], study)
    assert "trial: 184 photos of 29 identities, 0 files not usable" in said
    assert "AUC of the attack `nearest` on unseen photos" in said
    figures = {path.name for path in (folder / "results" / "trial" / "figures").iterdir()}
    assert {"rocs.png", "sizes.png", "evidence.png"} <= figures
    defended = {path.name for path in (folder / "results" / "trial" / "tradeoffs" / "trial").iterdir()}
    assert defended == {"table.csv", "tradeoff.png", "training.png"}, "no faces of a generator of photographed people"
    faces = pd.read_csv(folder / "data" / "faces" / "trial" / "faces.csv", dtype=str, keep_default_na=False)
    assert len(faces) == 184 and "truncated" in faces.set_index("image_id").reason["Anna/broken.jpg"]
    attacked, auxiliary = (set(faces[faces.role == role].identity) for role in ("attacked", "auxiliary"))
    assert len(attacked) >= 12 and len(auxiliary) >= 8 and not attacked & auxiliary
    trained = folder / "models" / "generators" / "trial-32-fastgan-4"
    members = pd.read_csv(trained / "members.csv", dtype=str, keep_default_na=False)
    assert members.identity.nunique() == 12 and set(members.identity) <= attacked
    rows = pd.read_csv(folder / "results" / "trial" / "attacks.csv", keep_default_na=False)
    assert set(rows.run) == {"trial-32-fastgan-4"} and set(rows.dataset) == {"trial"}
    scores = (folder / "results" / "trial" / "scores" / "trial-32-fastgan-4.csv").read_text()
    assert not [name for name in NAMES if len(name) > 3 and name in scores], "committed results hold no names"
