"""Which photos are members under which GAN, on scores that are known."""

import numpy as np
import pytest
import torch
from synthetic_scores import make_photos, make_scores

from ppe.attacks.queries import (
    aggregate_queries,
    pseudonymise_scores,
    restore_queries,
    score_held_out,
    score_photos,
    score_with_constants,
    select_queries,
)
from ppe.statistics.metrics import compute_auc


@pytest.fixture
def photos():
    return make_photos()


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def test_memberships_pick_the_right_photos(photos, members):
    scores = make_scores(photos, 0)
    table = scores[scores.attack == "nearest"]
    unseen = select_queries(table, members, "identity_membership")
    assert len(unseen) == 2 * 48 and set(unseen[(unseen.member_group == "a") & unseen.is_member].identity.str[0]) == {"a"}
    image = select_queries(table, members, "image_membership")
    assert len(image) == 2 * 48
    train = table[(table.face_set == "a") & (table.role == "train") & (table.group == "a")]
    assert sorted(image[(image.member_group == "a") & image.is_member].score) == sorted(train.score)
    query = table[(table.face_set == "a") & (table.role == "query") & (table.group == "b")]
    assert sorted(image[(image.member_group == "a") & ~image.is_member].score) == sorted(query.score)
    same = select_queries(table, members, "photo_given_identity")
    assert set(same[same.member_group == "a"].identity.str[0]) == {"a"}, "only the GAN's own people"
    is_train = same.image_id.str.contains("train")
    assert (is_train == same.is_member).all() and is_train.any() and not is_train.all()
    with pytest.raises(ValueError, match="is not one of"):
        select_queries(table, members, "photo")


def test_the_disjoint_control_uses_gan_c_for_both_halves(photos, members):
    scores = make_scores(photos, 50.0)
    table = scores[scores.attack == "nearest"]
    control = select_queries(table, members, "identity_membership", "negative_control")
    expected = table[(table.face_set == "c") & (table.role == "query")].score
    for member_group in "ab":
        assert sorted(control[control.member_group == member_group].score) == sorted(expected)
    a, b = (compute_auc(p.score.to_numpy(), p.is_member.to_numpy()) for _, p in control.groupby("member_group"))
    assert a + b == pytest.approx(1.0), "one generator scores both halves: they mirror each other"


def test_person_level_is_the_mean_or_the_largest(photos, members):
    scores = make_scores(photos, 0.0)
    scores["score"] += np.arange(len(scores)) * 1e-3
    queries = select_queries(scores[scores.attack == "nearest"], members, "identity_membership")
    for how in ("mean", "largest"):
        people = aggregate_queries(queries, how)
        expected = queries.groupby(["member_group", "identity"]).score.agg({"mean": "mean", "largest": "max"}[how])
        assert people.set_index(["member_group", "identity"]).score.to_dict() == pytest.approx(expected.to_dict())


def test_hidden_scores_hold_no_name_and_give_the_same_numbers(photos, members):
    named = photos.replace({"identity": {f"a{i}": f"Name_{i}" for i in range(12)}})
    named["image_id"] = named.identity + "-" + photos.image_id
    scores = make_scores(named, 1.0)
    known = named[named.role == "train"][["group", "image_id", "identity"]]
    hidden = pseudonymise_scores(scores)
    assert "Name" not in hidden.to_csv() and set(hidden.attack) == {"nearest"}
    for control in ("none", "negative_control", "memorisation_ceiling"):
        one = select_queries(scores[scores.attack == "nearest"], known, "identity_membership", control).round({"score": 4})
        two = restore_queries(hidden, control)
        columns = ["member_group", "is_member", "score"]
        assert one[columns].sort_values(columns).to_numpy().tolist() == two[columns].sort_values(columns).to_numpy().tolist()
        photos_each = two.groupby(["member_group", "identity"]).size()
        assert photos_each.nunique() == 1, "as many rows for everybody: nobody is told by a count"


def test_no_pseudonym_links_a_set_without_a_gan_to_one_with(photos, members):
    """Scores against training photos can be computed by anybody with the photos: they must not carry a GAN's along."""
    scores = make_scores(photos, 1.0)
    scores["score"] += np.random.default_rng(0).random(len(scores))
    hidden = pseudonymise_scores(scores)
    truth = scores[(scores.attack == "nearest") & (scores.role == "query")]
    order = {}
    for name, part in truth.groupby("face_set"):
        means = part.groupby("identity").score.mean().sort_values(ascending=False)
        shown = hidden[hidden.face_set == name].groupby("pseudonym").score.mean().sort_values(ascending=False)
        order[name] = dict(zip(means.index, shown.index, strict=True))
    assert order["a"] != order["c"] and order["train-a"] != order["a"]
    a, b = (hidden[hidden.face_set == name].groupby("pseudonym").score.mean() for name in "ab")
    linked = truth[truth.face_set.isin(["a", "b"])].groupby(["identity", "face_set"]).score.mean().unstack()
    pairs = sorted(zip(a.round(3), b[a.index].round(3), strict=True))
    assert np.allclose(pairs, sorted(zip(linked.a, linked.b, strict=True)), atol=2e-3), "a and b stay together for the bootstrap"


def test_every_attack_scores_every_set(photos):
    angles = np.linspace(0, 3, len(photos))
    query = {"query_embeddings": np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)}
    sets = {
        "a": {"generated_embeddings": np.array([[1, 0]], np.float32)},
        "b": {"generated_embeddings": np.array([[0, 1]], np.float32)},
    }
    scores = score_photos(photos, query, sets, ["nearest"], "net")
    np.testing.assert_allclose(scores[scores.face_set == "a"].score, np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(scores[scores.face_set == "b"].score, np.sin(angles), atol=1e-6)
    with_faces = {**sets, "c": {"generated_faces": np.zeros((1, 3, 2, 2), np.uint8)}}
    scores = score_photos(photos, query, with_faces, ["nearest", "pixel"])
    assert set(scores.face_set) == {"a", "b"}, "no attack is run on a set that lacks what it needs"


def test_twins_leave_out_the_photo_itself_and_hold_everybody_against_equally_many(photos):
    angles = torch.linspace(0, 3, len(photos), dtype=torch.float64)
    embeddings = torch.stack([angles.cos(), angles.sin()], 1).float()
    scores = score_held_out(photos, embeddings, "net")
    a = scores[scores.face_set == "twin-a"].reset_index(drop=True)
    rows = np.flatnonzero((photos.group == "a") & (photos.role == "query"))
    step = float(angles[1])
    for row in rows:  # the nearest other query of half a: the person's second one is the next row
        assert a.score[row] == pytest.approx(np.cos(step), abs=1e-5)
    others = np.setdiff1d(np.arange(len(photos)), rows)
    assert (a.score[others] <= 1).all() and np.isfinite(a.score).all()


def test_every_attack_of_one_net_stands_once_with_each_reference(photos):
    embeddings = torch.nn.functional.normalize(torch.randn(len(photos), 8), dim=1)
    generated = {group: torch.nn.functional.normalize(torch.randn(30, 8), dim=1) for group in ("a", "b", "c", "train-a")}
    constants = {"epsilon": 0.5, "concentration": 8.0, "top_k": 3}
    scores = score_with_constants(photos, embeddings, generated, generated["train-a"], constants, "net")
    kinds = scores.groupby(["attack", "calibration"]).face_set.unique().map(sorted).to_dict()
    raw = {(name, ""): ["a", "b", "c"] for name in ("nearest_top_k", "density", "monte_carlo")}
    names = ("nearest_calibrated", "nearest_top_k_calibrated", "density_ratio")
    references = {"reference_generator": ["a", "b"], "cohort": ["a", "b", "c"]}  # GAN c is no reference for itself
    assert kinds == {**raw, **{(name, r): sets for name in names for r, sets in references.items()}}
    assert not scores.duplicated(["image_id", "face_set", "attack", "calibration"]).any()
