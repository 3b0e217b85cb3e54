"""The constants that are set on auxiliary people, on embeddings whose answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.rehearsal import choose_constants, find_radius, rehearse_attack


def on_circle(*degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


def draw_photos(num_people=20, photos=6, spread=0.5, width=16, seed=0):
    """Photos around a centre a person, and their names; larger ``spread`` is a weaker net."""
    random = torch.Generator().manual_seed(seed)
    people = torch.randn(num_people, width, generator=random).repeat_interleave(photos, 0)
    faces = people + spread * torch.randn(len(people), width, generator=random)
    return torch.nn.functional.normalize(faces, dim=1), np.repeat([f"p{i:02}" for i in range(num_people)], photos)


def test_the_radius_holds_its_share_of_the_strangers():
    embeddings, identity = on_circle(0, 0, 60, 90), ["x", "x", "y", "z"]  # strangers: 60, 60, 90, 90 and 30 degrees
    assert find_radius(embeddings, identity, 0.999) == pytest.approx(1.0, abs=1e-2)
    assert find_radius(embeddings, identity, 1e-9) == pytest.approx(1 - np.cos(np.deg2rad(30)), abs=1e-6)
    faces, names = draw_photos()
    distance = (1 - faces @ faces.T).numpy()[names[:, None] != names[None]]
    assert np.mean(distance <= find_radius(faces, names, 0.1)) == pytest.approx(0.1, abs=0.002)
    with pytest.raises(ValueError, match="all photos are of one person"):
        find_radius(embeddings, ["x"] * 4, 0.1)


def test_the_shown_halves_people_are_found_and_a_net_that_sees_nothing_finds_nobody():
    settings = {"kappas": [8.0, 32.0], "top_ks": [100, 10], "num_generated": 1000}
    rehearsed = rehearse_attack(*draw_photos(spread=0.2), **settings)
    assert list(rehearsed.constant) == ["kappa", "kappa", "top_k", "top_k"] and list(rehearsed.value) == [8, 32, 10, 100]
    assert (rehearsed.auc > 0.95).all()
    blind = [rehearse_attack(*draw_photos(spread=100.0, seed=s), **settings).auc.mean() for s in range(10)]
    assert np.mean(blind) == pytest.approx(0.5, abs=0.05), "the photos that are asked about are not those that are shown"


def test_the_number_of_neighbours_is_rehearsed_as_a_share():
    faces, names = draw_photos(num_people=4, photos=4, spread=2.0)  # four photos are shown a half
    one, all_four = (rehearse_attack(faces, names, kappas=[1.0], top_ks=[k], num_generated=100).auc[1] for k in (20, 100))
    queries = rehearse_attack(faces, names, kappas=[1.0], top_ks=[1, 20, 30], num_generated=100)
    assert set(queries.auc[1:]) == {one} and one != all_four, "up to 37 of 100 faces is one of four photos"


def test_ties_go_to_the_smaller_constant():
    rows = [("kappa", 8.0, 0.7), ("kappa", 16.0, 0.9), ("kappa", 32.0, 0.9), ("top_k", 5, 0.6), ("top_k", 20, 0.6 + 1e-9)]
    rehearsed = pd.DataFrame(rows, columns=["constant", "value", "auc"])
    assert choose_constants(rehearsed) == choose_constants(rehearsed[::-1]) == {"kappa": 16.0, "top_k": 5}


def test_people_with_one_photo_are_left_out_and_too_few_people_is_a_sentence():
    faces, names = draw_photos(num_people=5)
    settings = {"kappas": [8.0], "top_ks": [5], "num_generated": 100}
    with_one = np.concatenate([names, ["lonely"]]), torch.cat([faces, faces[:1]])
    expected = rehearse_attack(faces, names, **settings)
    pd.testing.assert_frame_equal(rehearse_attack(with_one[1], with_one[0], **settings), expected)
    with pytest.raises(ValueError, match="1 auxiliary people have two photos, but a rehearsal needs at least 2"):
        rehearse_attack(faces[:6], names[:6], **settings)
