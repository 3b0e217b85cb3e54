"""Attacks through all embedders at once, and their parts, on embeddings whose answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import zscore
from test_scores import ARRAYS, cos, on_circle

from ppe.attacks.normalisation import find_top_k_snorm, measure_cohort, score_nearest_snorm
from ppe.attacks.selection import select_queries
from ppe.attacks.together import fit_weights, measure_features, score_fused, score_together, standardise
from ppe.evaluation.tables import judge_queries


def draw(centres, photos, spread, seed):
    random = torch.Generator().manual_seed(seed)
    rows = centres.repeat_interleave(photos, 0)
    return torch.nn.functional.normalize(rows + spread * torch.randn(rows.shape, generator=random), dim=1)


def test_a_normalised_cosine_is_measured_in_cohort_cosines_of_both_faces():
    query, faces, cohort = on_circle(0, 50), on_circle(10, 60, 300), on_circle(90, 190, 240, 35)

    def spread(degree):
        largest = np.sort(np.cos(np.deg2rad(np.array([90, 190, 240, 35]) - degree)))[-2:]
        return largest.mean(), largest.std()

    expected = np.zeros((2, 3))
    for i, q in enumerate([0, 50]):
        for j, g in enumerate([10, 60, 300]):
            s = np.cos(np.deg2rad(q - g))
            expected[i, j] = ((s - spread(q)[0]) / spread(q)[1] + (s - spread(g)[0]) / spread(g)[1]) / 2
    largest = find_top_k_snorm(query, faces, cohort, cohort_size=2, k=3)
    np.testing.assert_allclose(largest, -np.sort(-expected, axis=1), rtol=1e-4)
    score = score_nearest_snorm(
        query_embeddings=query, generated_embeddings=faces, cohort_embeddings=cohort, cohort_size=2, snorm_top_k=2
    )
    np.testing.assert_allclose(score, -np.sort(-expected, axis=1)[:, :2].mean(1), rtol=1e-4)


def test_normalised_scores_do_not_depend_on_the_block(monkeypatch):
    centres = torch.randn(30, 16, generator=torch.Generator().manual_seed(0))
    query, faces, cohort = draw(centres, 2, 0.5, 1), draw(centres, 5, 0.5, 2), draw(centres, 1, 3.0, 3)
    whole = find_top_k_snorm(query, faces, cohort, 10, 7)
    blocks = [find_top_k_snorm(query, faces[start : start + 31], cohort, 10, 7) for start in range(0, 150, 31)]
    np.testing.assert_allclose(whole, torch.cat(blocks, 1).topk(7, 1).values, rtol=1e-4, atol=1e-4)


def test_photos_that_are_near_to_everybody_lose_their_advantage():
    """One stranger's cosines with all faces and the whole cohort are high; the member is near to one face only."""
    faces, cohort = on_circle(100, 130), on_circle(118, 122, 126, 140)
    member, stranger = on_circle(98), on_circle(116)
    both = np.concatenate([member, stranger])
    constants = {"cohort_embeddings": cohort, "cohort_size": 4, "snorm_top_k": 1}
    score = score_nearest_snorm(query_embeddings=both, generated_embeddings=faces, **constants)
    assert score[0] > score[1]


def test_an_embedder_that_maps_all_faces_to_one_point_gives_finite_scores():
    same = on_circle(*[10] * 6)
    largest = find_top_k_snorm(same, same, same, 3, 2)
    assert torch.isfinite(largest).all()


@pytest.mark.parametrize(("cohort", "size"), [(on_circle(0, 1), 1), (on_circle(0), 5)])
def test_a_cohort_without_a_spread_is_refused(cohort, size):
    with pytest.raises(ValueError, match="two photos are needed: make more identities auxiliary"):
        measure_cohort(on_circle(0, 50), cohort, size)


def test_a_mirrored_photo_counts_as_much_as_the_photo():
    from ppe.attacks.scores import score_nearest_mirrored

    arrays = ARRAYS | {"query_embeddings": on_circle(0), "query_mirrored": on_circle(40)}
    np.testing.assert_allclose(score_nearest_mirrored(**arrays), cos(10), atol=1e-6)  # the mean lies at 20 degrees, a face at 10


def test_scores_are_standardised_by_people_who_are_no_members():
    scores, outside = pd.DataFrame({"x": [1.0, 5.0], "y": [2.0, 3.0]}), pd.DataFrame({"x": [1.0, 3.0], "y": [7.0, 7.0]})
    np.testing.assert_allclose(standardise(scores, outside), [[-1, 0], [3, 0]], err_msg="a constant says nothing")


def world(seed=0, strength=0.25):
    """Three generators that draw faces near their training identities, seen by a good and a weak embedder."""
    random = torch.Generator().manual_seed(seed)
    people = torch.nn.functional.normalize(torch.randn(60, 24, generator=random), dim=1)
    group = np.repeat(["a", "b", "c"], 10)
    photos = pd.DataFrame({"identity": [f"p{i:02}" for i in range(30)], "group": group}).loc[np.repeat(np.arange(30), 4)]
    photos = photos.assign(image_id=[f"i{i:03}" for i in range(120)], role=["train", "query"] * 60).reset_index(drop=True)
    embeddings = {}
    for name, noise, shift in (("good", 0.1, 0), ("weak", 0.25, 100)):
        shown = draw(people[:30], 4, noise, seed + shift + 1)
        faces = {g: draw(people[10 * i : 10 * i + 10], 30, strength, seed + shift + 2 + i) for i, g in enumerate("abc")}
        embeddings[name] = {
            "shown": shown, "faces": faces, "cohort": draw(people[30:45], 4, noise, seed + shift + 6),
            "outside": draw(people[45:], 4, noise, seed + shift + 7),
        }  # fmt: skip
    return photos, embeddings


def score_world(photos, embeddings):
    asked = (photos.group != "c").to_numpy()
    shadow = ((photos.group == "c") & (photos.role == "query")).to_numpy()
    pick = {key: {name: rows[key] for name, rows in embeddings.items()} for key in ("shown", "faces", "cohort", "outside")}
    constants = {name: {"cohort_size": 20, "snorm_top_k": 10} for name in embeddings}
    query, hidden = ({name: rows[torch.tensor(mask)] for name, rows in pick["shown"].items()} for mask in (asked, shadow))
    shown = photos[asked].reset_index(drop=True)
    arrays = (shown, query, hidden, pick["outside"], pick["faces"], pick["cohort"], constants)
    return score_together(*arrays, regularisation=1e-3), arrays


def compute_auc_of(scores, photos, attack, face_set="own"):
    members = photos[(photos.role == "train")][["group", "image_id", "identity"]]
    queries = select_queries(scores[scores.attack == attack], members, "identity_membership",
                             "none" if face_set == "own" else "negative_control")  # fmt: skip
    settings = {"num_resamples": 10, "num_permutations": 10, "seed": 0}
    return judge_queries(queries, ("auc",), settings, control="none" if face_set == "own" else "negative_control")


def test_a_leak_is_found_and_the_reference_generator_shows_none():
    photos, embeddings = world()
    scores, _ = score_world(photos, embeddings)
    assert set(scores.attack) == {"learned", "fused"} and set(scores.face_set) == set("abc") and set(scores.embedder) == {""}
    for attack in ("learned", "fused"):
        pooled = compute_auc_of(scores, photos, attack)
        assert pooled[pooled.member_group == "pooled"].value.iloc[0] > 0.9
        control = compute_auc_of(scores, photos, attack, "c")
        assert control.value.between(0.2, 0.8).all()


def test_without_a_leak_nothing_is_found():
    values = []
    for seed in range(4):
        photos, embeddings = world(seed=20 * seed, strength=60.0)
        scores, _ = score_world(photos, embeddings)
        values.append([compute_auc_of(scores, photos, name).query("member_group == 'pooled'").value.iloc[0]
                       for name in ("learned", "fused")])  # fmt: skip
    np.testing.assert_allclose(np.mean(values, axis=0), 0.5, atol=0.12)


def test_neither_group_has_an_influence_on_the_weights_or_the_scale():
    """A score depends on its own photo alone: the others of the two groups can be anything."""
    photos, embeddings = world()
    scores, (shown, query, *rest) = score_world(photos, embeddings)
    first = scores.image_id == shown.image_id[0]
    moved = {name: torch.cat([rows[:1], rows[1:].flip(0)]) for name, rows in query.items()}
    again = score_together(shown, moved, *rest, regularisation=1e-3)
    np.testing.assert_allclose(again[first].score, scores[first].score, rtol=1e-5)


def test_fused_scores_are_sums_and_one_embedder_needs_no_fusion():
    photos, embeddings = world()
    _, (shown, query, _, outside, faces, cohort, constants) = score_world(photos, embeddings)
    own = {name: faces[name]["a"] for name in faces}
    total = score_fused(query, outside, own, cohort, constants)
    parts = []
    for name in query:
        known = {"generated_embeddings": own[name], "cohort_embeddings": cohort[name], **constants[name]}
        score, other = (score_nearest_snorm(query_embeddings=rows, **known) for rows in (query[name], outside[name]))
        parts.append((score - other.mean()) / other.std())
    np.testing.assert_allclose(total, np.sum(parts, axis=0), rtol=1e-4, atol=1e-4)
    scores, _ = score_world(photos, {"good": embeddings["good"]})
    assert set(scores.attack) == {"learned"}


def test_features_and_weights_are_those_of_a_logistic_regression():
    photos, embeddings = world()
    _, (shown, query, shadow, outside, faces, cohort, _) = score_world(photos, embeddings)
    own = {name: faces[name]["c"] for name in faces}
    features = measure_features(shadow, own, cohort)
    assert features.shape == (20, 28) and np.isfinite(features.to_numpy()).all()
    np.testing.assert_allclose(features["good top 1"], (shadow["good"] @ own["good"].T).max(1).values, atol=1e-5)
    np.testing.assert_allclose(features["good mean"], (shadow["good"] @ own["good"].T).mean(1), atol=1e-5)
    others = measure_features(outside, own, cohort)
    score = fit_weights(features, others, 1e-3)
    assert score(features, others).mean() > score(others, others).mean()
    np.testing.assert_allclose(standardise(others, others), zscore(others, axis=0), rtol=1e-5, atol=1e-6)
