"""Scores of photos against sets of faces, and the selection of members, on scores that are known."""

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic_scores import make_photos, make_scores

from ppe.attacks.keywords import CONSTANTS, EMBEDDINGS, list_needed
from ppe.attacks.queries import SCORE_COLUMNS, find_surest_members, score_held_out, score_photos, score_with_constants
from ppe.attacks.scores import ATTACKS
from ppe.attacks.selection import aggregate_queries, pseudonymise_scores, restore_queries, select_queries
from ppe.config import load_table, save_table
from ppe.statistics.metrics import compute_auc


@pytest.fixture
def photos():
    return make_photos()


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def on_circle(radians):
    angles = torch.as_tensor(radians, dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], 1).float()


def test_every_attack_scores_every_set_for_which_it_has_its_inputs(photos):
    angles = np.linspace(0, 3, len(photos))
    query = {"query_embeddings": on_circle(angles)}
    sets = {"a": {"generated_embeddings": on_circle([0.0])}, "b": {"generated_embeddings": on_circle([np.pi / 2])}}
    scores = score_photos(photos, query, sets, ["nearest"], "net")
    np.testing.assert_allclose(scores[scores.face_set == "a"].score, np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(scores[scores.face_set == "b"].score, np.sin(angles), atol=1e-6)
    with_faces = {**sets, "c": {"generated_faces": np.zeros((1, 3, 2, 2), np.uint8)}}
    scores = score_photos(photos, query, with_faces, ["nearest", "pixel"])
    assert set(scores.face_set) == {"a", "b"} and set(scores.attack) == {"nearest"}


def test_calibrated_attacks_run_once_with_each_calibration(photos):
    embeddings = torch.nn.functional.normalize(torch.randn(len(photos), 8), dim=1)
    generated = {group: torch.nn.functional.normalize(torch.randn(30, 8), dim=1) for group in ("a", "b", "c", "train-a")}
    constants = {"epsilon": 0.5, "concentration": 8.0, "top_k": 3, "cohort_size": 5, "snorm_top_k": 3}
    scores = score_with_constants(photos, embeddings, generated, generated["train-a"], constants, "net", embeddings)
    kinds = scores.groupby(["attack", "calibration"]).face_set.unique().map(sorted).to_dict()
    needs = {name: set(list_needed(name)) for name in ATTACKS}
    by_embeddings = [name for name in ATTACKS if needs[name] <= CONSTANTS | EMBEDDINGS and name != "nearest"]
    calibrated = [name for name in by_embeddings if "calibration_embeddings" in needs[name]]
    assert {"nearest_calibrated", "nearest_top_k_calibrated", "density_ratio"} <= set(calibrated) < set(by_embeddings)
    expected = {(name, ""): ["a", "b", "c"] for name in by_embeddings if name not in calibrated}
    for name in calibrated:
        expected[name, "reference_generator"] = ["a", "b"]  # the reference generator is not calibrated by itself
        expected[name, "cohort"] = ["a", "b", "c"]
    assert kinds == expected
    assert not scores.duplicated(["image_id", "face_set", "attack", "calibration"]).any()


BAD_ATTACKS = {
    "reads \\['query_embedings'\\]": lambda *, query_embedings, **unused: None,
    "end its parameters with \\*\\*unused": lambda *, query_embeddings: None,
    "'new' returned the shape \\(96, 30\\): \\(96,\\) is needed": lambda *, query_embeddings, generated_embeddings, **unused: (
        query_embeddings @ generated_embeddings.T
    ),
    "96 of 96 scores of the attack 'new' are not finite": lambda *, query_embeddings, **unused: query_embeddings[:, 0] * np.nan,
}


@pytest.mark.parametrize("said", BAD_ATTACKS)
def test_an_attack_that_cannot_be_scored_is_never_left_out_in_silence(photos, monkeypatch, said):
    embeddings = torch.nn.functional.normalize(torch.randn(len(photos), 8), dim=1)
    generated = {group: embeddings[:30] for group in ("a", "b", "c")}
    constants = {"epsilon": 0.5, "concentration": 8.0, "top_k": 3, "cohort_size": 5, "snorm_top_k": 3}
    monkeypatch.setitem(ATTACKS, "new", BAD_ATTACKS[said])
    with pytest.raises(ValueError, match=said):
        score_with_constants(photos, embeddings, generated, embeddings, constants, "net", embeddings)


def test_an_attack_may_have_a_constant_of_its_own(photos, monkeypatch):
    monkeypatch.setitem(ATTACKS, "new", lambda *, query_embeddings, generated_embeddings, k=2, **unused: np.full(len(photos), k))
    query = {"query_embeddings": torch.ones(len(photos), 1)}
    scores = score_photos(photos, query, {"a": {"generated_embeddings": torch.ones(3, 1)}}, ["new"])
    assert (scores.score == 2).all() and len(scores) == len(photos)


def test_the_held_out_ceiling_leaves_the_photo_itself_out(photos):
    angles = torch.linspace(0, 3, len(photos), dtype=torch.float64)
    scores = score_held_out(photos, on_circle(angles), "net")
    a = scores[scores.face_set == "twin-a"].reset_index(drop=True)
    rows = np.flatnonzero((photos.group == "a") & (photos.role == "query"))
    # The nearest other query photo of group A is the identity's second one, one step away.
    np.testing.assert_allclose(a.score[rows], np.cos(float(angles[1])), atol=1e-5)
    others = np.setdiff1d(np.arange(len(photos)), rows)
    assert (a.score[others] <= 1).all() and np.isfinite(a.score).all()
    assert len(score_held_out(photos.drop_duplicates(["identity", "role"]), on_circle(angles[::2]))) == 0


def test_the_surest_members_are_the_identities_with_the_highest_scores(photos):
    """Identity k of group A lies at k / 10 radians; its photos and the generated faces are near that angle."""
    number = photos.identity.str[1:].astype(int).to_numpy()
    shift = np.where(photos.role == "train", -0.01, 0.0) + np.where(photos.image_id.str.endswith("1"), 0.002, 0.0)
    query = on_circle(number / 10 + shift + 2.0 * (photos.group == "b"))
    generated = on_circle([0.301, 0.704, 0.51])  # nearest to identities 3, 7 and 5, in this order of distance
    scores = score_photos(photos, {"query_embeddings": query}, {"a": {"generated_embeddings": generated}}, ["nearest"])
    best = find_surest_members(scores, photos, query, generated, count=3)
    chosen = photos.iloc[best.photo]
    assert chosen.identity.tolist() == ["a3", "a7", "a5"] and (chosen.role == "query").all()
    assert best.generated.tolist() == [0, 1, 2] and best.score.is_monotonic_decreasing
    trained = photos.iloc[best.training]
    assert trained.identity.tolist() == ["a3", "a7", "a5"] and (trained.role == "train").all()
    assert trained.image_id.str.endswith("1").all(), "the nearer of the two training photos"
    assert len(find_surest_members(scores, photos, query, generated)) == 10, "one row an identity, ten at most"


def test_memberships_select_the_right_photos(photos, members):
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
    assert set(same[same.member_group == "a"].identity.str[0]) == {"a"}, "only identities of the generator's own group"
    is_train = same.image_id.str.contains("train")
    assert (is_train == same.is_member).all() and is_train.any() and not is_train.all()
    with pytest.raises(ValueError, match="is not one of"):
        select_queries(table, members, "photo")


def test_the_negative_control_has_one_generator_for_both_groups(photos, members):
    scores = make_scores(photos, 50.0)
    table = scores[scores.attack == "nearest"]
    control = select_queries(table, members, "identity_membership", "negative_control")
    expected = table[(table.face_set == "c") & (table.role == "query")].score
    for member_group in "ab":
        assert sorted(control[control.member_group == member_group].score) == sorted(expected)
    a, b = (compute_auc(p.score.to_numpy(), p.is_member.to_numpy()) for _, p in control.groupby("member_group"))
    assert a + b == pytest.approx(1.0), "the two groups mirror each other"


def test_an_identity_has_the_mean_or_the_largest_score(photos, members):
    scores = make_scores(photos, 0.0)
    scores["score"] += np.arange(len(scores)) * 1e-3
    queries = select_queries(scores[scores.attack == "nearest"], members, "identity_membership")
    for how in ("mean", "largest"):
        reduced = aggregate_queries(queries, how)
        expected = queries.groupby(["member_group", "identity"]).score.agg({"mean": "mean", "largest": "max"}[how])
        assert reduced.set_index(["member_group", "identity"]).score.to_dict() == pytest.approx(expected.to_dict())


def test_pseudonymised_scores_hold_no_name_and_give_the_same_numbers(photos, members):
    named = photos.replace({"identity": {f"a{i}": f"Name_{i}" for i in range(12)}})
    named["image_id"] = named.identity + "-" + photos.image_id
    scores = make_scores(named, 1.0)
    known = named[named.role == "train"][["group", "image_id", "identity"]]
    hidden = pseudonymise_scores(scores)
    assert "Name" not in hidden.to_csv() and set(hidden.attack) == {"nearest"}
    for control in ("none", "negative_control", "memorisation_ceiling"):
        one = select_queries(scores[scores.attack == "nearest"], known, "identity_membership", control).round({"score": 4})
        two = restore_queries(hidden, control).round({"score": 4})
        columns = ["member_group", "is_member", "score"]
        assert one[columns].sort_values(columns).to_numpy().tolist() == two[columns].sort_values(columns).to_numpy().tolist()
        assert two.groupby(["member_group", "identity"]).size().nunique() == 1, "a number of rows identifies nobody"


def test_scores_near_to_one_keep_their_order(photos):
    """An embedder that puts all photos near each other: with four decimals, 216 scores had 20 values, and another AUC."""
    scores = make_scores(photos, 1.0)
    scores["score"] = 1 - 1e-3 * (1 + np.random.default_rng(0).random(len(scores)))
    hidden = pseudonymise_scores(scores)
    kept = scores[(scores.attack == "nearest") & (scores.role == "query")].score
    assert hidden.score.nunique() > 0.9 * kept.round(6).nunique() > 2 * kept.round(4).nunique()


def test_no_pseudonym_links_a_set_without_a_generator_to_one_with(photos):
    """Anybody with the photos can compute the scores against training photos; these must not lead to a generator's scores."""
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
    assert np.allclose(pairs, sorted(zip(linked.a, linked.b, strict=True)), atol=2e-3), "a and b share their pseudonyms"


def test_saved_scores_have_the_same_bits_when_they_are_loaded(photos, tmp_path):
    scores = make_scores(photos, 1.0)
    rng = np.random.default_rng(0)
    scores["score"] = rng.normal(size=len(scores)) * 10.0 ** rng.integers(-300, 300, len(scores))
    scores.loc[:2, "score"] = [0.1 + 0.2, np.nextafter(1.0, 2.0), 5e-324]
    save_table(scores[SCORE_COLUMNS], tmp_path / "scores.csv", digits=None)
    loaded = load_table(tmp_path / "scores.csv")
    assert loaded.score.dtype == np.float64 and loaded.score.to_numpy().tobytes() == scores.score.to_numpy().tobytes()
    pd.testing.assert_frame_equal(loaded, scores[SCORE_COLUMNS], check_exact=True)
