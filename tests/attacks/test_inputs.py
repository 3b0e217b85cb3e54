"""The inputs of a run's attacks, on a small split and with generators that are known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.attacks import inputs, queries
from ppe.attacks.keywords import list_needed
from ppe.attacks.rivals import BASELINES

RUN = SimpleNamespace(generator="fastgan", resolution=4, num_generated=6)


def test_photos_of_both_groups_are_listed_with_their_attributes_and_training_photos():
    rows = [("a1", "anna", "a", "train"), ("a2", "anna", "a", "train"), ("a3", "anna", "a", "query"), ("b1", "ben", "b", "train"),
            ("b2", "ben", "b", "query"), ("c1", "cleo", "c", "train")]  # fmt: skip
    split = pd.DataFrame(rows, columns=["image_id", "identity", "group", "role"])
    names = ["b2", "a3", "a2", "a1", "b1", "c1", "unused"]
    table = pd.DataFrame({"image_id": names, "attribute_hat": list("xyzuvwt"), "path": ""})
    members = split[split.role == "train"][["group", "image_id", "identity"]]
    photos = inputs.list_photos(table, split, members)
    assert photos.image_id.tolist() == ["a1", "a2", "a3", "b1", "b2"], "in the order of the split, without group c"
    assert list(photos.columns) == ["image_id", "identity", "group", "role", "attribute_hat", "train_photos"]
    assert "".join(photos.attribute_hat) == "uzyvx" and photos.train_photos.tolist() == [2, 2, 2, 1, 1]
    with pytest.raises(pd.errors.MergeError):
        inputs.list_photos(pd.concat([table, table]), split, members)


def test_face_sets_hold_generated_faces_and_those_of_the_controls(tmp_path, monkeypatch):
    for value, group in enumerate("abc"):
        np.save(tmp_path / f"{group}.npy", np.full((9, 3, 4, 4), value, np.uint8))
    faces = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)
    members = pd.DataFrame({"group": list("abcab"), "image_id": list("vwxyz"), "identity": list("pqrst")})
    monkeypatch.setattr(inputs, "load_generator", lambda path, *recipe: path.relative_to(tmp_path).as_posix())
    drawn = []

    def sample(generator, seeds):
        drawn.append((generator, list(seeds)))
        yield torch.zeros(len(seeds), 3, 4, 4, dtype=torch.uint8)

    monkeypatch.setattr(inputs, "sample_faces", sample)
    sets = inputs.build_face_sets(RUN, tmp_path, faces, members, (tmp_path, {}), num_untrained=2)
    shapes = {name: len(images) for name, images in sets.items()}
    assert shapes == {"a": 6, "b": 6, "c": 6, "untrained-a": 2, "train-a": 2, "untrained-b": 2, "train-b": 2}
    assert drawn == [(f"{group}/snapshot-000000000.safetensors", [0, 1]) for group in "ab"]
    assert all(images.shape[1:] == (3, 4, 4) and np.asarray(images).dtype == np.uint8 for images in sets.values())
    assert sets["train-a"][:, 0, 0, 0].tolist() == [0, 3] and sets["train-b"][:, 0, 0, 0].tolist() == [1, 4]


def test_views_hold_what_every_baseline_needs(monkeypatch):
    def mean_colour(faces, net, device):
        return torch.as_tensor(faces).float().mean((2, 3)) * net

    monkeypatch.setattr(inputs, "embed_faces", mean_colour)
    faces = torch.full((2, 3, 32, 32), 0, dtype=torch.uint8)
    query, sets = inputs.build_views(faces, {s: faces.numpy() for s in ("a", "b", "c", "train-a")}, 1.0, 2.0)
    assert set(query) == {"query_faces", "query_features", "query_surroundings", "query_inner_face"}
    assert set(sets) == set("abc") and list(sets["c"]) == ["generated_faces"], "the reference generator: grey levels alone"
    assert (query["query_features"] == 0).all() and (query["query_surroundings"] + query["query_inner_face"] == 128).all()
    for attack in BASELINES:
        needed = list_needed(attack)
        assert set(needed) <= {*query, *sets["a"]}, attack


def test_every_discriminator_gives_a_logit_for_every_query(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "load_discriminator", lambda path, *recipe: path.parent.name)
    monkeypatch.setattr(inputs, "compute_logits", lambda group, faces: np.full(len(faces), ord(group), np.float32))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "discriminator.safetensors").touch()
    attack, logits = inputs.ask_models(RUN, np.zeros((3, 3, 4, 4), np.uint8), tmp_path, {})
    assert attack == "discriminator"
    assert {group: known["query_logits"].tolist() for group, known in logits.items()} == {g: [ord(g)] * 3 for g in "abc"}


class Named(tuple):
    """Where a diffusion model was read from."""

    compute_loss = None


def test_the_last_snapshot_of_a_diffusion_model_gives_a_loss_for_every_query(tmp_path, monkeypatch):
    for group in "abc":
        (tmp_path / group).mkdir()
        for shown in ("000000000", "000002000"):
            (tmp_path / group / f"snapshot-{shown}.safetensors").touch()
    monkeypatch.setattr(inputs, "load_generator", lambda path, *recipe: Named((path.parent.name, path.stem)))
    monkeypatch.setattr(inputs, "compute_denoising_losses", lambda model, faces, settings: [model] * len(faces))
    attack, losses = inputs.ask_models(RUN, np.zeros((3, 3, 4, 4), np.uint8), tmp_path, {})
    assert attack == "denoising_loss"
    assert losses == {group: {"query_losses": [(group, "snapshot-000002000")] * 3} for group in "abc"}
    monkeypatch.delattr(Named, "compute_loss")  # neither a GAN nor a diffusion model
    assert inputs.ask_models(RUN, np.zeros((3, 3, 4, 4), np.uint8), tmp_path, {}) == (attack, dict.fromkeys("abc", {}))
    photos = pd.DataFrame({"image_id": list("xyz")})
    assert list(queries.score_photos(photos, {}, dict.fromkeys("abc", {}), [attack]).columns) == [
        "image_id", "face_set", "embedder", "attack", "calibration", "score",
    ]  # fmt: skip
