"""Stages without a notebook: what they write for the others to depend on."""

import shutil

import yaml

from ppe.config import load_params
from ppe.pipeline.stages import _hash_weights


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
