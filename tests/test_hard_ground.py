"""Bad input through the doors that a reader uses: each is a row with its reason, or one sentence; tests/README.md lists all."""

import os
import re
import resource
import struct
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from ppe import __main__ as commands
from ppe import embedders
from ppe.config import create_array, load_array, load_params, load_table, save_array, save_json, save_table
from ppe.config.params import merge_study
from ppe.datasets import synthetic
from ppe.datasets.index import iter_photos, read_index
from ppe.faces import prepare_faces
from ppe.pipeline import presets, stages


@pytest.fixture(scope="session")
def people():
    """Four photos of four drawn people, uint8 [4, 128, 128, 3]."""
    vectors = synthetic.sample_identities(4, 77)
    return synthetic.draw_photos(vectors, torch.arange(4) + 50, size=128).permute(0, 2, 3, 1).numpy()


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    """A folder that looks like the project, whose data set is a folder of photos, and a function that runs a command in it.

    The function takes a change of the params and the words after ``python -m ppe``, and returns what is said at the end:
    the sentence of a command that stops, else "".
    """
    (tmp_path / "ppe").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    content = merge_study("smoke", root)
    content["datasets"] = {"mine": {"reader": "folder", "root": "photos", "auxiliary": {"last": 10}, "resolutions": [32],
                                    "embedders": ["synthetic-arcface", "synthetic-triplet"], "num_pairs": 20}}  # fmt: skip
    content["experiments"] = {}
    content["runs"]["tiny"] |= {"dataset": "mine", "num_identities": 2, "train_photos": 2, "query_photos": 2}

    def run(change, *words):
        change(content)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["ppe", *words])
        try:
            commands.main()
        except SystemExit as end:
            return str(end)
        return ""

    run.folder = tmp_path
    return run


def nothing(content):
    """Change no params."""


def write_people(folder, counts):
    """Folders of flat photos, which only an index looks at: ``counts`` photos of each person."""
    for number, count in enumerate(counts):
        (folder / f"p{number:02d}").mkdir(parents=True)
        for photo in range(count):
            Image.new("RGB", (40, 40), (number, photo, 0)).save(folder / f"p{number:02d}" / f"{photo}.png")


def write_bomb(path, width, height):
    """A PNG of a few bytes whose header announces width x height pixels."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def read_faces(root, folder):
    """What notebook 1 does: the table of faces by photo, after it went to disk and came back."""
    index = read_index("folder", root=root)
    save_table(index, folder / "index.csv")
    _, table = prepare_faces(index, iter_photos(load_table(folder / "index.csv"), "folder", root=root))
    save_table(table, folder / "faces.csv")
    table = load_table(folder / "faces.csv")
    assert list(table.image_id) == list(index.image_id), "every photo keeps its row"
    return table.set_index(table.image_id.str.split("/").str[-1])


def test_bad_photos_are_rows_with_a_reason_and_good_ones_faces(people, tmp_path):
    root, face = tmp_path / "photos" / "dee", Image.fromarray(people[0])
    root.mkdir(parents=True)
    face.save(root / "whole.jpg")
    (root / "truncated.jpg").write_bytes((root / "whole.jpg").read_bytes()[:2000])
    (root / "text.jpg").write_text("this is no picture")
    (root / "empty.jpg").touch()
    Image.new("RGB", (1, 1)).save(root / "one-pixel.png")
    Image.new("1", (30_000, 8)).save(root / "wide.png")
    write_bomb(root / "bomb.png", 9_999, 9_999)
    write_bomb(root / "large-bomb.png", 60_000, 60_000)
    Image.fromarray(np.full((96, 96, 3), 127, np.uint8)).save(root / "nobody.png")
    os.mkfifo(root / "pipe.jpg")
    face.save(tmp_path / "outside.png")
    (root / "link-out.png").symlink_to(tmp_path / "outside.png")
    (root / "link-loop.png").symlink_to(root / "link-loop.png")
    (root / "link-nowhere.png").symlink_to(root / "none.png")
    (tmp_path / "photos" / "folder-loop").symlink_to(tmp_path / "photos")
    (root / "phone.HEIC").write_bytes(b"of a telephone")
    face.save(root / "old.jfif", format="jpeg")
    (root / "notes.txt").write_text("no picture, and not called one: left alone")
    table = read_faces(tmp_path / "photos", tmp_path)
    wanted = {
        "whole.jpg": "", "truncated.jpg": "truncated", "text.jpg": "not a picture of a known format",
        "empty.jpg": "the file is empty", "one-pixel.png": "1 x 1 px is too small", "wide.png": "30000 x 8 pixels: more than",
        "bomb.png": "decompression bomb", "large-bomb.png": "decompression bomb", "nobody.png": "no face found",
        "pipe.jpg": "not a regular file", "link-out.png": "a link out of the root", "link-loop.png": "symbolic links",
        "link-nowhere.png": "No such file", "": "a link to a folder", "old.jfif": "",
        "phone.HEIC": ".heic is not read: save it as .jpg or .png",
    }  # fmt: skip
    assert set(table.index) == set(wanted)
    for name, reason in wanted.items():
        assert reason in table.reason[name] and table.detected[name] == (reason == ""), f"{name}: {table.reason[name]}"
    assert not table.reason.str.contains(str(tmp_path)).any(), "two machines write the same reason"


def test_a_face_is_found_in_every_kind_of_picture(people, tmp_path):
    root, face = tmp_path / "photos" / "dee", Image.fromarray(people[0])
    root.mkdir(parents=True)
    for name, mode in (("grey.png", "L"), ("cmyk.jpg", "CMYK"), ("clear.png", "RGBA"), ("palette.gif", "P")):
        face.convert(mode).save(root / name)
    Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257).save(root / "deep.png")
    turned = face.rotate(90, expand=True)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(root / "turned.jpg", exif=exif)
    for name in ("moving.gif", "moving.webp"):
        face.save(root / name, save_all=True, append_images=[Image.fromarray(people[1])])
    Image.fromarray(np.concatenate([people[1], people[2]], axis=1)).save(root / "two.png")
    beside = Image.new("RGB", (384, 256), (120, 120, 120))
    beside.paste(Image.fromarray(people[1]), (0, 64))
    beside.paste(Image.fromarray(people[2]).resize((256, 256)), (128, 0))
    beside.save(root / "large.png")
    table = read_faces(tmp_path / "photos", tmp_path)
    assert len(table) == 10 and table.detected.all(), table.reason.to_dict()
    assert table.num_faces["two.png"] == 2 and (table.num_faces.drop(["two.png", "large.png"]) == 1).all()
    eye, width = table.loc["large.png", "left_eye_x"], people.shape[2]
    assert table.num_faces["large.png"] == 2 and eye > width, "the large one, which is on the right, not the small one"
    presets = table.drop(["two.png", "large.png"]).image_id
    assert set(table.duplicate_of[presets.index]) <= {"", *presets}, "one picture in many formats is one picture"
    assert (table.duplicate_of[presets.index] != "").sum() >= len(presets) - 2


def test_names_come_back_from_the_tables_as_they_went(tmp_path):
    names = ["Ольга", "山田", "-rf", "two words", " lead", "trail ", "a,b", 'q"uote', "007", "NA", "Anna", "anna", "1e5", "=1+1"]
    broken = ["line\nbreak", "carriage\rreturn"]
    for name in [*names, *broken]:
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "photos" / name / "-1 .png")
    index = read_index("folder", root=tmp_path / "photos")
    save_table(index, tmp_path / "index.csv")
    back = load_table(tmp_path / "index.csv")
    pd.testing.assert_frame_equal(back, index, check_dtype=False)
    assert set(back.identity[back.readable]) == set(names), "two names that differ in case are two people"
    assert set(back.identity[~back.readable]) == {"line\\nbreak", "carriage\\rreturn"}
    assert back.reason[~back.readable].str.contains("control character: rename it").all()


def test_a_broken_name_is_never_written_as_another_files(tmp_path):
    for name in ("a\nb", "a\\nb", "a\\nb?"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "1.png")
        Image.new("RGB", (40, 40)).save(tmp_path / name / "1\t.png")
    index = read_index("folder", root=tmp_path)
    assert index.image_id.is_unique and len(index) == 6
    assert set(index.image_id[index.readable]) == {"a\\nb/1.png", "a\\nb?/1.png"}


def test_a_file_that_vanishes_midway_is_a_row_with_its_reason(people, tmp_path):
    root = tmp_path / "photos" / "dee"
    root.mkdir(parents=True)
    for k in range(4):
        Image.fromarray(people[k]).save(root / f"{k}.png")
    index = read_index("folder", root=tmp_path / "photos")

    def vanish(blocks):
        for block in blocks:
            (root / "3.png").unlink(missing_ok=True)
            yield block

    _, table = prepare_faces(index, vanish(iter_photos(index, "folder", root=tmp_path / "photos", batch_size=1)))
    assert table.detected[:3].sum() >= 2 and not table.detected[3]
    assert table.reason[3] == "No such file or directory"


def test_a_root_that_is_missing_empty_or_flat_is_one_sentence(project):
    assert "is not a folder (params.yaml: datasets, root)" in project(nothing, "index", "mine")
    (project.folder / "photos").mkdir()
    assert "holds no photo" in project(nothing, "index", "mine")
    Image.new("RGB", (40, 40)).save(project.folder / "photos" / "1.png")
    assert "holds photos, but no folder of an identity" in project(nothing, "index", "mine")
    assert not (project.folder / "data").exists(), "nothing was written"
    assert "data set, trade-off or study of params.yaml" in project(nothing, "index", "yours")


def test_people_with_one_photo_are_listed_and_the_others_go_on(project):
    write_people(project.folder / "photos", [1] + [4] * 6 + [1] + [5] * 9)
    assert project(nothing, "index", "mine") == ""
    index = load_table(project.folder / "data" / "index" / "mine.csv")
    assert index.groupby("identity").size().tolist() == [1, *[4] * 6, 1, *[5] * 9]


@pytest.mark.parametrize(
    ("counts", "change", "sentence"),
    [
        ([4] * 15, nothing, "mine has 5 identities to attack with at least 2 + 2 photos, but 3 x 2 are asked for: lower"),
        ([3] * 6 + [4] * 10, nothing, "mine has 0 identities to attack"),
        ([4] * 16, lambda c: c["datasets"]["mine"].update(auxiliary={"last": 3}), "1 auxiliary identities to train synthetic-"),
        ([4] * 16, lambda c: c["datasets"]["mine"].update(num_pairs=100), "set it to at most 48"),
        ([4] * 16, lambda c: c["datasets"]["mine"].update(auxiliary={}), "datasets.mine.auxiliary: give exactly one of photos"),
        ([4] * 16, lambda c: c["datasets"]["mine"].update(auxiliary={"last": 17}), "last=17 is not in 0 to 16"),
        ([4] * 16, lambda c: c["datasets"]["mine"].update(min_photos=9), "no identity has 9 photos"),
    ],
)
def test_more_than_there_is_is_refused_before_anything_is_computed(project, counts, change, sentence):
    write_people(project.folder / "photos", counts)
    said = project(change, "index", "mine")
    assert sentence in said and "params.yaml" in said and "\n" not in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"num_controls": 5000}, "experiment tiny: .* but 5000 are needed as control identities"),
     ({"num_photos": 100_000}, "experiment tiny: .* photos, but 2 are needed as targets, with")],
)  # fmt: skip
def test_an_experiment_that_asks_for_too_much_is_refused_by_the_first_stage(project, root, change, sentence):
    preset = merge_study("smoke", root)

    def ask(content):
        content.update({key: preset[key] for key in ("runs", "datasets", "experiments")})
        content["experiments"] = {name: experiment | change for name, experiment in content["experiments"].items()}

    assert re.search(sentence.replace("experiment tiny", "experiment tiny[a-z-]*"), project(ask, "index", "tiny"))


@pytest.mark.parametrize(("command", "kind"), [("index", "dataset"), ("train", "run"), ("train-experiment", "experiment"),
                                               ("embed-experiment", "experiment")])  # fmt: skip
def test_a_name_of_another_kind_is_a_sentence(project, command, kind):
    assert project(nothing, command, "smoke").startswith(f"{kind}='smoke' is not one of [")


def write_study(folder, numbers):
    """A study's copy that has one large result: its folder."""
    (folder / "results" / "whole").mkdir(parents=True, exist_ok=True)
    for name in ("results/whole/copy.csv", "params.yaml", "dvc.lock"):
        (folder / name).write_text("\n".join(map(str, numbers)) if name.endswith("csv") else "small")
    return folder


def write_mapped(array, path):
    with create_array(path, array.shape, array.dtype) as written:
        written[:] = array


def write_all(folder, size):
    """Everything that the study writes by a temporary name, about ``size`` bytes each: name -> function that writes it."""
    numbers = np.arange(size // 8)
    net = embedders.build("mobilefacenet", input_size=48, width=0.25).net
    return {
        "table.csv": lambda: save_table(pd.DataFrame({"a": numbers}), folder / "table.csv"),
        "array.npy": lambda: save_array(numbers, folder / "array.npy"),
        "mapped.npy": lambda: write_mapped(numbers, folder / "mapped.npy"),
        "text.json": lambda: save_json({"a": numbers.tolist()}, folder / "text.json"),
        "whole/copy.csv": lambda: presets.bring_back(folder.parent / "study", folder / "whole"),
        "net.safetensors": lambda: embedders.save(folder / "net.safetensors", "mobilefacenet", net.state_dict(), {}),
    }


@pytest.mark.parametrize("name", ["table.csv", "array.npy", "mapped.npy", "text.json", "net.safetensors", "whole/copy.csv"])
def test_no_room_on_the_disk_is_a_sentence_and_leaves_what_was_there(tmp_path, name):
    """A limit on the size of a file fails as a full disk does: at some byte in the middle."""
    folder = tmp_path / "written"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("what was there")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    write_study(tmp_path / "study", np.arange(2**15))
    write = write_all(folder, 2**18)[name]
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(OSError, match=r"could not be written .* and is as it was: make room, then run it again"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    left = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    assert left == [name], "no half of it and nothing beside it"
    assert (folder / name).read_text() == "what was there"
    write()
    assert (folder / name).stat().st_size > 2**16


def test_half_a_table_and_rows_of_none_are_no_rows(root, tmp_path):
    (tmp_path / "half.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"half.csv is not a whole table \(No columns to parse from file\): delete it"):
        load_table(tmp_path / "half.csv")
    params = load_params(root=root)
    run = next(iter(params.runs))
    rows = load_table(params.rows_file(run))
    params._base = tmp_path
    save_table(rows, params.sensitivity_rows_file(run))
    assert not presets.has_rows(params, run)
    for table, is_ours in ((rows, True), (rows.iloc[:0], False), (rows.drop(columns="kimg"), False)):
        save_table(table, params.rows_file(run))
        assert presets.has_rows(params, run) == is_ours


@pytest.mark.parametrize("kept", [0, 5, 100, 100_000])
def test_half_an_array_is_a_sentence(tmp_path, kept):
    save_array(np.zeros((100, 3, 32, 32), np.uint8), tmp_path / "faces.npy")
    (tmp_path / "faces.npy").write_bytes((tmp_path / "faces.npy").read_bytes()[:kept])
    with pytest.raises(ValueError, match="is not a whole .npy array: delete it and make it again"):
        load_array(tmp_path / "faces.npy")


def test_an_array_of_objects_runs_no_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    np.save(tmp_path / "faces.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="is not a whole .npy array"):
        load_array(tmp_path / "faces.npy")
    assert not (tmp_path / "was-run").exists()


def test_rows_of_other_params_are_refused(root):
    params = load_params(root=root)
    run, settings = next(iter(params.runs.items()))
    rows = load_table(params.rows_file(run))
    params = params.model_copy(update={"runs": {run: settings}})
    stages._check_rows(rows, params.runs)
    sentence = rf"the rows of {run} were made with kimg=7, but params.yaml says 20.*dvc repro evaluate"
    with pytest.raises(ValueError, match=sentence):
        stages._check_rows(rows.assign(kimg=7), params.runs)
    with pytest.raises(ValueError, match="max_train_photos=9"):
        stages._check_rows(rows.assign(max_train_photos=9), params.runs)
