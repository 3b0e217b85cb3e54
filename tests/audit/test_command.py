"""The command, from photos on disk to the folder of the report, with a model that sees nothing but colours."""

import json
import os
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ppe import __main__
from ppe.audit import command, example, inputs, walk
from ppe.audit.command import _tell_truth, fill_people, run_audit
from ppe.audit.models import models_of_run
from ppe.config import load_params
from ppe.config.schema_audit import Audit
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
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ValueError, match="--out .* holds files already: name a new folder, or empty this one"):
        run_audit(params, **given)
    (tmp_path / "out" / "mine.txt").unlink()
    with pytest.raises(ValueError, match="--out .* cannot be written, since .*broken.png is no folder that you may write to"):
        run_audit(params, **given | {"out": folders / "faces" / "broken.png" / "report"})
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


def test_an_example_has_people_of_both_groups_and_many_controls_and_tells_the_truth_at_the_end(root, tmp_path, monkeypatch):
    run = load_params("tiny", root)
    people = [f"person-{n:04d}" for n in range(1, 9)]
    faces = pd.DataFrame([(f"{name}/{k:04d}", name, "attacked") for name in [*people, "person-0009"] for k in (1, 2)],
                         columns=["image_id", "identity", "role"]).assign(detected=True, duplicate_of="")  # fmt: skip
    split = faces[faces.identity.isin(people)].assign(role="query")
    split["group"] = np.where(split.identity <= "person-0004", "a", "b")
    tables = {"faces.csv": faces, "split.csv": split}
    monkeypatch.setattr(example, "load_table", lambda path: tables[path.name])
    monkeypatch.setattr(example, "MAX_CONTROLS", 3)
    asked, controls = example.write_example(run, "tiny", "a", tmp_path)
    assert sorted(folder.name for folder in asked.iterdir()) == people
    assert sorted(folder.name for folder in controls.iterdir()) == ["other-person-0001", "other-person-0002", "person-0009"]
    assert len(list((controls / "other-person-0001").iterdir())) == example.NUM_PHOTOS
    members = pd.read_csv(tmp_path / "members.csv")
    assert members.is_member.sum() == 4
    found = pd.DataFrame({"identity": people, "is_flagged": [True, True] + 3 * [False] + [True] + 2 * [False]})
    said = _tell_truth(found, tmp_path / "members.csv")
    assert said.endswith("4 of the 8 were in the training set; of the 3 who are named, 2 were.")


def test_a_run_is_audited_by_the_models_of_its_study(root, tmp_path, monkeypatch):
    params = load_params(root=root)
    monkeypatch.setattr(type(params), "weights_file", lambda self, name, dataset: tmp_path / name)
    (tmp_path / "synthetic-triplet").touch()
    assert models_of_run(params, "synthetic-32-fastgan-10:a") == ["synthetic-triplet"], "the other has no weights yet"
    assert models_of_run(params, tmp_path) == models_of_run(params, "no-run:a") == []


@pytest.mark.parametrize(
    ("generated", "people", "controls", "sentence"),
    [
        (".", "people", None, "--generated .* and --people .* lie in one another, so that the same pictures would be on both"),
        ("controls", "people", "controls", "--generated .*controls and --controls .*controls are one folder"),
        ("faces", "people", "people/person-0001 王", "--people .* and --controls .* lie in one another"),
        ("faces", "controls", "people", r"3 control people were given, but at least 7 are needed .* \(--controls\)"),
    ],
)
def test_folders_that_hold_the_same_photos_or_too_few_people_are_refused_at_once(folders, root, monkeypatch, generated, people,
                                                                                 controls, sentence):  # fmt: skip
    """Photos that lie among themselves were reported as a leak of everybody."""
    monkeypatch.setattr(inputs, "MIN_FACES", 3)
    monkeypatch.setattr(walk, "load_models", lambda *_: pytest.fail("refused before a model is loaded"))
    given = [folders / generated, folders / people, controls and folders / controls]
    with pytest.raises(ValueError, match=sentence):
        walk.read_sets(load_params(root=root), *given)


def test_generated_faces_that_are_not_there_are_said_first(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="--generated synthetic-32-fastgan-10 is not there: .* or <run>:<group>"):
        fill_people(load_params(root=root), "synthetic-32-fastgan-10")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="--generated .*pipe is not there"):
        inputs.open_generated(str(tmp_path / "pipe"), root)


def test_a_path_with_a_colon_is_a_path_and_no_run(root, tmp_path):
    (tmp_path / "a:b").mkdir()
    assert inputs.names_run("synthetic-32-fastgan-10:a") and not inputs.names_run(tmp_path / "a:b")
    with pytest.raises(ValueError, match="--people must be given"):
        fill_people(load_params(root=root), tmp_path / "a:b")


def test_options_beside_the_name_of_an_entry_are_refused_since_they_would_be_ignored(root, tmp_path, monkeypatch):
    loaded = load_params(root=root)
    audits = {"mine": SimpleNamespace()}
    monkeypatch.setattr(__main__, "load_params", lambda: loaded.model_copy(update={"audits": audits}))
    with pytest.raises(ValueError, match=r"takes its options from params.yaml \(audits.mine\).* remove --out, --show-faces$"):
        __main__.audit("mine", out="here", show_faces=True, generated=None)


def test_paths_of_an_entry_start_at_the_project_and_know_the_home_folder(root, tmp_path, monkeypatch):
    entry = Audit(generated="tiny:a", people="~/people", controls="controls", training="$PPE_SHARED/x")
    loaded, called = load_params(root=root).model_copy(update={"audits": {"mine": entry}}), {}
    monkeypatch.setattr(__main__, "load_params", lambda: loaded)
    monkeypatch.setattr(command, "run_audit", lambda params, **options: called.update(options))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PPE_SHARED", "/shared")
    __main__.audit("mine")
    paths = [called[key] for key in ("generated", "people", "controls", "training")]
    assert paths == ["tiny:a", f"{tmp_path}/people", str(root / "controls"), "/shared/x"]


def test_an_example_of_another_data_set_of_the_same_names_is_drawn_anew(root, tmp_path, monkeypatch):
    params, folders = load_params("tiny", root), []
    for name in ("faces_folder", "generators_folder", "audit_cache"):
        monkeypatch.setattr(type(params), name, lambda self, *_: tmp_path)
    monkeypatch.setattr(command, "find_run", lambda *_: (params, "tiny", "a"))
    monkeypatch.setattr(command, "write_example", lambda study, run, group, folder: folders.append(folder) or ("p", "c"))
    (tmp_path / "split.csv").write_text("person-0001")
    for faces in ("seed 1", "seed 2", "seed 1"):
        (tmp_path / "faces.csv").write_text(faces)
        assert command.fill_people(params, "tiny:a") == ("p", "c")
    assert folders[0] == folders[2] != folders[1]


@pytest.mark.parametrize("given", [("people", "controls"), ("people",)])
def test_the_notebook_runs_on_folders_with_and_without_controls(folders, root, tmp_path, monkeypatch, given):
    monkeypatch.setattr(inputs, "MIN_FACES", 3)
    monkeypatch.setenv("PPE_SHARED", str(tmp_path))  # no LFW, which would stand in for controls
    monkeypatch.chdir(root)
    net = Embedder(Mean(), lambda faces: faces.float() - 127.5)
    monkeypatch.setattr(walk, "load_models", lambda params, wanted: ({"mean": net}, {"mean": "0" * 64}))
    monkeypatch.setattr(type(load_params(root=root)), "root", tmp_path)
    faces = tmp_path / "faces:a"  # a path with a colon, which is no run
    faces.symlink_to(folders / "faces")
    given = {name: str(folders / name) for name in given} | {"generated": str(faces), "out": str(tmp_path / "out")}
    cells = [cell.source for cell in nbformat.read(root / "notebooks" / "audit.ipynb", 4).cells if cell.cell_type == "code"]
    names = {}
    exec(cells[0], names)
    names |= given
    for cell in cells[1:]:
        exec(cell, names)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["verdict"]["level"] == "exposed" and bool(report["groups"]) == ("controls" in given)
    with pytest.raises(ValueError, match="--out .* holds files already"):
        exec(cells[2], names)
