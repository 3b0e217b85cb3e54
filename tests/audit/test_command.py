"""The command, from photos on disk to the folder of the report, with a model that sees nothing but colours."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ppe.audit import inputs, walk
from ppe.audit.command import run_audit
from ppe.config import load_params
from ppe.datasets.index import iter_photos, read_index
from ppe.embedders import Embedder


class Mean(torch.nn.Module):
    """A face recognition model that sees a face's colours in nine parts."""

    input_size = 24

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 3).flatten(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Twelve synthetic identities with two photos each, two of whom are asked about; some photos as generated faces."""
    root = tmp_path_factory.mktemp("audit")
    index = read_index("synthetic", num_identities=12, photos_per_identity=2, seed=4)
    photos = [photo.pixels for _, block in iter_photos(index, "synthetic", seed=4, size=128) for photo in block]
    for number, (identity, pixels) in enumerate(zip(index.identity, photos, strict=True)):
        part = "people" if identity in ("person-0001", "person-0002") else "controls"
        file = root / part / f"{identity} 王" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels)).save(file)
    (root / "faces" / "a").mkdir(parents=True)
    for number, pixels in enumerate(photos[4:] + photos[:1]):  # 20 photos of controls, mirrored, and one of the first person
        turned = pixels if number == 20 else pixels[:, ::-1]
        Image.fromarray(np.clip(turned.astype(int) + 40 * (number != 20), 0, 255).astype(np.uint8)).save(
            root / "faces" / f"a/{number}.png"
        )
    (root / "faces" / "broken.png").write_bytes(b"no picture")
    (root / "people" / "unseen").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(root / "people" / "unseen" / "black.png")
    return root


def test_an_audit_runs_from_folders_to_a_report(folders, root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inputs, "MIN_FACES", 3)
    net = Embedder(Mean(), lambda faces: faces.float() - 127.5)
    monkeypatch.setattr(walk, "load_models", lambda params, wanted: ({"mean": net}, {"mean": "0" * 64}))
    params = load_params(root=root)
    monkeypatch.setattr(type(params), "root", tmp_path)
    given = {name: folders / name for name in ("people", "controls")} | {"generated": folders / "faces", "out": tmp_path / "out"}
    content = run_audit(params, **given)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "report.html", "report.json", "people.csv", "pairs.csv", "misses.csv"
    }  # fmt: skip
    assert content == json.loads((tmp_path / "out" / "report.json").read_text())
    said = capsys.readouterr().out
    assert content["verdict"]["title"] in said and "report.html" in said
    assert content["verdict"]["level"] == "exposed" and "Photos of 1 of 2 people lie among" in content["verdict"]["sentences"][0]
    people = pd.read_csv(tmp_path / "out" / "people.csv")
    assert list(people.result) == ["tested", "tested", "no face found"] and people.num_copies[0] == 1
    misses = pd.read_csv(tmp_path / "out" / "misses.csv")
    assert set(misses.set) == {"generated", "people"}
    assert misses.reason[misses.name == "broken.png"].item() == "the file is not a picture of a known format"
    assert "person-0001" not in "".join(file.read_text() for file in (tmp_path / "out").iterdir() if file.suffix == ".csv")
