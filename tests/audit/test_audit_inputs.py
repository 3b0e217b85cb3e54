"""What goes in: folders, archives and arrays give the same pictures, and nothing is opened that leads out of an archive."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ppe.audit import inputs
from ppe.audit.inputs import open_generated, open_people


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch):
    monkeypatch.setattr(inputs, "MIN_FACES", 3)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)


def write_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def add_to_tar(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def read_all(source):
    return [photo.pixels for photo in source.read(0, len(source))]


def test_every_form_gives_the_same_pictures_in_the_same_order(pictures, tmp_path, root):
    (tmp_path / "folder" / "deep" / "deeper").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as packed, tarfile.open(tmp_path / "faces.tar.gz", "w:gz") as rolled:
        for number, pixels in enumerate(pictures):
            content, name = write_png(pixels), f"deep/deeper/{number}.png"
            (tmp_path / "folder" / name).write_bytes(content)
            packed.writestr(name, content)
            add_to_tar(rolled, name, content)
    np.save(tmp_path / "last.npy", pictures)
    np.save(tmp_path / "first.npy", pictures.transpose(0, 3, 1, 2))
    digests = set()
    for name in ("folder", "faces.zip", "faces.tar.gz", "last.npy", "first.npy"):
        source = open_generated(str(tmp_path / name), root)
        assert len(source) == 6 and all((one == two).all() for one, two in zip(read_all(source), pictures, strict=True)), name
        assert (source.read(2, 4)[1].pixels == pictures[3]).all(), "any part, in any order"
        assert source.digest(0, 3) == source.digest(0, 3) != source.digest(3, 6)
        digests.add(source.digest(0, 6))
    assert open_generated(str(tmp_path / "last.npy"), root).names[3] == "row 3"
    assert len(digests) == 2, "a folder and its archives hold the same names and bytes, and so do the two arrays"


def test_paths_out_of_an_archive_and_links_are_listed_and_never_opened(pictures, tmp_path, root):
    good = write_png(pictures[0])
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as packed:
        unsafe, unread = ("../out.png", "/etc/passwd.png"), ("bad.png", "x.heic", "notes.txt", "__MACOSX/a.png")
        for name in ("a.png", "b.png", "c.png", *unsafe, *unread):
            packed.writestr(name, b"no picture" if name == "bad.png" else good)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    source = open_generated(str(tmp_path / "faces.zip"), root)
    reasons = dict(zip(source.names, (photo.reason for photo in source.read(0, len(source))), strict=True))
    assert reasons == {
        "a.png": "", "b.png": "", "c.png": "", "../out.png": "its path leads out of the archive",
        "/etc/passwd.png": "its path leads out of the archive", "bad.png": "the file is not a picture of a known format",
        "x.heic": ".heic is not read: save it as .jpg or .png", "link.png": "a link, which is not followed",
    }  # fmt: skip
    with tarfile.open(tmp_path / "faces.tar", "w") as rolled:
        for name in ("a.png", "b.png", "../out.png"):
            add_to_tar(rolled, name, good)
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        rolled.addfile(link)
    reasons = [photo.reason for photo in open_generated(str(tmp_path / "faces.tar"), root).read(0, 4)]
    assert reasons == ["", "", "its path leads out of the archive", "a link or a special file, which is not followed"]
    assert not (tmp_path.parent / "out.png").exists()


def test_wrong_inputs_are_one_sentence(tmp_path, root, pictures):
    np.save(tmp_path / "float.npy", pictures.astype(np.float32))
    np.save(tmp_path / "two.npy", pictures[:2])
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    (tmp_path / "faces.rar").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, sentence in {
        "float.npy": "is float32", "two.npy": "holds 2 pictures, but 3 to", "broken.zip": "is not a whole zip or tar file",
        "broken.npy": "is not a whole .npy array", "faces.rar": "is a file, but not one of", "empty": "holds no photo",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            open_generated(str(tmp_path / name), root)
    with pytest.raises(FileNotFoundError, match="is not there: give a folder"):
        open_generated(str(tmp_path / "nothing"), root)
    with pytest.raises(ValueError, match="is neither a file nor a run of this study"):
        open_generated("nothing:a", root)
    with pytest.raises(FileNotFoundError, match="--people .*nothing is not a folder"):
        open_people(tmp_path / "nothing", "--people")
    (tmp_path / "real" / "Ada").mkdir(parents=True)
    (tmp_path / "real" / "Ada" / "1.png").write_bytes(write_png(pictures[0]))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "Ada").symlink_to(tmp_path / "real" / "Ada")
    with pytest.raises(ValueError, match="--people .*linked: none of 1 entries can be used. .*link"):
        open_people(tmp_path / "linked", "--people")


def test_people_have_names_in_any_script_and_stray_photos_a_reason(tmp_path, pictures):
    for name in ("Åsa/1.png", "王/one two.png", "-x/a.png", "stray.png", "empty.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty.png" else write_png(pictures[0]))
    source = open_people(tmp_path, "--people")
    photos = dict(zip(source.names, source.read(0, len(source)), strict=True))
    assert set(source.identity) == {"Åsa", "王", "-x", "(no identity)"}
    assert photos["Åsa/1.png"].pixels is not None
    assert photos["stray.png"].reason == photos["empty.png"].reason == "it is not in the folder of a person"


def test_a_digest_changes_with_one_byte(tmp_path, root, pictures):
    for number, pixels in enumerate(pictures):
        (tmp_path / f"{number}.png").write_bytes(write_png(pixels))
    before = open_generated(str(tmp_path), root).digest(0, 6)
    (tmp_path / "3.png").write_bytes(write_png(255 - pictures[3]))
    after = open_generated(str(tmp_path), root)
    assert after.digest(0, 6) != before
