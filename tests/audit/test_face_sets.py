"""From pictures to embeddings on disk: aligned crops and photos, misses, a cache by content, and an interruption."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ppe.audit import face_sets, inputs, resolution
from ppe.audit.face_sets import Models, embed_source
from ppe.audit.inputs import Source, open_generated, open_people
from ppe.audit.resolution import Form, measure_detail, measure_form
from ppe.config import load_params
from ppe.datasets.index import iter_photos, read_index
from ppe.datasets.photos import Photo
from ppe.embedders import Embedder
from ppe.faces import build_detector


class Mean(torch.nn.Module):
    """A face recognition model that sees a face's colours in four quarters."""

    input_size = 16

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch):
    monkeypatch.setattr(inputs, "MIN_FACES", 3)


@pytest.fixture
def models(root):
    net = Embedder(Mean(), lambda faces: faces.float() - 127.5)
    form = Form(True, 32, 32, 8, 8, 0.05, False)
    return Models({"mean": net}, {"mean": "0"}, None, load_params(root=root).detection, "cpu", form)


@pytest.fixture
def pictures(tmp_path):
    faces = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "faces.npy", faces)
    return faces


def test_aligned_crops_are_taken_as_they_are_and_what_is_not_one_is_a_miss(models, tmp_path, pictures):
    photos = [Photo(pixels) for pixels in pictures[:3]] + [Photo(None, "no picture"), Photo(pictures[0][:20])]
    names, digest = [f"n{i}" for i in range(5)], lambda start, stop: f"{start}-{stop}"
    source = Source("five", names, lambda start, stop: photos[start:stop], digest)
    found = embed_source(source, models, tmp_path, is_generated=True)
    assert list(found.row) == [0, 1, 2] and (found.thumbs == pictures[:3].transpose(0, 3, 1, 2)).all()
    assert list(found.misses.name) == ["n3", "n4"]
    assert list(found.misses.reason) == ["no picture", "it is not square, but most of the other pictures are aligned crops"]
    assert np.linalg.norm(found.vectors["mean"], axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_a_model_that_is_opened_otherwise_is_not_served_from_the_cache(models, tmp_path, pictures):
    source = open_generated(tmp_path / "faces.npy", tmp_path)
    first = embed_source(source, models, tmp_path / "cache", is_generated=True)
    models.openings = {"mean": {"colours": "bgr"}}
    models.nets["mean"].normalise = lambda faces: faces.float().flip(1) - 127.5
    second = embed_source(source, models, tmp_path / "cache", is_generated=True)
    assert np.abs(first.vectors["mean"] - second.vectors["mean"]).max() > 0.01, "before, the first were kept"


def test_an_audit_waits_while_another_embeds_the_same_pictures(models, tmp_path, pictures, monkeypatch, capsys):
    """Before, one of two died of a bus error: the other had cut its file."""
    source, started, may_go_on = open_generated(tmp_path / "faces.npy", tmp_path), threading.Event(), threading.Event()
    embed = face_sets._embed_block

    def slow(*arguments):
        started.set()
        assert may_go_on.wait(20)
        return embed(*arguments)

    monkeypatch.setattr(face_sets, "_embed_block", slow)
    with ThreadPoolExecutor(2) as pool:
        audits = [pool.submit(embed_source, source, models, tmp_path / "cache", is_generated=True) for _ in range(2)]
        assert started.wait(20)
        time.sleep(0.2)
        assert "another audit embeds the same pictures: waiting" in capsys.readouterr().out
        may_go_on.set()
        one, two = (audit.result(20) for audit in audits)
    assert (np.asarray(one.vectors["mean"]) == two.vectors["mean"]).all() and len(one) == 9


def test_an_interrupted_audit_goes_on_and_a_second_one_computes_nothing(models, tmp_path, root, pictures, monkeypatch):
    monkeypatch.setattr(face_sets, "BLOCK", 2)
    source, calls = open_generated(str(tmp_path / "faces.npy"), root), []
    compute = face_sets._embed_block

    def stop_midway(source, start, stop, *others):
        calls.append(start)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(source, start, stop, *others)

    monkeypatch.setattr(face_sets, "_embed_block", stop_midway)
    with pytest.raises(KeyboardInterrupt):
        embed_source(source, models, tmp_path / "cache", is_generated=True)
    broken = sorted((tmp_path / "cache").rglob("block-*.npz"))
    assert len(broken) == 2
    broken[1].write_bytes(b"half a block")
    found = embed_source(source, models, tmp_path / "cache", is_generated=True)
    assert calls == [0, 2, 4, 2, 4, 6, 8], "the first block is kept, and the damaged one is made again"
    assert not list((tmp_path / "cache").rglob("*.npz")) and not list((tmp_path / "cache").rglob("*.partial"))
    again = embed_source(source, models, tmp_path / "cache", is_generated=True)
    assert len(calls) == 7 and (again.vectors["mean"] == found.vectors["mean"]).all()
    whole = embed_source(source, models, tmp_path / "other", is_generated=True)
    assert (whole.vectors["mean"] == found.vectors["mean"]).all(), "blocks change nothing"
    assert len(calls) == 12
    for kept in (tmp_path / "other").rglob("*.npy"):
        kept.write_bytes(kept.read_bytes()[:90])
    mended = embed_source(source, models, tmp_path / "other", is_generated=True)
    assert len(calls) == 17 and (mended.vectors["mean"] == found.vectors["mean"]).all(), "what was damaged is made again"
    models.form = models.form._replace(resolution=16)
    embed_source(source, models, tmp_path / "cache", is_generated=True)
    assert len(calls) == 17 + 5, "another resolution is another set"


def test_a_set_without_a_face_is_refused(models, tmp_path):
    source = Source("none", ["a"], lambda start, stop: [Photo(None, "no picture")], lambda start, stop: "x")
    with pytest.raises(ValueError, match="no face was found in any of 1 pictures of generated faces: no picture"):
        embed_source(source, models, tmp_path, is_generated=True, label="generated faces")


def test_a_reduction_shows_what_detail_a_picture_holds():
    fine = np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64), dtype=np.uint8)
    small = [Image.fromarray(face.transpose(1, 2, 0)).resize((16, 16), Image.Resampling.BOX) for face in fine]
    enlarged = np.stack([np.asarray(face.resize((64, 64), Image.Resampling.BICUBIC)).transpose(2, 0, 1) for face in small])
    assert measure_detail(enlarged, 32) < 0.25 * measure_detail(fine, 32), "nothing finer than 16 px is in it"
    assert measure_detail(np.full((2, 3, 64, 64), 7, np.uint8), 16) < 1e-3


@pytest.fixture(scope="module")
def drawn():
    """Twelve photos of synthetic identities, 128 px."""
    index = read_index("synthetic", num_identities=6, photos_per_identity=2, seed=1)
    blocks = iter_photos(index, "synthetic", seed=1, size=128)
    return np.stack([photo.pixels for _, photos in blocks for photo in photos])


def test_crops_and_photos_of_a_generator_are_told_apart_and_their_detail_is_measured(drawn, tmp_path, root):
    """Photos, their aligned crops of 32 px, and those crops enlarged fourfold, which hold no finer detail than before."""
    from ppe.faces import LANDMARK_COLUMNS, align_faces, detect_faces, resize_faces

    for number, photo in enumerate(drawn):
        file = tmp_path / "people" / f"p{number // 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(file)
    people, detector = open_people(tmp_path / "people", "--people"), build_detector("cpu")
    rules = load_params(root=root).detection
    table = detect_faces(list(drawn), rules=rules, detector=detector)
    crops = align_faces(list(drawn), table[LANDMARK_COLUMNS].to_numpy(), 112)
    small = resize_faces(crops, 32).numpy().transpose(0, 2, 3, 1)
    large = np.stack([np.asarray(Image.fromarray(face).resize((128, 128), Image.Resampling.BICUBIC)) for face in small])
    options = {"rules": rules, "detector": detector, "detail_error": 0.3}
    forms = {}
    for name, faces in {"photos": drawn, "small": small, "large": large}.items():
        np.save(tmp_path / f"{name}.npy", faces)
        forms[name] = measure_form(open_generated(str(tmp_path / f"{name}.npy"), root), people, **options)
    assert not forms["photos"].is_aligned and forms["photos"].resolution >= 48 and not forms["photos"].is_coarse
    assert forms["small"].is_aligned and forms["small"].resolution == 32 and not forms["small"].is_coarse
    assert forms["large"].is_aligned and forms["large"].is_coarse and forms["large"].resolution in (32, 48)


def test_pictures_without_a_face_are_refused(drawn, tmp_path, root):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8))
    source = open_generated(str(tmp_path / "noise.npy"), root)
    options = {"rules": load_params(root=root).detection, "detector": build_detector("cpu"), "detail_error": 0.3}
    with pytest.raises(ValueError, match="a face was found in 0 of 6 sampled pictures of --generated"):
        measure_form(source, source, **options)


def test_the_sample_does_not_depend_on_anything_but_its_seed():
    source = SimpleNamespace(read=lambda start, stop: [Photo(np.full((4, 4, 3), start % 256, np.uint8))])
    numbers = Source("", range(500), source.read, None)
    one, two = (resolution.read_sample(numbers, 3, 20) for _ in range(2))
    assert [int(p[0, 0, 0]) for p in one] == [int(p[0, 0, 0]) for p in two] and len(one) == 20
