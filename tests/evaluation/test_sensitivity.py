"""Sensitivity analysis, on scores and embeddings whose answer is known on paper."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.evaluation.sensitivity import (
    choose_likeness,
    find_own_similarity,
    judge_efforts,
    judge_events,
    judge_photos_held,
    judge_slices,
)

SETTINGS = {"num_resamples": 50, "num_permutations": 50}


@pytest.fixture
def photos():
    """Twelve identities a group, with one training and four query photos each; every second identity wears a hat."""
    rows = [
        (f"{group}{i}-{k}", f"{group}{i}", group, "train" if k == 0 else "query", "hat" if i % 2 else "none")
        for group in "ab" for i in range(12) for k in range(5)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["image_id", "identity", "group", "role", "attribute_hat"])


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def draw_scores(photos, leak, noise):
    rng = np.random.default_rng(0)
    parts = []
    for member_group in "ab":
        score = leak * (photos.group == member_group) + noise * rng.normal(size=len(photos))
        parts.append(photos.assign(face_set=member_group, embedder="net", attack="nearest", calibration="", score=score))
    return pd.concat(parts, ignore_index=True)


def test_more_photos_of_an_identity_average_the_noise_out(photos, members):
    rows = judge_photos_held(draw_scores(photos, 1.0, 1.5), members, embedder="net", num_resamples=100)
    assert list(rows.slice) == [f"photos held: {n}" for n in (1, 2, 3, 4)] and (rows.level == "identity").all()
    assert rows.value.is_monotonic_increasing and rows.value.iloc[-1] > rows.value.iloc[0] + 0.1
    assert (rows.low < rows.value).all()


def test_an_effort_is_the_number_of_first_faces(photos, members):
    angle = torch.arange(len(photos)) * 0.05
    embeddings = torch.stack([angle.cos(), angle.sin()], 1)
    far = torch.tensor([[-1.0, 0.0]]).repeat(10, 1)
    own = {member_group: np.flatnonzero((photos.group == member_group) & (photos.role == "query")) for member_group in "ab"}
    generated = {member_group: torch.cat([far, embeddings[rows]]) for member_group, rows in own.items()}
    generated["train-a"] = embeddings[:3]  # only generated faces count
    rows = judge_efforts(photos, embeddings, generated, members, [10, 5, 5, 1000], embedder="net", settings=SETTINGS)
    pooled = rows[rows.member_group == "pooled"].set_index("num_generated").value
    assert list(pooled.index) == [5, 10, 58], "larger sizes are left out, and the number of all faces is added"
    assert pooled[5] == pooled[10] == pytest.approx(0.5) and pooled[58] == 1.0


def test_own_similarity_is_that_of_the_nearest_training_photo_of_the_identity(photos):
    angle = torch.deg2rad(torch.arange(len(photos)) * 1.0)
    similarity = find_own_similarity(torch.stack([angle.cos(), angle.sin()], 1).requires_grad_(), photos)
    is_query = (photos.role == "query").to_numpy()
    assert np.isnan(similarity[~is_query]).all()
    np.testing.assert_allclose(similarity[1:5], np.cos(np.deg2rad([1, 2, 3, 4])), atol=1e-6)


def test_another_model_than_the_attacking_one_measures_likeness():
    assert choose_likeness({"main": 0.99, "other": 0.85}, "main") == "other", "also where it is the weaker one"
    assert choose_likeness({"weak": 0.8, "main": 0.9, "strong": 0.95, "unknown": np.nan}, "main") == "strong"
    assert choose_likeness({"main": 0.99, "unknown": np.nan}, "main") == "unknown"
    assert choose_likeness({"main": 0.99}, "main") == "main", "there is no other"


def test_similarity_by_the_attacking_model_takes_its_own_errors_for_events(photos, members):
    """A leak without events: by the attacking model it seems to lie in the near photos alone, by another model it does not."""
    rng = np.random.default_rng(1)
    likeness, scores = rng.normal(size=len(photos)), draw_scores(photos, 0.0, 1.0)
    own = dict(zip(photos.image_id, likeness, strict=True))  # to photos of the same person, and to generated faces like them
    scores["score"] += np.where(scores.face_set == scores.group, 2 * scores.image_id.map(own), 0)
    value = {}
    for name, noise in {"net": 0.0, "other": 5.0}.items():
        seen = dict(zip(photos.image_id, likeness + noise * rng.normal(size=len(photos)), strict=True))
        rows = judge_events(scores.assign(own_similarity=scores.image_id.map(seen)), members, embedder="net", likeness=name,
                            settings=SETTINGS)  # fmt: skip
        pooled = rows[rows.member_group == "pooled"].set_index("slice").value
        value[name] = pooled["own_similarity: 4 (near)"] - pooled["own_similarity: 1 (far)"]
    assert value["net"] > 0.6 > 0.3 > value["other"]


def test_a_leak_of_events_disappears_without_the_nearest_quarter(photos, members):
    scores = draw_scores(photos, 0.0, 1.0)
    is_near = scores.image_id.str.endswith("-1")
    scores["own_similarity"] = np.where(is_near, 0.9, 0.1)
    scores.loc[is_near & (scores.face_set == scores.group), "score"] += 10
    rows = judge_events(scores, members, embedder="net", likeness="other", settings=SETTINGS)
    assert set(rows.embedder) == {"net"} and set(rows.versus) == {"other"}, "who attacks, and who measures likeness"
    value = rows[rows.member_group == "pooled"].set_index("slice").value
    assert value["own_similarity: 4 (near)"] > 0.99 and abs(value["without the nearest quarter"] - 0.5) < 0.15


def test_slices_by_value_and_by_thirds(photos, members):
    scores = draw_scores(photos, 1.0, 0.1)
    scores.loc[scores.attribute_hat == "hat", "score"] = 0.0
    scores["attribute_height"] = np.arange(len(scores)) % 60
    rows = judge_slices(scores, members, ["attribute_hat", "attribute_height"], embedder="net", settings=SETTINGS)
    pooled = rows[rows.member_group == "pooled"].set_index("slice")
    assert pooled.value["attribute_hat: none"] == 1.0 and pooled.value["attribute_hat: hat"] == 0.5
    thirds = [name for name in pooled.index if name.startswith("attribute_height: ")]
    assert len(thirds) == 3 and thirds[0].startswith("attribute_height: 1 (1 to ") and thirds[-1].endswith(" to 59)")
    assert pooled.num_members["attribute_hat: hat"] == 6
    assert np.isnan(pooled.low["attribute_hat: hat"]), "no interval below ten identities"


@pytest.mark.parametrize(("few", "slices"), [(3, {2: 9}), (4, {1: 4, 2: 8}), (9, {1: 9})])
def test_slices_of_fewer_than_four_identities_are_left_out(photos, members, few, slices):
    scores = draw_scores(photos, 1.0, 1.0)
    scores["train_photos"] = np.where(scores.identity.str[1:].astype(int) < few, 1, 2)
    rows = judge_slices(scores, members, ["train_photos"], embedder="net", settings=SETTINGS)
    pooled = rows[rows.member_group == "pooled"].set_index("slice")
    assert pooled.num_members.to_dict() == {f"train_photos: {value}": count for value, count in slices.items()}
    assert pooled.value.notna().all() and pooled.low.isna().all(), "no interval below ten identities"
    one_side = scores[(scores.group == "a") | (scores.train_photos == 2)]
    rows = judge_slices(one_side, members, ["train_photos"], embedder="net", settings=SETTINGS)
    assert "train_photos: 1" not in set(rows.slice), "there are no non-members in this slice"


def test_equal_values_and_the_photos_of_an_identity_stay_together(photos, members):
    scores = draw_scores(photos, 1.0, 0.1)
    age = {identity: 20 + 5 * (number % 6) for number, identity in enumerate(photos.identity.unique())}
    scores["attribute_age"] = scores.identity.map(age)
    rows = judge_slices(scores, members, ["attribute_age"], embedder="net", settings=SETTINGS)
    assert rows[rows.member_group == "pooled"].num_members.sum() == 12, "no identity is in two slices"
    scores["attribute_age"] = np.where(scores.identity.str[1:].astype(int) < 4, 30.0, 20.0)
    rows = judge_slices(scores, members, ["attribute_age"], embedder="net", settings=SETTINGS)
    assert set(rows.slice) == {"attribute_age: 20.0", "attribute_age: 30.0"}


def test_no_photos_give_no_rows(photos, members):
    scores = draw_scores(photos, 1.0, 0.1).assign(own_similarity=np.nan)
    for rows in (
        judge_slices(scores, members, [], embedder="net", settings=SETTINGS),
        judge_events(scores, members, embedder="net", likeness="other", settings=SETTINGS),
    ):
        assert len(rows) == 0 and {"slice", "value", "member_group"} <= set(rows.columns)
