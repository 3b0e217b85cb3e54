"""Stages without a notebook: what they write for the others to depend on."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from synthetic_scores import make_photos, make_scores

from ppe.attacks.selection import pseudonymise_scores
from ppe.config import load_params, load_table, save_table
from ppe.pipeline.stages import _hash_weights, _name_scores


def test_a_model_that_is_replaced_makes_stale_what_was_computed_with_it(root, tmp_path):
    shutil.copyfile(root / "params.yaml", tmp_path / "params.yaml")
    content = yaml.safe_load((tmp_path / "params.yaml").read_text())
    club = {"net": "onnx", "weights": "club.onnx", "colours": "rgb", "mean": 0.0, "scale": 1.0, "overlap": "none"}
    content["embedders"]["club"] = club
    content["datasets"]["synthetic"]["embedders"].append("club")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    tables = []
    for weights in (b"one", b"another"):
        (tmp_path / "club.onnx").write_bytes(weights)
        tables.append(_hash_weights(load_params(root=tmp_path), "synthetic"))
    assert [table.embedder.tolist() for table in tables] == [["club"]] * 2, "models that are trained here are outputs"
    assert tables[0].sha256[0] != tables[1].sha256[0] and len(tables[0].sha256[0]) == 64


def test_every_stage_that_embeds_depends_on_the_weights_of_models_from_elsewhere(root):
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    deps = {name: stage.get("do", stage).get("deps", []) for name, stage in stages.items()}
    embeds = {name: own for name, own in deps.items() if "ppe/embedders" in own and name != "audit"}  # which always runs
    assert set(embeds) == {"faces", "embed", "attack", "sensitivity", "embed-experiment", "overrepresentation"}
    assert all(any(dep.endswith("-weights.csv") for dep in own) for own in embeds.values())


@pytest.mark.parametrize("scale", [0.01, 1e-4])
def test_names_are_given_back_to_the_scores_that_were_committed_and_to_no_others(scale, tmp_path):
    """Also near to 1, where more than four decimals are kept: without names no correlation of two runs is known."""
    photos = make_photos()
    scores = make_scores(photos, 1.0)
    scores = scores.assign(score=1 - scale * (10 - scores.score))
    save_table(scores, tmp_path / "scores.csv")
    save_table(photos[photos.role == "train"][["group", "image_id", "identity"]], tmp_path / "members.csv")
    save_table(pseudonymise_scores(load_table(tmp_path / "scores.csv")), tmp_path / "hidden.csv")
    hidden, rounded = load_table(tmp_path / "hidden.csv"), load_table(tmp_path / "hidden.csv").round({"score": 4})
    assert not np.array_equal(hidden.score, rounded.score), "more than four decimals"
    params = SimpleNamespace(attack_folder=lambda run: tmp_path, generators_folder=lambda run: tmp_path)
    named = _name_scores(params, {"new": hidden, "old": rounded, "other": hidden.assign(score=hidden.score - 2e-6)})
    assert list(named) == ["new", "old"] and set(named["new"].identity) == set(photos.identity)
