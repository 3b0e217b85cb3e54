"""Readers: an index for each data set, a reason for each unusable file, and no links out of the root."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ppe.datasets import synthetic
from ppe.datasets.index import iter_photos, read_index
from ppe.datasets.readers import READERS
from ppe.datasets.splits import mark_auxiliary, split_auxiliary
from ppe.datasets.synthetic_reader import find_vectors_and_seeds


def write(path, colour=(200, 30, 30), size=(40, 30), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    """Three identities with three usable photos each."""
    root = tmp_path / "photos"
    for identity in ("anna", "bo", "cy"):
        for k in range(3):
            write(root / identity / f"{k}.png", colour=(60 * k, 90, 120))
    return root


def read_all(index, root, reader="folder"):
    """Pixels of each photo, or the reason why there are none."""
    photos = [photo for _, block in iter_photos(index, reader, root=root) for photo in block]
    return [photo.reason if photo.pixels is None else photo.pixels for photo in photos]


def test_the_index_of_a_folder_does_not_depend_on_the_order_of_creation(photos, tmp_path):
    index = read_index("folder", root=photos)
    assert list(index.identity) == ["anna"] * 3 + ["bo"] * 3 + ["cy"] * 3 and index.readable.all()
    assert index.image_id.is_unique and not index.path.str.startswith("/").any()
    other = tmp_path / "other"
    for path in reversed(sorted(photos.rglob("*.png"))):
        copy = other / path.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    pd.testing.assert_frame_equal(read_index("folder", root=other), index)


def test_photos_are_read_in_the_order_of_the_index_for_any_batch_size(photos):
    index = read_index("folder", root=photos)
    whole = read_all(index, photos)
    assert [photo[0, 0].tolist() for photo in whole[:3]] == [[0, 90, 120], [60, 90, 120], [120, 90, 120]]
    parts = [p.pixels for _, block in iter_photos(index, "folder", root=photos, batch_size=2) for p in block]
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_unusable_files_are_rows_with_a_reason_and_never_an_error(photos):
    bad = photos / "dee"
    good = write(bad / "good.png")
    write(bad / "whole.jpg", size=(200, 200))
    (bad / "truncated.jpg").write_bytes((bad / "whole.jpg").read_bytes()[:500])
    (bad / "text.jpg").write_text("not a picture")
    (bad / "empty.jpg").touch()
    write(bad / "wide.png", size=(10_001, 2))
    outside = write(photos.parent / "outside.png")
    (bad / "link.png").symlink_to(outside)
    (bad / "loop.png").symlink_to(bad / "loop.png")
    index = read_index("folder", root=photos)
    rows = index[index.identity == "dee"].set_index(index[index.identity == "dee"].path.str.split("/").str[-1])
    for name in ("text.jpg", "empty.jpg", "wide.png", "link.png", "loop.png"):
        assert not rows.readable[name] and rows.reason[name], name
    assert "out of the root" in rows.reason["link.png"]
    result = dict(zip(index.path.str.split("/").str[-1], read_all(index, photos), strict=True))
    assert isinstance(result["truncated.jpg"], str) and isinstance(result["text.jpg"], str)
    assert isinstance(result["good.png"], np.ndarray)
    assert str(photos) not in index.to_csv(), "no absolute path in the index"
    good.unlink()
    assert isinstance(read_all(index[index.path.str.endswith("good.png")], photos)[0], str), "a missing file is a reason"


def test_pictures_of_every_mode_are_converted_to_rgb(tmp_path):
    root = tmp_path / "kinds" / "someone"
    write(root / "grey.png", mode="L")
    write(root / "cmyk.jpg", mode="CMYK")
    write(root / "palette.gif", mode="P")
    Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(root / "deep.png")
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(root / "clear.png")
    frames = [Image.new("RGB", (40, 30), c) for c in ("red", "blue")]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.new("RGB", (40, 30), "white")
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was rotated by 90 degrees
    turned.save(root / "turned.jpg", exif=exif)
    index = read_index("folder", root=root.parent)
    result = dict(zip(index.path.str.split("/").str[-1], read_all(index, root.parent), strict=True))
    for name, photo in result.items():
        assert isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.shape[2] == 3, name
    assert result["turned.jpg"].shape == (40, 30, 3) and result["grey.png"].shape == (30, 40, 3)
    assert (result["clear.png"] == 255).all(), "transparent pixels become white"
    assert abs(int(result["deep.png"][0, 0, 0]) - 156) <= 1, "16 bits are scaled, not clipped"
    assert result["moving.gif"][0, 0].tolist() == [255, 0, 0], "the first frame"


def test_identity_names_may_have_any_script_spaces_and_a_leading_dash(tmp_path):
    names = ["Ольга", "-rf", "two words", "山田"]
    for name in names:
        write(tmp_path / "names" / name / "1.png")
    index = read_index("folder", root=tmp_path / "names")
    assert sorted(index.identity) == sorted(names)
    assert all(isinstance(p, np.ndarray) for p in read_all(index, tmp_path / "names"))


def test_the_number_of_photos_of_an_identity_is_limited_from_both_sides(photos):
    (photos / "bo" / "2.png").unlink()
    assert set(read_index("folder", root=photos, min_photos=3).identity) == {"anna", "cy"}
    few = read_index("folder", root=photos, max_photos=2, seed=4)
    assert few.groupby("identity").size().eq(2).all()
    without = photos / "anna"
    for path in without.iterdir():
        path.unlink()
    without.rmdir()
    again = read_index("folder", root=photos, max_photos=2, seed=4)
    kept = few[few.identity != "anna"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, kept), "the choice depends on (seed, identity) alone"


def test_an_unusable_root_or_reader_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        read_index("folder", root=tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError):
        read_index("folder", root=tmp_path / "empty")
    with pytest.raises(ValueError, match="is not one of"):
        read_index("nothing", root=tmp_path)
    with pytest.raises(ValueError, match="cannot be downloaded"):
        read_index("celeba")


def test_celeba_has_identities_and_a_background_folder_has_one_for_each_photo(tmp_path):
    root = tmp_path / "celeba"
    for k in range(4):
        write(root / "img_align_celeba" / f"{k:06d}.jpg")
    (root / "identity_CelebA.txt").write_text("".join(f"{k:06d}.jpg {k % 2 + 7}\n" for k in range(4)))
    index = read_index("celeba", root=root)
    assert index.groupby("identity").size().tolist() == [2, 2] and index.readable.all()
    background = read_index("background", root=root / "img_align_celeba")
    assert background.identity.nunique() == 4, "every photo is an identity of its own"


def test_synthetic_photos_are_a_function_of_the_seed_and_their_name():
    settings = {"num_identities": 3, "num_auxiliary": 2, "photos_per_identity": 2}
    index = read_index("synthetic", seed=5, **settings)
    assert len(index) == 10 and index.filter(like="attribute_").shape[1] >= 3 and index.sha256.is_unique
    photos = [p.pixels for _, block in iter_photos(index, "synthetic", seed=5, size=64) for p in block]
    vectors, seeds = find_vectors_and_seeds(index.image_id, 5)
    assert torch.equal(vectors[::2], synthetic.sample_identities(5, 5))
    drawn = synthetic.draw_photos(vectors[3:4], seeds[3:4], size=64)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(drawn, photos[3])
    larger = read_index("synthetic", seed=5, **{**settings, "num_auxiliary": 4})
    pd.testing.assert_frame_equal(larger.iloc[:10], index)


def test_roles_follow_from_the_number_of_photos_or_the_order_of_names():
    index = pd.DataFrame({"identity": ["a"] * 2 + ["b"] * 4 + ["c"] * 7, "readable": True})
    for options, expected in (({"photos": (4, 6)}, ["background", "auxiliary", "attacked"]),
                              ({"last": 1}, ["attacked", "attacked", "auxiliary"])):  # fmt: skip
        assert mark_auxiliary(index, **options).groupby(index.identity).first().tolist() == expected
    usable = np.array([True] * 9 + [False] * 4)  # c keeps three
    assert mark_auxiliary(index, photos=(4, 6), usable=usable)[12] == "background"
    with pytest.raises(ValueError, match="exactly one"):
        mark_auxiliary(index)


def test_auxiliary_identities_are_split_by_the_seed_alone():
    names = [f"p{k}" for k in range(50)]
    parts = split_auxiliary(names, 3)
    assert pd.Series(parts).value_counts().to_dict() == {"embedder": 30, "cohort": 10, "threshold": 10}
    assert split_auxiliary(names[::-1] + names, 3) == parts and split_auxiliary(names, 4) != parts


def test_olivetti_faces_are_upright(shared):
    index = read_index("olivetti", root=shared / "data" / "olivetti")
    assert len(index) == 400 and index.identity.nunique() == 40
    some = index.iloc[::40]
    photos = read_all(some, shared / "data" / "olivetti", "olivetti")
    assert all(p.shape == (64, 64, 3) for p in photos)
    from scipy.io import loadmat

    raw = loadmat(shared / "data" / "olivetti" / "olivettifaces.mat")["faces"]
    assert np.array_equal(photos[0][:, :, 0], raw[:, 0].reshape(64, 64).T), "the file is stored column by column"


def test_lfw_is_read_from_its_folder(shared):
    index = read_index("lfw", root=shared / "data" / "lfw", min_photos=100, max_photos=100)
    assert index.identity.nunique() == 5 and len(index) == 500 and index.readable.all()
    assert set(READERS) == {"synthetic", "lfw", "olivetti", "celeba", "folder", "background"}


def test_synthetic_photos_do_not_depend_on_the_number_of_processes(monkeypatch):
    index = read_index("synthetic", seed=3, num_identities=3, num_auxiliary=0, photos_per_identity=3)
    alone = list(iter_photos(index, "synthetic", seed=3, size=48, batch_size=2))
    monkeypatch.setattr("ppe.datasets.synthetic_reader.MANY_PHOTOS", 1)
    several = list(iter_photos(index, "synthetic", seed=3, size=48, batch_size=2))
    assert [p.tolist() for p, _ in several] == [p.tolist() for p, _ in alone]
    pairs = [pair for (_, x), (_, y) in zip(alone, several, strict=True) for pair in zip(x, y, strict=True)]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in pairs)


def test_prominent_identities_have_more_photos():
    sizes = {"num_identities": 3, "num_auxiliary": 1, "photos_per_identity": 2}
    index = read_index("synthetic", seed=3, **sizes, num_prominent=1, photos_per_prominent=5)
    assert index.identity.value_counts(sort=False).tolist() == [5, 2, 2, 2]
    auxiliary = read_index("synthetic", seed=3, **sizes, photos_per_auxiliary=4)
    assert auxiliary.identity.value_counts(sort=False).tolist() == [2, 2, 2, 4]
    few = read_index("synthetic", seed=3, **sizes)
    assert set(few.sha256) < set(index.sha256), "their first photos, and those of the others, are unchanged"
    with pytest.raises(ValueError, match="num_prominent=1, photos_per_prominent=None"):
        read_index("synthetic", seed=3, **sizes, num_prominent=1)
    with pytest.raises(ValueError, match="num_prominent=4"):
        read_index("synthetic", seed=3, **sizes, num_prominent=4, photos_per_prominent=5)


@pytest.mark.parametrize(("lines", "sentence"), [
    (b"1.jpg 7\n1.jpg 8\n", "line 2: '1.jpg' is identity 8 here and 7 above: keep one of the two"),
    (b"\xff.jpg 7\n", "is not UTF-8"), (b"1.jpg\n", "line 1: '1.jpg' is not a file name and an identity"),
])  # fmt: skip
def test_an_inconsistent_table_of_celeba_is_an_error(tmp_path, lines, sentence):
    (tmp_path / "img_align_celeba").mkdir()
    write(tmp_path / "img_align_celeba" / "1.jpg")
    (tmp_path / "identity_CelebA.txt").write_bytes(lines)
    with pytest.raises(ValueError, match=sentence):
        read_index("celeba", root=tmp_path)


@pytest.mark.parametrize("content", [b"", bytes(1000), b"not a MATLAB file, but a text of sufficient length for this test " * 9])
def test_a_damaged_olivetti_file_is_an_error(tmp_path, content):
    (tmp_path / "olivettifaces.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a complete MATLAB file .*download it again \(params.yaml: datasets, root\)"):
        read_index("olivetti", root=tmp_path)
