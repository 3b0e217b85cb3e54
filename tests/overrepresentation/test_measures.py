"""Matching faces and ranks of query photos: embeddings on a circle, whose answers are known on paper."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.config import save_array
from ppe.overrepresentation.measures import (
    average_templates,
    choose_baseline,
    find_match_thresholds,
    find_nearest_faces,
    load_embeddings,
    match_experiment,
    measure_matches,
    measure_overlap,
    rank_targets,
)


def on_circle(*degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


@pytest.fixture
def plan():
    return pd.DataFrame({"identity": ["a", "b"], "group": ["r0", "r0"], "data_share": [0.1, 0.0]})


def test_templates_are_averaged_per_identity_and_sorted():
    identities, means = average_templates(on_circle(10, 100, 30, 80), ["b", "a", "b", "a"])
    assert identities.tolist() == ["a", "b"]
    torch.testing.assert_close(means, on_circle(90, 20))


def test_every_other_generator_sets_thresholds_and_none_does_both():
    choosing, judged = choose_baseline(["r3", "r0", "r2", "r1", "r4"])
    assert (choosing, judged) == (["r0", "r2", "r4"], ["r1", "r3"])


def test_overlap_is_the_mean_share_of_common_photos():
    members = pd.DataFrame({"group": ["r0"] * 4 + ["r1"] * 4 + ["r2"] * 4, "image_id": list("abcdabxy") + list("uvwz")})
    assert measure_overlap(members, ["r0"], ["r1"]) == 0.5 and measure_overlap(members, ["r0", "r2"], ["r1"]) == 0.25


def test_embeddings_are_loaded_by_group(tmp_path):
    save_array(np.stack([np.full((3, 2), k, np.float32) for k in range(3)]), tmp_path / "first.npy")
    loaded = load_embeddings(tmp_path, ["first"], ["r1", "r0", "r2"], ["r2", "r1"])["first"]
    assert list(loaded) == ["r2", "r1"] and loaded["r2"].shape == (3, 2) and (loaded["r2"] == 2).all()


def test_a_threshold_lets_the_wanted_share_of_faces_through():
    faces = [on_circle(*range(0, 50)), on_circle(*range(50, 100))]  # degrees from the template at 0
    threshold = find_match_thresholds(faces, on_circle(0), 0.1)
    matched = (torch.cat(faces) @ on_circle(0).T >= threshold[0]).double().mean()
    assert matched == pytest.approx(0.1, abs=0.011)
    assert threshold[0] == pytest.approx(np.cos(np.deg2rad(10)), abs=0.004)


def test_matches_are_the_share_of_faces_at_or_above_the_identitys_own_threshold(plan):
    generated = {"r0": on_circle(0, 5, 40, 90)}
    values = measure_matches(generated, on_circle(0, 90), np.array(["a", "b"]), np.cos(np.deg2rad([10, 60])), plan)
    assert values.value.tolist() == [0.5, 0.5]
    assert values[["identity", "data_share"]].values.tolist() == [["a", 0.1], ["b", 0.0]]


def test_targets_and_controls_are_matched_with_generated_faces_and_with_training_photos(plan):
    baseline = {"first": {"n0": on_circle(*range(0, 360, 2))}}
    generated = {"first": {"r0": on_circle(1, 40, 100, 180)}}
    members = pd.DataFrame({"group": ["r0", "r0", "r0", "r1"], "image_id": ["p0", "p1", "p0", "q0"]})
    known = (members, baseline, {"first": on_circle(0, 90, 180)}, ["a", "b", "c"], plan, ["c"])
    values, controls = match_experiment(generated, {"first": on_circle(0, 90, 200)}, *known, match_rate=0.05)
    assert values.measure.tolist() == ["match_share"] * 2 + ["match_share_ceiling"] * 2
    assert values.value.tolist() == pytest.approx([0.25, 0, 2 / 3, 1 / 3]), "p0 is repeated, and counts twice"
    assert controls.value.tolist() == [0.25, 0] and controls.identity.tolist() == ["c", "c"]
    assert (values.embedder == "first").all() and (controls.calibration == "").all()


def test_a_target_that_the_generator_draws_ranks_above_all_controls_and_an_absent_one_does_not(plan):
    photos = pd.DataFrame({"identity": list("aabbnnmmkkll"), "part": ["target"] * 4 + ["control"] * 8})
    queries = on_circle(0, 2, 180, 182, 60, 62, 70, 72, 80, 82, 140, 142)
    values, controls = rank_targets({"first": {"r0": on_circle(1, 3, 90)}}, {"first": queries}, photos, plan, top_k=2)
    assert values.measure.tolist() == ["nearest"] * 2 + ["nearest_top_k"] * 2
    first = values[values.measure == "nearest"].set_index("identity").value
    assert first["a"] == 1 and first["b"] == 0
    own = controls[controls.measure == "nearest"].set_index("identity").value
    assert own.to_dict() == {"k": 1.0, "l": 0.0, "m": 2 / 3, "n": 1 / 3} and (controls.data_share == 0).all()


def test_the_only_control_identity_has_nobody_to_rank_among(plan):
    photos = pd.DataFrame({"identity": list("abn"), "part": ["target", "target", "control"]})
    known = {"first": {"r0": on_circle(1, 90)}}, {"first": on_circle(0, 180, 60)}
    values, controls = rank_targets(*known, photos, plan, top_k=1)
    assert controls.value.tolist() == [0.5, 0.5] and values.value.tolist() == [1.0, 0.0] * 2


def test_the_nearest_face_is_taken_from_the_generator_with_the_data_share():
    faces = {group: np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8) + 10 * number
             for number, group in enumerate(["r0", "r1"])}  # fmt: skip
    generated = {"r0": on_circle(0, 50, 100), "r1": on_circle(100, 50, 0)}
    rows = [("b", 0, "r0", 0.1), ("a", 1, "r0", 0.0), ("b", 0, "r1", 0.0), ("a", 1, "r1", 0.1)]
    plan = pd.DataFrame(rows, columns=["identity", "target", "group", "data_share"])
    targets, best = find_nearest_faces(faces, generated, on_circle(2, 90), ["a", "b"], plan)
    assert targets == ["b", "a"] and best.shape == (2, 2, 3, 2, 2)
    assert best[:, :, 0, 0, 0].tolist() == [[10, 2], [0, 12]]
