"""Every attack, on embeddings and faces whose scores are known."""

import numpy as np
import pytest
import torch

from ppe.attacks.keywords import list_needed
from ppe.attacks.scores import ATTACKS, score_nearest, score_pixel
from ppe.attacks.selection import aggregate_scores
from ppe.statistics.metrics import compute_auc


def on_circle(*degrees):
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def faces_of(*grey_levels):
    return np.stack([np.full((3, 4, 4), level, dtype=np.uint8) for level in grey_levels])


ARRAYS = {
    "query_embeddings": on_circle(0, 50, 170),
    "generated_embeddings": on_circle(10, 60, 300),
    "query_faces": faces_of(0, 100, 255),
    "generated_faces": faces_of(51, 102),
    "calibration_embeddings": on_circle(40, 200),
    "query_mirrored": on_circle(0, 50, 170),
    "cohort_embeddings": on_circle(90, 190, 240),
    "cohort_size": 2,
    "snorm_top_k": 2,
    "query_logits": np.float32([2, 1, -3]),
    "query_losses": np.float32([0.1, 0.2, 0.9]),
    **{f"query_{name}": on_circle(0, 50, 170) for name in ("features", "surroundings", "inner_face")},
    **{f"generated_{name}": on_circle(10, 60, 300) for name in ("features", "surroundings", "inner_face")},
    "top_k": 2,
    "concentration": 10.0,
    "epsilon": 1 - np.cos(np.deg2rad(30)),
}


def test_nearest_is_the_largest_cosine():
    np.testing.assert_allclose(score_nearest(**ARRAYS), np.cos(np.deg2rad([10, 10, 110])), atol=1e-6)


@pytest.mark.parametrize("attack", ["nearest", *(name for name in ATTACKS if name not in ("nearest", "pixel", "discriminator"))])
def test_embeddings_of_a_network_that_records_gradients_have_the_same_scores(attack):
    """As from somebody's own notebook: those of the study are read from files."""
    tracked = {name: torch.tensor(rows).requires_grad_() for name, rows in ARRAYS.items() if name.endswith("_embeddings")}
    np.testing.assert_array_equal(ATTACKS[attack](**{**ARRAYS, **tracked}), ATTACKS[attack](**ARRAYS))


def test_pixel_is_minus_the_smallest_distance():
    np.testing.assert_allclose(score_pixel(**ARRAYS), [-51 / 255, -2 / 255, -153 / 255], rtol=1e-6)


def cos(*degrees):
    return np.cos(np.deg2rad(degrees))


def test_top_k_is_the_mean_of_the_largest():
    expected = [cos(10, 60).mean(), cos(10, 40).mean(), cos(110, 130).mean()]
    np.testing.assert_allclose(ATTACKS["nearest_top_k"](**ARRAYS), expected, atol=1e-6)
    everything = ATTACKS["nearest_top_k"](**{**ARRAYS, "top_k": 99})
    np.testing.assert_allclose(everything[0], cos(10, 60, 60).mean(), atol=1e-6)
    np.testing.assert_allclose(ATTACKS["nearest_top_k"](**{**ARRAYS, "top_k": 1}), score_nearest(**ARRAYS), atol=1e-6)


def test_density_is_a_mean_of_kernels_and_its_ratio_is_calibrated():
    generated = np.log(np.exp(10 * cos(10, 60, 60)).mean())
    np.testing.assert_allclose(ATTACKS["density"](**ARRAYS)[0], generated, rtol=1e-5)
    calibration = np.log(np.exp(10 * cos(40, 200)).mean())
    np.testing.assert_allclose(ATTACKS["density_ratio"](**ARRAYS)[0], generated - calibration, rtol=1e-5)


def test_calibrated_scores_subtract_the_same_score_against_the_calibration_set():
    np.testing.assert_allclose(ATTACKS["nearest_calibrated"](**ARRAYS)[0], cos(10)[0] - cos(40)[0], atol=1e-6)
    expected = cos(10, 60).mean() - cos(40).mean()  # two of three faces; the same share of two is one
    np.testing.assert_allclose(ATTACKS["nearest_top_k_calibrated"](**ARRAYS)[0], expected, atol=1e-6)
    whole = ATTACKS["nearest_top_k_calibrated"](**{**ARRAYS, "top_k": 3})[0]
    np.testing.assert_allclose(whole, cos(10, 60, 60).mean() - cos(40, 200).mean(), atol=1e-6)


def test_monte_carlo_is_the_share_within_epsilon():
    np.testing.assert_allclose(ATTACKS["monte_carlo"](**ARRAYS), [1 / 3, 1 / 3, 0])


def test_an_attack_names_its_inputs():
    assert list_needed("nearest") == ["query_embeddings", "generated_embeddings"]
    assert list_needed("discriminator") == ["query_logits"]


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_takes_all_arrays_and_scores_members_higher(name):
    attack = ATTACKS[name]
    score = attack(**ARRAYS, keyword_of_another_attack=None)
    assert score.shape == (3,) and score.dtype in (np.float32, np.float64) and isinstance(score, np.ndarray)
    tensors = {key: torch.tensor(array) if isinstance(array, np.ndarray) else array for key, array in ARRAYS.items()}
    np.testing.assert_array_equal(attack(**tensors), score)

    # A generator that returns its training set: the queries of members are one degree away.
    copied = dict(ARRAYS, generated_embeddings=on_circle(1, 51), generated_faces=faces_of(1, 101))
    copied |= {f"generated_{name}": on_circle(1, 51) for name in ("features", "surroundings", "inner_face")}
    copied |= {"calibration_embeddings": on_circle(80, 90, 100, 270), "top_k": 1}
    is_member = np.array([True, True, False])
    assert compute_auc(attack(**copied), is_member) == 1
    assert compute_auc(-attack(**copied), is_member) == 0


@pytest.mark.parametrize("name", ATTACKS)
def test_scores_are_in_the_order_of_the_queries(name):
    order = np.array([2, 0, 1])
    moved = {key: array[order] if key.startswith("query") else array for key, array in ARRAYS.items()}
    np.testing.assert_array_equal(ATTACKS[name](**moved), ATTACKS[name](**ARRAYS)[order])


@pytest.mark.parametrize("name", ["nearest", "nearest_top_k", "nearest_calibrated", "nearest_top_k_calibrated", "pixel"])
def test_more_generated_faces_do_not_lower_a_score(name):
    more = dict(
        ARRAYS,
        generated_embeddings=np.concatenate([ARRAYS["generated_embeddings"], on_circle(200)]),
        generated_faces=np.concatenate([ARRAYS["generated_faces"], faces_of(200)]),
    )
    attack = ATTACKS[name]
    assert (attack(**more) >= attack(**ARRAYS)).all() and (attack(**more) > attack(**ARRAYS)).any()


def test_photos_are_aggregated_to_identities():
    scores, identity = np.float32([1, 5, 3, -2]), np.array(["zoe", "al", "zoe", "al"])
    identities, mean = aggregate_scores(scores, identity)
    assert identities.tolist() == ["al", "zoe"] and mean.tolist() == [1.5, 2] and mean.dtype == np.float32
    assert aggregate_scores(scores, identity, how="largest")[1].tolist() == [5, 3]
    assert aggregate_scores(scores[::-1], identity[::-1])[1].tolist() == [1.5, 2]


@pytest.mark.parametrize(
    ("scores", "identity", "how", "sentence"),
    [
        ([1.0], ["al"], "median", r"how='median' is not one of \['mean', 'largest'\]"),
        ([1.0, 2.0], ["al"], "mean", "lists of one length"),
        ([1.0, np.nan], ["al", "al"], "mean", "1 of 2 scores are not finite"),
    ],
)
def test_wrong_scores_are_refused_with_a_sentence(scores, identity, how, sentence):
    with pytest.raises(ValueError, match=sentence):
        aggregate_scores(scores, identity, how)
