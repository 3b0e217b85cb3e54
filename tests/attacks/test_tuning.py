"""Constants that are tuned on auxiliary identities, on embeddings whose answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.attacks.keywords import CONSTANTS
from ppe.attacks.scores import score_monte_carlo
from ppe.attacks.tuning import choose_constants, find_radius, tune_attack, tune_constants


def on_circle(*degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


def draw_photos(num_identities=20, photos=6, spread=0.5, width=16, seed=0):
    """Photos around one centre an identity, and their names; a larger ``spread`` is a weaker embedder."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(num_identities, width, generator=random).repeat_interleave(photos, 0)
    faces = centres + spread * torch.randn(len(centres), width, generator=random)
    return torch.nn.functional.normalize(faces, dim=1), np.repeat([f"p{i:02}" for i in range(num_identities)], photos)


def test_the_radius_holds_its_share_of_the_pairs_of_different_identities():
    embeddings, identity = on_circle(0, 0, 60, 90), ["x", "x", "y", "z"]  # pairs of 60, 60, 90, 90 and 30 degrees
    assert find_radius(embeddings, identity, 0.999) == pytest.approx(1.0, abs=1e-2)
    assert find_radius(embeddings, identity, 1e-9) == pytest.approx(1 - np.cos(np.deg2rad(30)), abs=1e-6)
    faces, names = draw_photos()
    distance = (1 - faces @ faces.T).numpy()[names[:, None] != names[None]]
    assert np.mean(distance <= find_radius(faces, names, 0.1)) == pytest.approx(0.1, abs=0.002)
    with pytest.raises(ValueError, match="all photos are of one identity"):
        find_radius(embeddings, ["x"] * 4, 0.1)


def test_an_embedder_that_maps_all_faces_to_one_point_has_a_radius_that_the_attack_accepts():
    """Rounding lets the cosine of equal unit vectors exceed 1, and a distance below 0 is refused by ``monte_carlo``."""
    same = torch.nn.functional.normalize(torch.randn(1, 128, generator=torch.Generator().manual_seed(0))) * (1 + 4e-7)
    radius = find_radius(same.repeat(4, 1), ["x", "x", "y", "z"], 0.01)
    assert 0 < radius < 1e-5
    assert score_monte_carlo(query_embeddings=same, generated_embeddings=same, epsilon=radius).tolist() == [1.0]


COHORT = draw_photos(num_identities=6, photos=5, seed=9)[0]
GAME = {"concentrations": [8.0, 32.0], "top_shares": [1.0, 0.3], "cohort_sizes": [20, 5], "num_identities": 8,
        "num_tuning_games": 3}  # fmt: skip


def test_a_good_embedder_finds_the_members_and_a_blind_one_does_not():
    tuned = tune_attack(*draw_photos(spread=0.2), COHORT, **GAME)
    assert list(tuned.constant) == ["concentration"] * 2 + ["top_share"] * 2 + ["snorm_top_share"] * 4
    assert list(tuned.value) == [8, 32, 0.3, 1, 0.3, 1, 0.3, 1] and list(tuned.cohort_size) == [0] * 4 + [5] * 2 + [20] * 2
    assert list(tuned.k) == [0, 0, 1, 3, 1, 3, 1, 3], "three photos of an identity stand in for generated faces"
    assert (tuned.auc > 0.95).all()
    blind = [tune_attack(*draw_photos(spread=100.0, seed=s), COHORT, **GAME).auc.mean() for s in range(10)]
    assert np.mean(blind) == pytest.approx(0.5, abs=0.05), "query photos are not among those that stand in for generated faces"


def test_k_is_a_share_of_the_faces_of_an_identity():
    faces, names = draw_photos(num_identities=30, photos=6, spread=1.0)
    one = tune_attack(faces, names, COHORT, **GAME | {"top_shares": [0.3, 0.4]})
    assert one.auc[2] == one.auc[3] and one.k[2] == one.k[3] == 1, "candidates of the same k have the same AUC"
    tuned = tune_attack(faces, names, COHORT, **GAME)
    assert tune_attack(faces, names, COHORT, **GAME).equals(tuned), "the same seed, the same games"
    assert not tune_attack(faces, names, COHORT, **GAME, seed=1).auc.equals(tuned.auc)


def test_the_smaller_of_two_equally_good_constants_is_chosen():
    rows = [("concentration", 8.0, 0, 0.7), ("concentration", 16.0, 0, 0.9), ("concentration", 32.0, 0, 0.9)]
    rows += [("top_share", 0.2, 0, 0.6), ("top_share", 0.4, 0, 0.6 + 1e-9)]
    rows += [("snorm_top_share", 0.1, 100, 0.7), ("snorm_top_share", 0.1, 300, 0.7), ("snorm_top_share", 0.2, 100, 0.7)]
    tuned = pd.DataFrame(rows, columns=["constant", "value", "cohort_size", "auc"])
    chosen = {"concentration": 16.0, "top_k": 60, "snorm_top_k": 30, "cohort_size": 100}
    assert choose_constants(tuned, 300) == choose_constants(tuned[::-1], 300) == chosen
    assert choose_constants(tuned, 1)["top_k"] == 1


def test_identities_with_one_photo_are_left_out_and_too_few_identities_are_refused():
    faces, names = draw_photos(num_identities=5)
    more = torch.cat([faces, faces[:1]]), np.concatenate([names, ["one photo"]])
    pd.testing.assert_frame_equal(tune_attack(*more, COHORT, **GAME), tune_attack(faces, names, COHORT, **GAME))
    with pytest.raises(ValueError, match="1 auxiliary identities have two photos, but tuning needs at least 2"):
        tune_attack(faces[:6], names[:6], COHORT, **GAME)


def test_all_constants_are_tuned_together():
    faces, names = draw_photos()
    tuned, constants = tune_constants(faces, names, COHORT, false_match_rate=0.1, num_generated=80, **GAME)
    assert set(constants) == CONSTANTS, "what the first stage lets attacks read is what they are given"
    pd.testing.assert_frame_equal(tuned, tune_attack(faces, names, COHORT, **GAME))
    assert constants == {"epsilon": find_radius(faces, names, 0.1), **choose_constants(tuned, 80 / 8)}
