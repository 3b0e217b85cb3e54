"""Quality of published faces: diversity on paper, and who is counted."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.evaluation import quality
from ppe.evaluation.quality import judge_published, measure_diversity


def test_diversity_of_a_circle_is_known_on_paper():
    same = torch.tensor([[1.0, 0.0]] * 5)
    assert measure_diversity(same) == pytest.approx(0)
    crossed = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])  # of six pairs, two are opposite and four at right angles
    assert measure_diversity(crossed) == pytest.approx((2 * 2 + 4 * 1) / 6)


def test_diversity_does_not_depend_on_the_order_and_equals_the_mean_over_pairs():
    vectors = torch.nn.functional.normalize(torch.randn(30, 8))
    pairs = [1 - float(vectors[i] @ vectors[j]) for i in range(30) for j in range(i)]
    assert measure_diversity(vectors.flip(0)) == pytest.approx(measure_diversity(vectors))
    assert measure_diversity(vectors) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_rows_compare_published_faces_with_photos_that_were_not_trained_on(monkeypatch):
    """Bright pictures count as faces: all of generator A's, half of B's, and the unseen photos alone."""
    found = lambda photos, device: pd.DataFrame({"detected": [photo.mean() > 100 for photo in photos]})  # noqa: E731
    monkeypatch.setattr(quality, "detect_faces", found)
    bright, dark = np.full((1, 3, 32, 32), 200, np.uint8), np.zeros((1, 3, 32, 32), np.uint8)
    drawn = {"a": np.repeat(bright, 4, 0), "b": np.concatenate([bright, bright, dark, dark])}
    circle = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    photos = pd.DataFrame({"image_id": list("123456"), "identity": list("xxyyzz"), "group": list("aaaabb")})
    asked, query = torch.tensor(np.concatenate([dark, bright] * 3)), circle[[0, 1, 2, 3, 0, 1]]
    members = pd.DataFrame({"image_id": list("135")})  # the dark ones
    rows = judge_published(drawn, {"a": circle, "b": circle}, asked, query, photos, members, embedder="net")
    share = rows[rows.metric == "detected_share"].set_index(["member_group", "versus"]).value
    assert share.to_dict() == {
        ("a", ""): 1.0, ("b", ""): 0.5, ("pooled", ""): 0.75,
        ("a", "unseen photos"): 1.0, ("b", "unseen photos"): 1.0, ("pooled", "unseen photos"): 1.0,
    }  # fmt: skip
    diversity = rows[rows.metric == "diversity"].set_index(["member_group", "versus"]).value
    assert diversity["a", ""] == pytest.approx(4 / 3) and np.isnan(diversity["b", "unseen photos"]), "one photo has none"
    assert set(rows.embedder) == {"net"} and set(rows.metric) == {"detected_share", "diversity"}
