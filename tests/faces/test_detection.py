"""Faces in photos as people have them: small, off centre, turned, dark, too bright, hard compressed, or absent."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scenes import KINDS, draw_backdrop, draw_faceless, draw_scene, measure_error, paste

from ppe.config import load_params
from ppe.datasets.index import iter_photos, read_index
from ppe.datasets.photos import load_photo
from ppe.faces import LANDMARK_COLUMNS, align_faces, confirmation, detect_faces, detection, prepare_faces
from ppe.faces.alignment import measure_misfit
from ppe.faces.detector import LARGE, turn_back

RULES = load_params().detection
LARGEST_ERROR = 0.25
"""Mean distance of the landmarks from the true ones, in distances of the eyes, up to which the right face was found."""


def find_right(table, scenes):
    """Which scenes show their largest face where it is: bool [N]."""
    marks = table[LANDMARK_COLUMNS].to_numpy(float).reshape(-1, 5, 2)
    return np.array([measure_error(mark, scene.faces[0]) <= LARGEST_ERROR for mark, scene in zip(marks, scenes, strict=True)])


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(number) for number in range(1000, 1000 + 6 * len(KINDS))]


@pytest.fixture(scope="module")
def found(scenes):
    return detect_faces([scene.photo for scene in scenes], rules=RULES)


def test_a_face_is_found_wherever_a_person_would_see_one(scenes, found):
    right = find_right(found, scenes)
    missed = [(1000 + i, KINDS[i % len(KINDS)], found.reason[i]) for i in np.flatnonzero(~right)]
    print(f"{right.sum()} of {len(right)} faces found; missed: {missed}")
    assert right.mean() >= 0.95


def test_a_closer_look_places_the_landmarks_of_small_faces_better_and_moves_no_others(scenes, found, monkeypatch):
    sides = np.array([max(scene.photo.shape) for scene in scenes])
    is_small = (sides > LARGE) & (np.array([scene.faces[0].width for scene in scenes]) < 0.15 * sides)
    large, small = ([scene for scene, chosen in zip(scenes, part, strict=True) if chosen] for part in (is_small, sides <= LARGE))
    closer, same = (found[part].reset_index(drop=True) for part in (is_small, sides <= LARGE))
    monkeypatch.setattr(detection, "refine_faces", lambda pairs, *others: [None] * len(pairs))
    plain, before = (detect_faces([scene.photo for scene in part], rules=RULES) for part in (large, small))
    pd.testing.assert_frame_equal(same, before)
    both = find_right(closer, large) & find_right(plain, large)
    errors = []
    for table in (closer, plain):
        marks = table[LANDMARK_COLUMNS].to_numpy(float).reshape(-1, 5, 2)
        errors.append(np.mean([measure_error(marks[i], large[i].faces[0]) for i in np.flatnonzero(both)]))
    print(f"mean error {errors[0]:.3f}, without the closer look {errors[1]:.3f}, in distances of the eyes; {both.sum()} faces")
    assert len(small) and both.sum() >= 10 and errors[0] < errors[1]


def test_a_face_in_a_corner_keeps_its_landmarks_when_it_is_looked_at_closely():
    """A square that was cut off at the corner was stretched, and its landmarks moved by half a distance of the eyes."""
    errors = []
    for number, corner in enumerate([(608, 448), (40, 30), (600, 36), (36, 440)]):
        photo = draw_backdrop(np.random.default_rng(number), 480, 640, "room")
        face = paste(photo, 5, number, 80, corner)
        marks = detect_faces([photo], rules=RULES)[LANDMARK_COLUMNS].to_numpy(float).reshape(5, 2)
        errors.append(measure_error(marks, face))
    assert np.nanmax(errors) < 0.2 and np.isfinite(errors).sum() >= 3, errors


def test_a_turned_face_that_is_hardly_likelier_does_not_outrank_the_upright_one():
    photo = draw_backdrop(np.random.default_rng(638), 300, 400, "room")
    face = paste(photo, 15, 0, 113.12971200735757, (205.53288867647842, 168.3914055929), -39.170297316223895)
    row = detect_faces([photo], rules=RULES).iloc[0]
    assert row.turned == 0 and measure_error(row[LANDMARK_COLUMNS].to_numpy(float).reshape(5, 2), face) < 0.25


@pytest.mark.parametrize("number", [5040, 5389, 5398])
def test_scenery_that_resembles_a_face_gives_way_to_a_small_face(number):
    scene = draw_scene(number)
    assert find_right(detect_faces([scene.photo], rules=RULES), [scene]).all()


def test_no_face_is_found_where_there_is_none():
    table = detect_faces([draw_faceless(number) for number in range(1000, 1016)], rules=RULES)
    assert not table.detected.any(), table[table.detected]
    assert table.reason.str.match("no face found|no sure face").all()


def test_a_face_that_is_blown_out_to_white_is_found_once_the_photo_is_darkened(monkeypatch):
    scene = draw_scene(5388)
    assert find_right(detect_faces([scene.photo], rules=RULES), [scene]).all()
    monkeypatch.setattr(detection, "LOOKS", detection.LOOKS[: detection.NUM_USUAL])
    assert not detect_faces([scene.photo], rules=RULES).detected.any()


@pytest.mark.parametrize("number", [6344, 6617, 6667])
def test_a_face_that_all_other_looks_miss_is_found_by_one_of_the_last(number, monkeypatch):
    scene = draw_scene(number)
    assert find_right(detect_faces([scene.photo], rules=RULES), [scene]).all()
    monkeypatch.setattr(detection, "LOOKS", detection.LOOKS[: detection.FIRST_LAST])
    assert not detect_faces([scene.photo], rules=RULES).detected.any()


def test_what_a_last_look_takes_for_a_face_counts_only_if_closer_looks_confirm_it(monkeypatch):
    picture = draw_faceless(7009)
    row = detect_faces([picture], rules=RULES).iloc[0]
    assert not row.detected and row.probability > 0.9 and row.reason == "no sure face: closer looks do not confirm it"
    monkeypatch.setattr(confirmation, "measure_probabilities", lambda *others: [1.0])
    assert detect_faces([picture], rules=RULES).detected.all()


@pytest.mark.hard
@pytest.mark.parametrize("first", [3000, 10000])
def test_of_a_thousand_scenes_nearly_all_are_right(first):
    scenes = [draw_scene(number) for number in range(first, first + 1000)]
    table = detect_faces([scene.photo for scene in scenes], rules=RULES)
    right, kind = pd.Series(find_right(table, scenes)), [KINDS[number % len(KINDS)] for number in range(first, first + 1000)]
    faceless = detect_faces([draw_faceless(number) for number in range(first, first + 500)], rules=RULES)
    print(f"a face in {table.detected.mean():.1%} of the scenes, the right one in {right.mean():.1%}; "
          f"a face in {faceless.detected.sum()} of 500 pictures without one")  # fmt: skip
    print(right.groupby(kind).mean())
    assert table.detected.mean() >= 0.985 and right.mean() >= 0.97 and faceless.detected.sum() <= 2


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_photo_gives_the_face_of_the_upright_one(scenes, turn):
    photos = [scene.photo for scene, kind in zip(scenes, KINDS, strict=False) if kind in ("plain", "edge", "rolled")]
    upright = detect_faces(photos, rules=RULES)
    turned = detect_faces([np.ascontiguousarray(np.rot90(photo, turn)) for photo in photos], rules=RULES)
    assert upright.detected.all() and turned.detected.all() and (turned.turned == (4 - turn) % 4).all()
    for one, other, photo in zip(upright.itertuples(), turned.itertuples(), photos, strict=True):
        marks = [np.array([getattr(row, column) for column in LANDMARK_COLUMNS]).reshape(5, 2) for row in (one, other)]
        crops = align_faces([photo, np.ascontiguousarray(np.rot90(photo, turn))], marks)
        assert np.abs(crops[0].astype(int) - crops[1]).mean() < 12


def test_positions_in_a_turned_photo_are_those_of_the_photo():
    photo = np.arange(5 * 7).reshape(5, 7)
    for turn in range(4):
        turned = np.rot90(photo, turn)
        places = np.array([(x, y) for y in range(turned.shape[0]) for x in range(turned.shape[1])], float)
        x, y = turn_back(places, turn, photo.shape).astype(int).T
        assert np.array_equal(photo[y, x], turned.ravel())


def test_a_close_up_upside_down_is_turned_and_not_taken_as_it_lies(shared):
    paths = sorted((shared / "data" / "lfw").glob("*/*_0001.jpg"))[:: 5749 // 60]
    photos = [np.array(Image.open(path).convert("RGB")) for path in paths]
    upright = detect_faces(photos, rules=RULES)
    for turn in (1, 2, 3):
        found = detect_faces([np.ascontiguousarray(np.rot90(photo, turn)) for photo in photos], rules=RULES)
        assert upright.detected.all() and found.detected.mean() >= 0.98
        assert (found.turned[found.detected] == 4 - turn).all(), "no face is taken as it lies"


def test_the_larger_of_two_faces_is_taken_and_the_other_is_counted():
    scenes = [draw_scene(number, "two", width=90 + 10 * (number % 5)) for number in range(10)]
    table = detect_faces([scene.photo for scene in scenes], rules=RULES)
    assert find_right(table, scenes).mean() >= 0.9 and table.num_faces.isin([1, 2]).all() and (table.num_faces == 2).any()


def test_landmarks_that_are_no_face_are_refused():
    face = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], float)
    assert measure_misfit(face) < 0.02 and measure_misfit(face * 3 + 7) == pytest.approx(measure_misfit(face))
    upside_down = face[[3, 4, 2, 0, 1]]  # the mouth where the eyes should be
    assert measure_misfit(upside_down) > 0.02 and measure_misfit(face[:, ::-1]) > RULES.max_misfit
    assert measure_misfit(np.zeros((5, 2))) == np.inf


def test_a_small_face_is_cut_from_the_files_own_pixels(tmp_path):
    large = np.asarray(Image.fromarray(draw_scene(1006, "plain", width=60).photo).resize((2937, 3000)))
    (tmp_path / "photos" / "dee").mkdir(parents=True)
    Image.fromarray(large).save(tmp_path / "photos" / "dee" / "large.png")
    photo = load_photo(tmp_path / "photos", "dee/large.png")
    assert max(photo.pixels.shape) == 1024 and photo.whole().pixels.shape == large.shape
    index = read_index("folder", root=tmp_path / "photos")
    faces, table = prepare_faces(index, iter_photos(index, "folder", root=tmp_path / "photos"), rules=RULES)
    scale = np.array([2937, 3000]) / photo.pixels.shape[1::-1]
    marks = (table[LANDMARK_COLUMNS].to_numpy(float).reshape(5, 2) + 0.5) * scale - 0.5
    assert np.array_equal(faces[0], align_faces([large], [marks])[0])
    assert not np.array_equal(faces[0], align_faces([photo.pixels], [table[LANDMARK_COLUMNS].to_numpy(float)])[0])


@pytest.mark.parametrize(("lost", "note"), [(2, "no row is lost"), (0.15, "rows are lost"), (0.7, None)])
def test_a_truncated_jpeg_gives_the_rows_that_are_there(tmp_path, lost, note):
    picture = draw_scene(1001, "plain", width=200).photo
    Image.fromarray(picture).save(tmp_path / "whole.jpg", quality=90)
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(content[: len(content) - (lost if lost > 1 else round(lost * len(content)))])
    whole, short = load_photo(tmp_path, "whole.jpg"), load_photo(tmp_path, "short.jpg")
    assert whole.note == whole.reason == ""
    if note is None:
        assert short.pixels is None and "truncated" in short.reason
    else:
        assert note in short.note and np.array_equal(short.pixels, whole.pixels[: len(short.pixels)])


def test_a_truncated_photo_that_was_reduced_is_not_read_again_in_another_size(tmp_path):
    picture = np.asarray(Image.fromarray(draw_scene(1001, "plain", width=200).photo).resize((1400, 2000)))
    Image.fromarray(picture).save(tmp_path / "large.jpg", quality=90)
    content = (tmp_path / "large.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(content[: round(0.85 * len(content))])
    photo = load_photo(tmp_path, "short.jpg")
    assert "rows are lost" in photo.note and photo.whole is None, "its height would be another share of the whole"
    assert load_photo(tmp_path, "large.jpg").whole is not None
