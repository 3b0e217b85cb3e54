"""Baselines that see no identity, or only a part of the picture, on faces whose scores are known."""

import numpy as np
import pytest
import torch

from ppe.attacks import appearance
from ppe.attacks.appearance import blank_faces, count_colours, find_inner_face
from ppe.attacks.rivals import BASELINES
from ppe.attacks.scores import ATTACKS
from ppe.faces import TEMPLATE


def draw_faces(count, size=32, seed=0):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("resolution", [32, 64, 112])
def test_the_inner_face_holds_eyes_nose_and_mouth_and_no_corner(resolution):
    inner = find_inner_face(resolution)
    x, y = ((TEMPLATE + 0.5) * resolution / 112).astype(int).T
    assert inner[y, x].all(), "the landmarks to which every face is aligned"
    assert not inner[[0, 0, -1, -1], [0, -1, 0, -1]].any() and (inner == inner[:, ::-1]).all()
    assert inner.mean() == pytest.approx(np.pi * np.prod(appearance.RADII), abs=0.01), "the area of the ellipse"


def test_each_pixel_is_blanked_in_one_of_the_two_parts():
    faces = draw_faces(3)
    without, alone = blank_faces(faces, "inner_face"), blank_faces(faces.numpy(), "surroundings")
    inner = torch.as_tensor(find_inner_face(32))
    assert torch.equal(torch.where(inner, alone, without), faces)
    assert (without[:, :, inner] == 128).all() and (alone[:, :, ~inner] == 128).all()
    with pytest.raises(ValueError, match=r"part='hair' is not one of \['inner_face', 'surroundings'\]"):
        blank_faces(faces, "hair")


@pytest.mark.parametrize(("attack", "part"), [("surroundings", "inner_face"), ("inner_face", "surroundings")])
def test_a_part_that_is_not_seen_changes_nothing(attack, part):
    query, generated = draw_faces(4), draw_faces(5, seed=1)
    score = ATTACKS[attack](query_faces=query, generated_faces=generated)
    np.testing.assert_array_equal(ATTACKS[attack](query_faces=blank_faces(query, part), generated_faces=generated), score)
    assert (ATTACKS[attack](query_faces=query, generated_faces=query) == 0).all()
    flat = [np.full((1, 3, 32, 32), level, np.uint8) for level in (10, 61)]
    assert ATTACKS[attack](query_faces=flat[0], generated_faces=flat[1]) == pytest.approx(-51 / 255)


def test_the_colour_histogram_knows_shares_of_colours_and_no_places():
    black, white = np.zeros((1, 3, 32, 32), np.uint8), np.full((1, 3, 32, 32), 255, np.uint8)
    half = np.concatenate([black[:, :, :16], white[:, :, 16:]], axis=2)
    score = ATTACKS["colour_histogram"]
    assert score(query_faces=half, generated_faces=black) == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert score(query_faces=white, generated_faces=black) == pytest.approx(0, abs=1e-6)
    faces = draw_faces(2)
    moved = faces.flatten(2)[:, :, torch.randperm(32 * 32)].reshape(faces.shape)
    np.testing.assert_allclose(score(query_faces=moved, generated_faces=faces), 1, atol=1e-6)
    assert torch.linalg.vector_norm(count_colours(faces), dim=1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("attack", ["surroundings", "inner_face", "colour_histogram"])
def test_the_block_size_changes_no_score(attack, monkeypatch):
    arrays = {"query_faces": draw_faces(6), "generated_faces": draw_faces(7, seed=1).numpy()}
    score = ATTACKS[attack](**arrays)
    monkeypatch.setattr(appearance, "BLOCK_SIZE", 2)
    np.testing.assert_array_equal(ATTACKS[attack](**arrays), score)
    assert torch.equal(blank_faces(arrays["query_faces"], "inner_face")[3:], blank_faces(arrays["query_faces"][3:], "inner_face"))


def test_every_baseline_is_an_attack():
    assert set(BASELINES) == {"pixel", *appearance.SCORES} <= set(ATTACKS)
