"""What the leak depends on, on scores and embeddings whose answer is known on paper."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from ppe.evaluation.sensitivity import (
    _resample_kappa,
    count_train_photos,
    find_own_similarity,
    judge_agreement,
    judge_efforts,
    judge_events,
    judge_photos_held,
    judge_slices,
    measure_cost,
)

SETTINGS = {"num_resamples": 50, "num_permutations": 50}


@pytest.fixture
def photos():
    """Twelve people a group, one train and four query photos each; ``hat`` is worn by every second person."""
    rows = [
        (f"{group}{i}-{k}", f"{group}{i}", group, "train" if k == 0 else "query", "hat" if i % 2 else "none")
        for group in "ab" for i in range(12) for k in range(5)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["image_id", "identity", "group", "role", "attribute_hat"])


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def make_scores(photos, leak, noise, embedder="net"):
    rng = np.random.default_rng(0)
    parts = []
    for member_group in "ab":
        score = leak * (photos.group == member_group) + noise * rng.normal(size=len(photos))
        parts.append(photos.assign(face_set=member_group, embedder=embedder, attack="nearest", calibration="", score=score))
    return pd.concat(parts, ignore_index=True)


def test_more_photos_of_a_person_average_the_noise_away(photos, members):
    rows = judge_photos_held(make_scores(photos, 1.0, 1.5), members, embedder="net", num_resamples=100)
    assert list(rows.slice) == [f"photos held: {n}" for n in (1, 2, 3, 4)] and (rows.level == "identity").all()
    assert rows.value.is_monotonic_increasing and rows.value.iloc[-1] > rows.value.iloc[0] + 0.1
    assert (rows.low < rows.value).all()


def test_efforts_look_at_the_first_faces_only(photos, members):
    angle = torch.arange(len(photos)) * 0.05
    embeddings = torch.stack([angle.cos(), angle.sin()], 1)
    far = torch.tensor([[-1.0, 0.0]]).repeat(10, 1)
    own = {member_group: np.flatnonzero((photos.group == member_group) & (photos.role == "query")) for member_group in "ab"}
    generated = {member_group: torch.cat([far, embeddings[rows]]) for member_group, rows in own.items()}
    generated["train-a"] = embeddings[:3]  # other sets do not count
    rows = judge_efforts(photos, embeddings, generated, members, [10, 5, 5, 1000], embedder="net", settings=SETTINGS)
    pooled = rows[rows.member_group == "pooled"].set_index("num_generated").value
    assert list(pooled.index) == [5, 10, 58], "sizes above what there is are left out, and all of it is added"
    assert pooled[5] == pooled[10] == pytest.approx(0.5) and pooled[58] == 1.0


def test_own_similarity_is_the_nearest_train_photo_of_the_person(photos):
    angle = torch.deg2rad(torch.arange(len(photos)) * 1.0)
    similarity = find_own_similarity(torch.stack([angle.cos(), angle.sin()], 1), photos)
    is_query = (photos.role == "query").to_numpy()
    assert np.isnan(similarity[~is_query]).all()
    np.testing.assert_allclose(similarity[1:5], np.cos(np.deg2rad([1, 2, 3, 4])), atol=1e-6)


def test_a_leak_of_events_vanishes_without_the_nearest_quarter(photos, members):
    scores = make_scores(photos, 0.0, 1.0)
    is_near = scores.image_id.str.endswith("-1")
    scores["own_similarity"] = np.where(is_near, 0.9, 0.1)
    scores.loc[is_near & (scores.face_set == scores.group), "score"] += 10
    rows = judge_events(scores, members, embedder="net", settings=SETTINGS)
    value = rows[rows.member_group == "pooled"].set_index("slice").value
    assert value["own_similarity: 4 (near)"] > 0.99 and abs(value["without the nearest quarter"] - 0.5) < 0.15


def test_slices_by_value_and_by_thirds(photos, members):
    scores = make_scores(photos, 1.0, 0.1)
    scores.loc[scores.attribute_hat == "hat", "score"] = 0.0
    scores["attribute_height"] = np.arange(len(scores)) % 60
    rows = judge_slices(scores, members, ["attribute_hat", "attribute_height"], embedder="net", settings=SETTINGS)
    pooled = rows[rows.member_group == "pooled"].set_index("slice")
    assert pooled.value["attribute_hat: none"] == 1.0 and pooled.value["attribute_hat: hat"] == 0.5
    thirds = [name for name in pooled.index if name.startswith("attribute_height: ")]
    assert len(thirds) == 3 and thirds[0].startswith("attribute_height: 1 (1 to ") and thirds[-1].endswith(" to 59)")
    assert pooled.num_members["attribute_hat: hat"] == 6 and np.isnan(pooled.low["attribute_hat: hat"]), "six are too few"


def test_slices_by_the_number_of_train_photos(photos, members):
    assert set(count_train_photos(photos, members)) == {1}
    more = members[members.identity.str[1:].astype(int) < 11].assign(image_id=lambda m: m.image_id + "more")
    scores = make_scores(photos, 1.0, 0.1)
    scores["train_photos"] = count_train_photos(scores, pd.concat([members, more]))
    rows = judge_slices(scores, members, ["train_photos"], embedder="net", settings=SETTINGS)
    pooled = rows[rows.member_group == "pooled"].set_index("slice")
    assert pooled.num_members.to_dict() == {"train_photos: 1": 1, "train_photos: 2": 11}
    assert np.isnan(pooled.low["train_photos: 1"]) and np.isfinite(pooled.low["train_photos: 2"])


def test_the_cost_of_a_face_is_seconds():
    class Generator(torch.nn.Module):
        latent_dim = 4

        def forward(self, z):
            return z[:, :3, None, None].expand(-1, 3, 8, 8).tanh()

    def embed(faces):
        return torch.nn.functional.normalize(faces.float().flatten(1), dim=1)

    generator, net = Generator(), torch.nn.Module()
    generator.unused = torch.nn.Parameter(torch.zeros(1))
    net.forward = embed
    assert 0 < measure_cost(generator, net, num_faces=20) < 1


def test_equal_values_and_a_persons_photos_stay_together(photos, members):
    scores = make_scores(photos, 1.0, 0.1)
    age = {person: 20 + 5 * (number % 6) for number, person in enumerate(photos.identity.unique())}
    scores["attribute_age"] = scores.identity.map(age)
    rows = judge_slices(scores, members, ["attribute_age"], embedder="net", settings=SETTINGS)
    assert rows[rows.member_group == "pooled"].num_members.sum() == 12, "nobody stands in two slices"
    scores["attribute_age"] = np.where(scores.identity.isin(["a0", "b0"]), 30.0, 20.0)
    rows = judge_slices(scores, members, ["attribute_age"], embedder="net", settings=SETTINGS)
    assert set(rows.slice) == {"attribute_age: 20.0", "attribute_age: 30.0"}


def test_nothing_to_judge_gives_no_rows(photos, members):
    scores = make_scores(photos, 1.0, 0.1).assign(own_similarity=np.nan)
    for rows in (
        judge_slices(scores, members, [], embedder="net", settings=SETTINGS),
        judge_events(scores, members, embedder="net", settings=SETTINGS),
        judge_agreement(scores, members, 0.1),
    ):
        assert len(rows) == 0 and {"slice", "value", "member_group"} <= set(rows.columns)


def test_kappa_is_that_of_scikit_learn_and_draws_people():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"identity": np.repeat([f"p{i}" for i in range(30)], 4), "is_member": np.repeat(np.arange(30) < 15, 4)})
    one, other = (table.assign(verdict=verdict) for verdict in rng.random((2, 120)) < 0.3)
    other["verdict"] = np.where(rng.random(120) < 0.6, one.verdict, other.verdict)
    drawn = _resample_kappa(one, other, 500, 1)
    assert drawn[0] == pytest.approx(cohen_kappa_score(one.verdict, other.verdict)) and len(drawn) == 501
    assert abs(np.mean(drawn[1:]) - drawn[0]) < 0.05 and 0.03 < np.std(drawn[1:]) < 0.25


def test_agreement_of_two_nets(photos, members):
    one = make_scores(photos, 1.0, 1.0)
    same = judge_agreement(pd.concat([one, one.assign(embedder="twin", score=2 * one.score + 1)]), members, 0.1)
    assert same.value.iloc[0] == pytest.approx(1.0) and same.versus.iloc[0] == "twin"
    rng = np.random.default_rng(5)
    other = judge_agreement(pd.concat([one, one.assign(embedder="other", score=rng.normal(size=len(one)))]), members, 0.1)
    assert abs(other.value.iloc[0]) < 0.3
    assert (same.low.iloc[0], same.high.iloc[0]) == pytest.approx((1.0, 1.0))
    assert other.low.iloc[0] < 0 < other.high.iloc[0] and other.low.iloc[0] < other.value.iloc[0] < other.high.iloc[0]
    assert len(judge_agreement(one, members, 0.1)) == 0
