"""Scores: S-norm as its formula says, whatever the block size; and what the models can tell apart."""

import numpy as np
import pytest
import torch
from audit_sets import draw_people, make_audit, unit

from ppe.attacks.nearest import find_top_k
from ppe.attacks.normalisation import find_top_values
from ppe.attacks.scores import score_nearest_snorm
from ppe.audit.scoring import check_models


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return [unit(rng.normal(size=(count, 16))) for count in (7, 40, 25)]


def test_s_norm_is_its_formula(vectors):
    query, generated, cohort = (rows.astype(np.float64) for rows in vectors)
    cosine = query @ generated.T

    def standardise(rows):
        largest = np.sort(rows @ cohort.T, axis=1)[:, -6:]
        return largest.mean(1), largest.std(1)

    (mean_q, std_q), (mean_g, std_g) = standardise(query), standardise(generated)
    normalised = ((cosine - mean_q[:, None]) / std_q[:, None] + (cosine - mean_g) / std_g) / 2
    expected = np.sort(normalised, axis=1)[:, -3:].mean(1)
    found = score_nearest_snorm(
        query_embeddings=vectors[0], generated_embeddings=vectors[1], cohort_embeddings=vectors[2], cohort_size=6, snorm_top_k=3
    )
    assert found == pytest.approx(expected, abs=1e-4) and found.dtype == np.float32
    value, _ = find_top_values(*vectors, cohort_size=6, top_k=3)["nearest_snorm"]
    assert value.mean(1).numpy() == pytest.approx(found, abs=1e-5), "the audit's walk finds what the attack does"


def test_the_block_size_changes_nothing(vectors):
    whole = find_top_values(*vectors, cohort_size=5, top_k=4)
    for size in (1, 7, 39):
        parts = find_top_values(*vectors, cohort_size=5, top_k=4, block_size=size)
        for name, (value, index) in whole.items():
            assert torch.allclose(parts[name][0], value, atol=1e-5) and (parts[name][1] == index).all()
    plain = find_top_k(*map(torch.from_numpy, vectors[:2]), 4)
    assert torch.allclose(whole["nearest_top_k"][0], plain, atol=1e-6)
    few = find_top_values(vectors[0], vectors[1][:2], vectors[2], cohort_size=500, top_k=4)
    assert few["nearest_snorm"][0].shape == (7, 2), "fewer faces and a smaller cohort than asked for"


def test_a_cohort_of_one_photo_is_refused(vectors):
    with pytest.raises(ValueError, match="the cohort has 1 photos"):
        find_top_values(vectors[0], vectors[1], vectors[2][:1], cohort_size=5, top_k=4)


def test_a_model_that_separates_people_is_sound_and_one_that_guesses_is_not():
    sets = make_audit(num_controls=30)
    real = [sets.faces["people"], sets.faces["controls"]]
    rng = np.random.default_rng(0)
    for faces in real:
        faces.vectors["two"] = unit(rng.normal(size=faces.vectors["two"].shape))
    checked = check_models(real, ["one", "two"], 0.9, 1)
    assert checked["one"]["is_sound"] and not checked["two"]["is_sound"] and checked["two"]["auc"] < 0.6
    single = make_audit(num_controls=30, photos=1)
    checked = check_models([single.faces["people"], single.faces["controls"]], ["one"], 0.9, 1)
    assert np.isnan(checked["one"]["auc"]) and not checked["one"]["is_sound"], "with one photo each there is nothing to check"


def test_drawn_people_are_separable():
    vectors, identity, _ = draw_people(["a", "b"], 3, np.random.default_rng(0))
    cosine = vectors @ vectors.T
    assert cosine[:3, :3].min() > cosine[:3, 3:].max()
