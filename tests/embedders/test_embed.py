"""Embedding in batches and verification: values derived on paper, comparison with scikit-learn, and accuracy on LFW."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

import ppe.embedders.embed as embeddings_module
from ppe import embedders
from ppe.attacks.nearest import find_nearest
from ppe.embedders.embed import compare_with_truth, compute_verification, embed_faces, extend_embeddings, verify_pairs
from ppe.faces import LANDMARK_COLUMNS, align_faces, resize_faces

SHARED = Path(os.environ.get("PPE_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    return embedders.build("mobilefacenet", input_size=48, width=0.25)


@pytest.fixture(scope="module")
def faces():
    return torch.randint(0, 256, (23, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def place_on_circle(degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    return torch.stack([angles.cos(), angles.sin()], 1)


# ----------------------------------------------------------------------------------------------------- embed_faces


@pytest.mark.parametrize("resolution", [None, 32])
def test_batch_size_does_not_change_an_embedding(embedder, faces, resolution):
    whole = embed_faces(faces, embedder, resolution=resolution, batch_size=23)
    for batch_size in (1, 7, 64):
        parts = embed_faces(faces, embedder, resolution=resolution, batch_size=batch_size)
        difference = (whole - parts).abs().max().item()
        print(f"resolution {resolution}: batches of 23 and of {batch_size} differ by {difference:.1e}")
        assert difference < 1e-5


def test_rows_keep_their_order_and_have_unit_norm(embedder, faces):
    embeddings = embed_faces(faces, embedder, batch_size=5)
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(1))
    assert embeddings.shape == (23, 128) and embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(23), atol=1e-5)
    assert torch.allclose(embed_faces(faces[order], embedder, batch_size=5), embeddings[order], atol=1e-5)


def test_resolution_first_reduces_faces_by_area_averaging(embedder, faces):
    small = embed_faces(faces, embedder, resolution=16)
    assert torch.allclose(small, embed_faces(resize_faces(faces, 16), embedder), atol=1e-6)
    assert not torch.allclose(small, embed_faces(faces, embedder), atol=1e-3)


def test_arrays_memmaps_and_tensors_give_the_same_embeddings(embedder, faces, tmp_path):
    np.save(tmp_path / "faces.npy", faces.numpy())
    expected = embed_faces(faces, embedder, resolution=32, batch_size=10)
    for same in (faces.numpy(), np.load(tmp_path / "faces.npy", mmap_mode="r")):
        assert torch.equal(embed_faces(same, embedder, resolution=32, batch_size=10), expected)


def test_embeddings_too_large_for_memory_are_the_same_in_a_file(embedder, faces, monkeypatch):
    expected = embed_faces(faces, embedder, batch_size=5)
    more = extend_embeddings(expected[:15], faces, embedder)
    monkeypatch.setattr(embeddings_module, "MAX_IN_MEMORY", 10 * 4 * 128)  # ten rows of the 23
    mapped = embed_faces(faces, embedder, batch_size=5)
    assert isinstance(mapped, np.memmap) and mapped.mode == "r" and np.array_equal(mapped, expected.numpy())
    for one, other in zip(find_nearest(expected[:7], mapped), find_nearest(expected[:7], expected), strict=True):
        assert torch.equal(one, other)
    longer = extend_embeddings(mapped[:15], faces, embedder)
    assert isinstance(longer, np.memmap) and np.allclose(longer, more, atol=1e-5)
    assert extend_embeddings(mapped, faces, embedder) is mapped


def test_no_faces_give_an_empty_array_with_all_columns(embedder, faces):
    assert embed_faces(faces[:0], embedder).shape == (0, 128)
    assert embed_faces(faces[:0], embedder, resolution=32).shape == (0, 128)


def test_wrong_arrays_and_damaged_weights_are_errors(embedder, faces):
    with pytest.raises(ValueError, match=r"must be uint8 \[N, 3, H, W\]"):
        embed_faces(faces.float(), embedder)
    with pytest.raises(ValueError, match=r"must be uint8 \[N, 3, H, W\]"):
        embed_faces(faces.permute(0, 2, 3, 1), embedder)
    with pytest.raises(ValueError, match="batch_size=0"):
        embed_faces(faces, embedder, batch_size=0)
    with pytest.raises(ValueError, match="smaller than 128 px"):
        embed_faces(faces, embedder, resolution=128)
    damaged = embedders.build("mobilefacenet", input_size=48, width=0.25)
    damaged.net.head[2].conv.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="face 0 is not finite"):
        embed_faces(faces, damaged)


# ----------------------------------------------------------------------------------------------------- verification


def test_pairs_are_balanced_and_never_repeated():
    """All pairs of these angles have different distances, so a repeated pair would be a repeated score."""
    degrees = np.array([0, 1, 6, 10, 23, 26, 34, 41, 53, 55]) * 3  # a Golomb ruler
    identity = np.array(["a", "b"])[[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]]
    score, is_same = verify_pairs(place_on_circle(degrees), identity, num_pairs=40, seed=0)
    assert score.shape == is_same.shape == (40,) and score.dtype == torch.float32 and is_same.dtype == torch.bool
    assert is_same.sum() == 20  # all 10 + 10 pairs of one identity
    drawn = np.rad2deg(np.arccos(score.double().clamp(-1, 1).numpy()))
    first, second = np.triu_indices(10, 1)
    apart, same = degrees[second] - degrees[first], identity[first] == identity[second]
    assert np.allclose(np.sort(drawn[is_same]), np.sort(apart[same]), atol=0.1)
    others = np.round(drawn[~is_same]).astype(int)
    assert len(set(others)) == 20 and set(others) <= set(apart[~same].tolist())


def draw_from_all(embeddings, identity, num_pairs, seed):
    """The same draw from a list of all pairs."""
    first, second = np.triu_indices(len(identity), k=1)
    same, rng = identity[first] == identity[second], np.random.default_rng(seed)
    drawn = np.concatenate([rng.choice(np.flatnonzero(kind), num_pairs // 2, replace=False) for kind in (same, ~same)])
    return (embeddings[first[drawn]] * embeddings[second[drawn]]).sum(1), torch.from_numpy(same[drawn])


@pytest.mark.parametrize(("num_photos", "num_identities", "num_pairs"),
                         [(4, 2, 2), (30, 3, 200), (300, 40, 1000), (300, 299, 2), (900, 20, 4000)])  # fmt: skip
def test_pairs_are_those_of_a_draw_from_all_pairs(num_photos, num_identities, num_pairs):
    """The largest case has 19,000 to 400,000 pairs a kind: numpy draws small and large shares of a range in different ways."""
    embeddings = torch.nn.functional.normalize(torch.randn(num_photos, 8))
    identity = np.random.default_rng(num_photos).permutation(np.arange(num_photos) % num_identities)
    for seed, names in enumerate((identity, np.sort(identity), identity.astype(str))):
        drawn = verify_pairs(embeddings, names, num_pairs=num_pairs, seed=seed)
        mapped = verify_pairs(embeddings.numpy(), names, num_pairs=num_pairs, seed=seed)
        for one, other, expected in zip(drawn, mapped, draw_from_all(embeddings, names, num_pairs, seed), strict=True):
            assert torch.equal(one, expected) and torch.equal(other, expected)


def test_pairs_depend_on_the_seed():
    embeddings = place_on_circle(np.linspace(0, 300, 60).tolist())
    identity = np.arange(60) // 4
    first, again, other = (verify_pairs(embeddings, identity, num_pairs=100, seed=seed)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("num_pairs", [0, 7, 42])
def test_more_pairs_than_exist_are_an_error(num_pairs):
    with pytest.raises(ValueError, match=f"num_pairs={num_pairs} .* up to 40"):
        verify_pairs(place_on_circle(list(range(10))), [0] * 5 + [1] * 5, num_pairs=num_pairs, seed=0)


def test_verification_of_angles_on_a_circle():
    """Two identities, photos at 0, 30 and 45, 75 degrees. Same: 30 and 30 apart; other: 45, 75, 15 and 45 apart.

    Each pair of one identity is closer than three of the four others (only 15 degrees is closer): AUC 3/4.
    """
    score, is_same = _score_all(place_on_circle([0, 30, 45, 75]), np.array([0, 0, 1, 1]))
    measured = compute_verification(score, is_same, num_folds=2)
    assert measured["auc"] == 0.75
    assert measured["tpr_at_fpr_1e-1"] == 0.0  # with four other pairs an FPR of 0.1 is not resolved, and it is not interpolated


def _score_all(embeddings, identity):
    first, second = np.triu_indices(len(identity), 1)
    return (embeddings[first] * embeddings[second]).sum(1), identity[first] == identity[second]


def test_the_auc_agrees_with_sklearn_and_negated_scores_give_its_complement():
    rng = np.random.default_rng(0)
    is_same = np.arange(400) % 2 == 0
    score = rng.normal(is_same * 1.0)
    auc = compute_verification(score, is_same)["auc"]
    assert auc == pytest.approx(roc_auc_score(is_same, score), abs=1e-12)
    assert compute_verification(-score, is_same)["auc"] == pytest.approx(1 - auc, abs=1e-12)


def test_tpr_at_a_given_fpr_is_known_on_paper():
    """Other pairs score 0 to 99: 10 % at least 90, 1 % at least 99. Ten same pairs lie above 99 and thirty between."""
    score = np.r_[np.arange(100), np.full(10, 200), np.full(30, 95.5), np.full(60, -1)]
    measured = compute_verification(score, np.arange(200) >= 100)
    assert measured["tpr_at_fpr_1e-1"] == 0.4
    assert measured["tpr_at_fpr_1e-2"] == 0.1


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, 0.0)])
def test_perfect_and_inverted_scores_have_known_values(sign, expected):
    is_same = np.arange(40) < 20
    measured = compute_verification(sign * np.where(is_same, 1.0, 0.0), is_same)
    assert measured["auc"] == expected
    # With inverted scores every threshold except the two trivial ones is worse than chance.
    assert measured["accuracy"] == (1.0 if sign == 1 else 0.5)


def test_the_threshold_of_a_fold_is_chosen_on_the_other_folds():
    """The best threshold is 0.5 in fold 1 and 10.5 in fold 2, and each fails on the other fold."""
    is_same = np.tile([True, False], 20)
    score = np.where(is_same, 1.0, 0.0) + np.where(np.arange(40) < 20, 0, 10)
    assert compute_verification(score, is_same, num_folds=2)["accuracy"] == 0.5


def test_equal_scores_have_an_auc_of_a_half():
    measured = compute_verification(np.zeros(40), np.arange(40) < 20)
    assert measured == {"auc": 0.5, "accuracy": 0.5, "tpr_at_fpr_1e-1": 0.0, "tpr_at_fpr_1e-2": 0.0}


@pytest.mark.parametrize(
    ("score", "is_same", "sentence"),
    [
        (np.zeros(20), np.ones(20, bool), "20 same and 0 other pairs are too few for 10 folds"),
        (np.zeros(20), np.ones(19, bool), "of one length"),
        (np.full(40, np.nan), np.arange(40) < 20, "must be finite"),
    ],
)
def test_wrong_scores_are_errors(score, is_same, sentence):
    with pytest.raises(ValueError, match=sentence):
        compute_verification(score, is_same)


def test_the_casia_model_verifies_identities_of_lfw():
    """Half of LFW's first fold, 150 + 150 pairs, each tenth with the threshold that is best on the others."""
    names = ["weights/mobilefacenet-casia.pth", "data/lfw-pairs.txt", "data/lfw-landmarks.csv"]
    needed = [SHARED / name for name in names]
    if absent := [str(file) for file in needed if not file.is_file()]:
        pytest.skip(f"{', '.join(absent)} absent: LFW and the CASIA-WebFace weights are not part of the repository")
    lines = needed[1].read_text().splitlines()
    rows = [line.split("\t") for line in lines[1:151] + lines[301:451]]
    rows = [row if len(row) == 4 else [row[0], row[1], row[0], row[2]] for row in rows]
    pairs = [[f"{row[i]}/{row[i]}_{int(row[i + 1]):04d}.jpg" for i in (0, 2)] for row in rows]
    paths = sorted({path for pair in pairs for path in pair})
    with open(needed[2]) as file:
        found = {row["path"]: [float(row[column]) for column in LANDMARK_COLUMNS] for row in csv.DictReader(file)}

    photos = [np.array(Image.open(SHARED / "data/lfw" / path).convert("RGB")) for path in paths]
    aligned = align_faces(photos, np.array([found[path] for path in paths], np.float32).reshape(-1, 5, 2))
    embeddings = embed_faces(aligned, embedders.load("mobilefacenet", needed[0]))
    first, second = (embeddings[[paths.index(pair[i]) for pair in pairs]] for i in (0, 1))
    measured = compute_verification((first * second).sum(1), np.arange(300) < 150)

    print("LFW, half of fold 1:", measured)
    assert measured["accuracy"] >= 0.95


def test_parameter_and_embedding_distances_are_known_on_paper():
    angle = torch.deg2rad(torch.tensor([0.0, 10, 30, 40, 100, 110]))
    embeddings = torch.stack([angle.cos(), angle.sin()], 1)
    identity = np.repeat(["a", "b", "c"], 2)  # at 5, 35 and 105 degrees
    vectors = np.repeat([[0.0, 7], [3, 7], [10, 7]], 2, axis=0)
    pairs = compare_with_truth(embeddings, identity, vectors)
    np.testing.assert_allclose(pairs.embedding_distance, 1 - np.cos(np.deg2rad([30, 100, 70])), atol=1e-6)
    spread = np.std([0, 3, 10])
    np.testing.assert_allclose(pairs.parameter_distance, np.array([3, 10, 7]) / spread / np.sqrt(2), atol=1e-9)
    assert pairs.corr("spearman").iloc[0, 1] == 1
