"""A reader's own photos: a folder, three changes of a study and no code give a figure."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from smoke_study import make_study, run

from ppe.datasets import synthetic

pytestmark = pytest.mark.timeout(1600)  # the whole graph, on a machine that may be busy

NAMES = ["Ольга", "山田", "-rf", "two words", "Anna", "anna", "O'Neil", "a,b", "007", "NA"]
CHANGES = {
    "reader: synthetic": "reader: folder", "num_identities: 15": "root: album",
    "auxiliary: {last: 16}": "auxiliary: {photos: [4, 5]}",
}  # fmt: skip
"""What a reader changes in studies/smoke.yaml."""


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


def test_the_page_on_own_photos_shows_the_changes_that_are_tested_here(root):
    text = (root / "docs" / "own-photos.md").read_text()
    for old, new in CHANGES.items():
        assert f"| `{old}` | `{new.replace('album', '/path/to/photos')}` |" in text


def test_a_folder_of_photos_and_three_changes_make_a_figure(root, album, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(root, project, ignore=shutil.ignore_patterns(".*", "results", "docs", "tests", "__pycache__", "bench"))
    shutil.copytree(root / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    (project / "album").symlink_to(album)
    file = project / "studies" / "smoke.yaml"
    text = file.read_text()
    for old, new in CHANGES.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    # Without experiments, which tests/test_notebooks.py has.
    file.write_text(re.sub(r"^experiments:\n(  .*\n)+", "experiments: {}\n", text, flags=re.M))
    folder, environment = study = make_study(project, tmp_path / "copy")
    said = run(["python", "-m", "ppe", "study"], study)
    assert "tiny: 184 photos of 29 identities, 0 unreadable" in said
    assert "AUC of the attack `nearest` on unseen photos" in said
    figures = {path.name for path in (folder / "results" / "smoke" / "figures").iterdir()}
    assert {"rocs.png", "sizes.png", "scores.png"} <= figures and "identities.png" not in figures, "no synthetic faces"
    faces = pd.read_csv(folder / "data" / "faces" / "tiny" / "faces.csv", dtype=str, keep_default_na=False)
    assert len(faces) == 184 and "truncated" in faces.set_index("image_id").reason["Anna/broken.jpg"]
    attacked = set(faces[faces.role == "attacked"].identity)  # a missed face may make an identity auxiliary
    assert len(attacked) >= 12 and attacked <= set(NAMES) | {f"somebody {n}" for n in range(10, 14)}
    members = pd.read_csv(folder / "models" / "generators" / "tiny" / "members.csv", dtype=str, keep_default_na=False)
    assert members.identity.nunique() == 12 and set(members.identity) <= set(faces.identity)
    rows = pd.read_csv(folder / "results" / "smoke" / "attacks.csv", keep_default_na=False)
    assert set(rows.run) == {"tiny"} and set(rows.dataset) == {"tiny"}
    scores = (folder / "results" / "smoke" / "scores" / "tiny.csv").read_text()
    assert not [name for name in NAMES if len(name) > 3 and name in scores], "committed results hold no names"
