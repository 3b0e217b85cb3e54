"""Whose face is it: answers from angles on a circle, and photos with planted strangers."""

import numpy as np
import pandas as pd
import torch

from ppe.config import load_params
from ppe.datasets import synthetic
from ppe.datasets.photos import Photo
from ppe.faces import LANDMARK_COLUMNS, check_identities, prepare_faces
from ppe.faces.identity_check import choose_faces
from ppe.faces.losses import describe_fate, describe_losses

RULES = load_params().detection


def on_circle(*degrees):
    angles = np.deg2rad(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def test_the_face_nearest_to_the_persons_other_photos_is_chosen():
    # Anna at 0 degrees, Bo at 180. In Anna's third photo the main face is at 170 degrees, and hers is the second.
    vectors = on_circle(0, 2, 170, 4, 180, 178, 182)
    choice = choose_faces(vectors, np.array([0, 1, 2, 2, 3, 4, 5]), ["anna"] * 3 + ["bo"] * 3, 0.2)
    assert choice.row.tolist() == [0, 1, 3, 4, 5, 6]
    assert not choice.is_foreign.any() and (choice.similarity > 0.99).all()
    # In the second pass, templates are of the chosen faces: those of 0 and 2 degrees for the photo at 4.
    np.testing.assert_allclose(choice.similarity[2], np.cos(np.deg2rad(3)), atol=1e-6)


def test_a_photo_of_somebody_else_is_flagged_and_does_not_move_the_template():
    vectors = on_circle(0, 2, 4, 180, 180, 178, 182, 176)
    choice = choose_faces(vectors, np.arange(8), ["anna"] * 4 + ["bo"] * 4, 0.2)
    assert choice.is_foreign.tolist() == [False, False, False, True] + [False] * 4
    np.testing.assert_allclose(choice.similarity[0], np.cos(np.deg2rad(3)), atol=1e-6)


def test_a_person_with_one_photo_has_the_main_face_and_no_similarity():
    choice = choose_faces(on_circle(0, 90, 180, 181), np.array([0, 0, 1, 2]), ["anna", "bo", "bo"], 0.2)
    assert choice.row.tolist() == [0, 2, 3] and np.isnan(choice.similarity[0]) and not choice.is_foreign[0]


def test_faces_are_replaced_and_foreign_photos_left_out():
    vectors = synthetic.sample_identities(8, 5)[[0, 1]]
    anna, bo = (synthetic.draw_photos(vectors[[k] * 6], torch.arange(6), size=128).permute(0, 2, 3, 1).numpy() for k in (0, 1))
    beside = np.concatenate([np.pad(anna[4], ((64, 64), (0, 0), (0, 0))), bo[4].repeat(2, 0).repeat(2, 1)], axis=1)
    photos = [*anna[:4], beside, bo[5], *bo[:4]]
    index = pd.DataFrame({"image_id": [str(k) for k in range(10)], "identity": ["anna"] * 6 + ["bo"] * 4})

    def read(rows):
        return [(np.arange(len(rows)), [Photo(photos[int(name)]) for name in rows.image_id])]

    faces, table = prepare_faces(index, read(index), rules=RULES)
    assert table.detected.all() and table.num_faces[4] == 2
    # A perfect model: Anna is near 0 degrees, Bo near 180. It knows the ten main faces; the only other face is Anna's small one.
    vectors = on_circle(0, 1, 2, 3, 180, 180, 178, 182, 184, 176)
    known = {face.tobytes(): vector for face, vector in zip(faces, vectors, strict=True)}
    others = []

    def embed(block):
        others.extend(face for face in block if face.tobytes() not in known)
        return np.stack([known.get(face.tobytes(), on_circle(5)[0]) for face in block])

    checked = check_identities(index, faces, table, read=read, embed=embed, rules=RULES, leave_out=True)
    assert checked.another_face.tolist() == [False] * 4 + [True] + [False] * 5
    assert len(others) == 1 and np.array_equal(faces[4], others[0])
    assert (checked.loc[4, LANDMARK_COLUMNS] != table.loc[4, LANDMARK_COLUMNS]).all()
    assert checked.is_foreign.tolist() == [False] * 5 + [True] + [False] * 4 and not checked.detected[5]
    assert (faces[5] == 0).all() and describe_fate(checked)[5] == checked.reason[5]


def test_nothing_is_checked_without_a_model():
    index = pd.DataFrame({"image_id": ["1"], "identity": ["anna"]})
    faces, table = prepare_faces(index, [(np.arange(1), [Photo(np.zeros((64, 64, 3), np.uint8))])], rules=RULES)
    checked = check_identities(index, faces, table, read=None, embed=None, rules=RULES)
    assert not checked.is_foreign.any() and not checked.another_face.any() and checked.similarity.isna().all()


def test_losses_are_said_with_how_many_people_fall_short():
    table = pd.DataFrame({"identity": np.repeat(list("abcde"), 20), "detected": True, "reason": "", "is_foreign": False,
                          "role": "attacked"})  # fmt: skip
    assert describe_losses(table, "mine", {"mine-10": 20}) == []
    table.loc[:4, ["detected", "reason"]] = [False, "no face found"]
    table.loc[40:44, "is_foreign"] = True
    lost, short, foreign = describe_losses(table, "mine", {"mine-10": 20, "mine-5": 10})
    assert lost.startswith("5 of 100 files of mine (5.0%) give no face") and lost.endswith("the reason: no face found")
    assert short == "because of it 1 identities have fewer than the 20 photos that mine-10 needs"
    assert foreign.startswith("5 of 100 photos of mine (5.0%) are no more like their person's other photos than a stranger's")
