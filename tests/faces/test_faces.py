"""Detection, alignment, resizing and duplicates: answers on paper, and comparison with another implementation."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ppe.config import load_params
from ppe.datasets import synthetic
from ppe.datasets.photos import Photo
from ppe.faces import (
    LANDMARK_COLUMNS,
    TEMPLATE,
    align_faces,
    detect_faces,
    find_duplicates,
    fit_similarity,
    measure_sharpness,
    prepare_faces,
    resize_faces,
)
from ppe.faces.duplicates import correlate_registered

RULES = load_params().detection


@pytest.fixture(scope="module")
def synthetic_photos():
    """Eight photos of synthetic identities, list of uint8 [H, W, 3]."""
    photos = synthetic.draw_photos(synthetic.sample_identities(8, 5), torch.arange(8), size=112)
    return list(photos.permute(0, 2, 3, 1).numpy())


def test_a_fitted_similarity_is_the_known_one():
    angle, scale, shift = 0.3, 1.7, np.array([4.0, -9.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = fit_similarity(TEMPLATE, TEMPLATE @ turn.T + shift)
    np.testing.assert_allclose(matrix, np.column_stack([turn, shift]), atol=1e-4)


def test_alignment_moves_a_mark_to_its_position_on_the_template():
    photo = np.zeros((200, 220, 3), np.uint8)
    angle = np.deg2rad(20)
    turn = 0.8 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (TEMPLATE @ turn.T + [70, 40]).astype(np.float32)
    x, y = np.round(landmarks[2]).astype(int)
    photo[y - 1 : y + 2, x - 1 : x + 2] = 255
    crop = align_faces([photo], landmarks[None])[0]
    assert crop.shape == (3, 112, 112) and crop.dtype == np.uint8
    rows, columns = np.nonzero(crop[0] > 128)
    assert abs(columns.mean() + 0.5 - TEMPLATE[2, 0]) < 1.2 and abs(rows.mean() + 0.5 - TEMPLATE[2, 1]) < 1.2


def test_a_large_photo_is_averaged_without_aliasing():
    """Stripes of one pixel in a photo of four times the crop's size become grey; nearest-pixel sampling would leave stripes."""
    photo = np.zeros((448, 448, 3), np.uint8)
    photo[:, ::2] = 255
    crop = align_faces([photo], TEMPLATE[None] * 4)[0]
    assert crop.std() < 8 and abs(crop.mean() - 127.5) < 8


def test_resizing_averages_areas_and_keeps_the_order_of_rows():
    faces = np.zeros((3, 3, 8, 8), np.uint8)
    faces[0, :, :2, :2] = [[10, 20], [30, 40]]
    faces[2] = 200
    small = resize_faces(faces, 4, batch_size=2)
    assert small.dtype == torch.uint8 and small[0, 0, 0, 0] == 25 and (small[2] == 200).all() and (small[1] == 0).all()
    assert torch.equal(small, resize_faces(faces, 4, batch_size=1))
    with pytest.raises(ValueError, match="smaller than 16 px"):
        resize_faces(faces, 16)


def test_duplicates_are_found_and_other_photos_are_not(synthetic_photos):
    faces = np.stack([p.transpose(2, 0, 1) for p in synthetic_photos])
    buffer = io.BytesIO()
    Image.fromarray(synthetic_photos[0]).save(buffer, "JPEG", quality=60)
    encoded = np.asarray(Image.open(buffer)).transpose(2, 0, 1)
    copies = np.stack([faces[0], encoded, faces[0][:, :, ::-1]])
    identities = ["one"] * 4 + ["two"] * 4
    found = find_duplicates(np.concatenate([faces, copies]), [*identities, "one", "one", "one"])
    assert found.tolist() == [-1] * 8 + [0, 0, 0]
    other = find_duplicates(np.concatenate([faces, copies]), [*identities, "two", "two", "two"])
    assert (other[8:] != 0).all(), "only photos of the same identity are compared"
    across = find_duplicates(np.concatenate([faces, copies]), [*identities, "two", "two", "two"], across=True, block_size=3)
    assert across.tolist() == [-1] * 8 + [0, 0, 0], "one picture under two names, and no other pair"


def test_detection_does_not_depend_on_the_batch(synthetic_photos):
    together = detect_faces(synthetic_photos, rules=RULES)
    alone = pd.concat([detect_faces([photo], rules=RULES) for photo in synthetic_photos], ignore_index=True)
    assert together.detected.mean() >= 0.75
    assert together.detected.tolist() == alone.detected.tolist()
    gap = np.nanmax(np.abs(together[LANDMARK_COLUMNS].to_numpy(float) - alone[LANDMARK_COLUMNS].to_numpy(float)))
    print("largest difference of a landmark, px:", gap)
    assert gap < 0.05


def test_detection_does_not_depend_on_the_number_of_threads(synthetic_photos):
    noise = np.full((112, 112, 3), 127, np.uint8)  # looked at five times, in batches with other photos
    photos = [noise, *synthetic_photos, noise, np.zeros((1, 1, 3), np.uint8)]
    before = torch.get_num_threads()
    tables = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            tables.append(detect_faces(photos, rules=RULES))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    pd.testing.assert_frame_equal(*tables)
    assert tables[0].reason.iloc[[0, 9]].tolist() == ["no face found"] * 2


def test_registration_finds_a_shifted_copy_and_not_its_negative():
    rng = np.random.default_rng(0)
    large = torch.from_numpy(rng.normal(128, 60, (1, 1, 58, 58)))
    for _ in range(2):
        large = torch.nn.functional.avg_pool2d(large, 9, stride=1)
    large = large[0, 0].numpy()
    one, moved, other = large[3:35, 3:35], large[3:35, 4:36], large[10:42, 10:42]
    same, negative, different = correlate_registered(np.stack([one] * 3), np.stack([moved, 255 - one, other]))
    assert same > 0.97 and negative < 0.9 and different < 0.9


def test_one_picture_under_two_names_is_flagged(synthetic_photos):
    index = pd.DataFrame({"image_id": list("abcd"), "identity": ["x", "x", "y", "y"]})
    _, table = prepare_faces(index, iter([(np.arange(4), [Photo(synthetic_photos[i]) for i in (0, 1, 2, 0)])]))
    assert table.duplicate_of.tolist() == ["", "", "", "a"]


def test_where_no_bar_is_shown_a_line_says_how_many_photos_are_done(synthetic_photos, monkeypatch, capsys):
    monkeypatch.setattr("ppe.faces.LINE_SECONDS", -1)
    index = pd.DataFrame({"image_id": list("abc"), "identity": "x"})
    prepare_faces(index, ((np.array([i]), [Photo(synthetic_photos[i])]) for i in range(3)))
    assert capsys.readouterr().out.splitlines()[-1] == "faces: 3 of 3 photos"


def test_every_photo_keeps_its_row(synthetic_photos):
    noise = np.full((112, 112, 3), 127, np.uint8)
    tiny = np.zeros((1, 1, 3), np.uint8)
    first, second = synthetic_photos[:2]
    blocks = [(np.array([0, 1, 2]), [Photo(first), Photo(None, "the file is empty"), Photo(noise)]),
              (np.array([3, 4]), [Photo(tiny), Photo(second)])]  # fmt: skip
    index = pd.DataFrame({"image_id": list("abcde"), "identity": ["x", "x", "y", "y", "y"]})
    faces, table = prepare_faces(index, iter(blocks))
    assert faces.shape == (5, 3, 112, 112) and list(table.image_id) == list("abcde")
    assert table.detected.tolist() == [True, False, False, False, True]
    assert table.reason.tolist() == ["", "the file is empty", "no face found", "1 x 1 px is too small for a face of 20 px", ""]
    assert (faces[[1, 2, 3]] == 0).all() and faces[[0, 4]].any(axis=(1, 2, 3)).all()


def test_landmarks_in_lfw_agree_with_another_implementation(shared):
    expected = pd.read_csv(shared / "data" / "lfw-landmarks.csv").iloc[::200]
    photos = [np.asarray(Image.open(shared / "data" / "lfw" / path).convert("RGB")) for path in expected.path]
    found = detect_faces(photos, rules=RULES)
    known = expected[LANDMARK_COLUMNS].to_numpy().reshape(-1, 5, 2)
    here = found[LANDMARK_COLUMNS].to_numpy(float).reshape(-1, 5, 2)
    gap = np.nanmedian(np.linalg.norm(here - known, axis=2))
    print(f"{found.detected.mean():.1%} of {len(photos)} detected, median distance {gap:.2f} px")
    assert found.detected.mean() >= 0.97 and gap < 3


def test_sharpness_falls_with_blur_and_not_with_brightness():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 200, (3, 3, 40, 40), dtype=np.uint8)
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(sharp).float(), 3, 1, 1).to(torch.uint8).numpy()
    assert (measure_sharpness(blurred) < 0.5 * measure_sharpness(sharp)).all()
    np.testing.assert_allclose(measure_sharpness(sharp + 50), measure_sharpness(sharp), rtol=1e-6)
    assert measure_sharpness(np.full((2, 3, 40, 40), 9, np.uint8)).tolist() == [0, 0]
    assert measure_sharpness(sharp[:0]).shape == (0,)
