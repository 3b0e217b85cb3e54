"""A reader's own photos: a folder, three changed lines of params and no code give a figure."""

import difflib

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from smoke_study import make_study, run

from ppe.datasets import synthetic

pytestmark = pytest.mark.timeout(1600)  # the whole graph, on a machine that may be busy

NAMES = ["Ольга", "山田", "-rf", "two words", "Anna", "anna", "O'Neil", "a,b", "007", "NA"]
LINES = [
    ("    reader: synthetic\n", "    reader: folder\n"),
    ("    num_identities: 15\n", "    root: album\n"),
    ("    auxiliary: {last: 16}\n", "    auxiliary: {photos: [4, 5]}\n"),
]


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


def test_the_readme_shows_the_lines_that_are_tested_here(root):
    text = (root / "README.md").read_text()
    for old, new in LINES:
        for part in (old, new.replace("album", "/path/to/photos")):
            assert f"`{part.strip().removesuffix(',')}" in text, part


def test_a_folder_of_photos_and_three_lines_make_a_figure(root, album, tmp_path):
    folder, environment = study = make_study(root, tmp_path / "project")
    (folder / "album").symlink_to(album)
    before = (folder / "params.yaml").read_text()
    after = before
    for old, new in LINES:
        assert old in after, old
        after = after.replace(old, new, 1)
    changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line.startswith("+ ")]
    assert len(changed) <= 3
    (folder / "params.yaml").write_text(after)
    said = run(["python", "-m", "ppe", "study"], study)
    assert "tiny: 184 photos of 29 people, 0 unreadable" in said
    assert "Identity AUC on photos that no GAN was shown" in said
    figures = {path.name for path in (folder / "results" / "smoke" / "figures").iterdir()}
    assert {"roc.png", "sizes.png", "scores.png"} <= figures
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
