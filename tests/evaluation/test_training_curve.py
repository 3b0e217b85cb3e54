"""The rows of snapshots, on embeddings whose answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.evaluation import training_curve
from ppe.evaluation.training_curve import judge_fid, judge_snapshot, judge_snapshots, measure_quality

SETTINGS = {"num_resamples": 50, "num_permutations": 19, "seed": 0}


def draw_unit(count, width, seed, centre=None):
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    rows = rows if centre is None else rows * 0.1 + centre
    return torch.nn.functional.normalize(rows, dim=1)


@pytest.fixture
def study():
    """Twelve identities a group, one direction each; generator A returns its first six identities, generator B none."""
    rng = np.random.default_rng(0)
    centres = torch.nn.functional.normalize(torch.tensor(rng.standard_normal((24, 16)), dtype=torch.float32), dim=1)
    rows, vectors = [], []
    for identity in range(24):
        for number in range(4):
            rows.append((f"{identity}-{number}", f"p{identity:02}", "ab"[identity >= 12], "train" if number < 2 else "query"))
            vectors.append(draw_unit(1, 16, identity * 10 + number, centres[identity])[0])
    photos = pd.DataFrame(rows, columns=["image_id", "identity", "group", "role"])
    members = photos[photos.role == "train"][["group", "image_id", "identity"]]
    own = torch.cat([draw_unit(5, 16, 900 + p, centres[p]) for p in range(6)])
    return photos, torch.stack(vectors), members, {"a": own, "b": draw_unit(30, 16, 5)}


def test_every_measure_shows_a_generator_that_returns_its_identities(study):
    photos, query, members, generated = study
    rows = judge_snapshot(photos, query, generated, members, 1.5, embedder="net", settings=SETTINGS)
    assert set(rows.slice) == {"kimg: 1.5"} and set(rows.member_group) == {"a", "b", "pooled"}
    assert (rows.num_generated == 30).all()
    value = rows.set_index(["member_group", "metric", "versus"]).value
    assert value["a", "auc", ""] > 0.7 > value["b", "auc", ""]
    assert value["a", "effective_identities", ""] == pytest.approx(6)
    assert 6 < value["b", "effective_identities", ""] <= 12
    for metric in ("frechet_distance", "kernel_distance"):
        assert value["a", metric, "train photos"] < value["a", metric, "other people"]
        pooled = (value["a", metric, "other people"] + value["b", metric, "other people"]) / 2
        assert value["pooled", metric, "other people"] == pytest.approx(pooled)


def test_a_set_has_no_distance_to_itself():
    x = draw_unit(200, 8, 3)
    quality = measure_quality(x, x)
    assert quality["frechet_distance"] == pytest.approx(0, abs=1e-6) and quality["kernel_distance"] < 0


def test_quality_reads_embeddings_that_lie_in_a_file(tmp_path):
    x, y = draw_unit(50, 8, 3), draw_unit(40, 8, 4)
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=(50, 8))
    mapped[:] = x.numpy()
    assert measure_quality(mapped, y) == measure_quality(x, y)
    assert measure_quality(x.clone().requires_grad_(), y) == measure_quality(x, y), "of a network that records gradients"


def test_faces_of_a_snapshot_are_in_memory_a_block_at_a_time(monkeypatch):
    class Generator(torch.nn.Module):
        latent_dim = 4
        weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, z):
            return z[:, :3, None, None].expand(-1, 3, 4, 4) / 4

    generator, seen = Generator(), []
    generator.register_parameter("own", generator.weight)

    def embed(faces, net, device):
        seen.append(len(faces))
        return torch.nn.functional.normalize(faces.float().flatten(1) + 1)

    monkeypatch.setattr(training_curve, "embed_faces", embed)
    whole = training_curve._embed_snapshot(generator, generator, 20)
    monkeypatch.setattr(training_curve, "SNAPSHOT_BLOCK", 8)
    assert torch.equal(training_curve._embed_snapshot(generator, generator, 20), whole)
    assert seen == [20, 8, 8, 4]


def test_snapshots_are_in_the_order_of_training_and_pairs_are_of_one_time(study, tmp_path):
    photos, query, members, _ = study

    class Net(torch.nn.Module):
        weight = torch.nn.Parameter(torch.ones(()))

    net = Net()
    net.register_parameter("own", net.weight)
    paths = {group: [tmp_path / group / f"snapshot-{n:09d}.safetensors" for n in (0, 1500)] for group in "ab"}
    seen = []

    def fake_sample(generator, seeds):
        seen.append(generator)
        yield torch.zeros(len(seeds), 3, 4, 4, dtype=torch.uint8)

    def fake_embed(faces, embedder, device):
        return draw_unit(len(faces), 16, len(seen))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppe.evaluation.training_curve.sample_faces", fake_sample)
        patch.setattr("ppe.evaluation.training_curve.embed_faces", fake_embed)
        known = {"photos": photos, "query": query, "members": members, "embedder": "net", "settings": SETTINGS}
        rows = judge_snapshots(paths, lambda path: path, net, 20, **known)
        assert rows.slice.unique().tolist() == ["kimg: 0", "kimg: 1.5"]
        gap = rows[rows.metric == "kernel_gap"].set_index(["member_group", "slice", "versus"]).value
        distance = rows[rows.metric == "kernel_distance"].set_index(["member_group", "slice", "versus"]).value
        assert (gap.xs("kimg: 0", level="slice") == 0).all() and len(gap) == 3 * 2 * 2
        now, then = (distance["a", k, "unseen photos"] - distance["a", k, "train photos"] for k in ("kimg: 1.5", "kimg: 0"))
        assert gap["a", "kimg: 1.5", "photos: unseen minus train"] == pytest.approx(now - then)
        assert seen == [paths["a"][0], paths["b"][0], paths["a"][1], paths["b"][1]]
        last = {"a": draw_unit(30, 16, 3), "b": draw_unit(30, 16, 4)}
        again = judge_snapshots(paths, lambda path: path, net, 20, last=last, **known)
        assert seen[4:] == [paths["a"][0], paths["b"][0]], "what the attack embedded is not embedded again"
        assert list(again.slice) == list(rows.slice) and set(again.num_generated.dropna()) == {20}
        with pytest.raises(ValueError, match="from different times"):
            judge_snapshots({"a": paths["a"], "b": paths["b"][::-1]}, lambda path: path, net, 20, **known)


def test_identities_with_more_training_photos_have_no_more_weight(study):
    photos, query, members, generated = study
    extra = photos[(photos.identity == "p00") & (photos.role == "train")].assign(image_id=lambda t: t.image_id + "-again")
    more = pd.concat([photos, extra], ignore_index=True)
    shown = pd.concat([members, extra[["group", "image_id", "identity"]]])
    vectors = torch.cat([query, query[torch.tensor(extra.index.tolist())]])
    known = {"kimg": 1.0, "embedder": "net", "settings": SETTINGS}
    one = judge_snapshot(photos, query, generated, members, **known)
    two = judge_snapshot(more, vectors, generated, shown, **known)
    quality = one.metric != "auc"
    assert np.allclose(one[quality].value, two[quality].value), "two photos of each identity, as before"
    assert (one[quality].num_members == 12).all()


def test_fid_has_no_rows_without_weights_and_no_value_for_few_faces(tmp_path):
    faces = np.zeros((5, 3, 4, 4), np.uint8)
    assert len(judge_fid({"a": faces, "b": faces}, faces, None)) == 0
    rows = judge_fid({"a": faces, "b": faces}, faces, tmp_path / "weights.pth")
    assert rows.member_group.tolist() == ["a", "b"] and set(rows.metric) == {"fid"} and rows.value.isna().all()


def test_real_faces_are_reduced_a_batch_at_a_time(monkeypatch, tmp_path):
    def compute(generated, real, weights, device, prepare):
        assert real is photos, "the photos are handed on, not a copy of them"
        return float(prepare(torch.as_tensor(real[:2])).shape[-1])

    photos = np.zeros((4, 3, 8, 8), np.uint8)
    monkeypatch.setattr(training_curve, "MIN_FID_FACES", 4)
    monkeypatch.setattr(training_curve, "compute_fid", compute)
    sets = dict.fromkeys("ab", np.zeros((4, 3, 4, 4), np.uint8))
    assert judge_fid(sets, photos, tmp_path / "weights.pth", resolution=4).value.tolist() == [4, 4]
