"""Realism of synthetic identities: measurements on pictures with a known answer."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.embedders.realism import PROMISES, measure_likeness, read_scenery, tabulate_promises


class Colours(torch.nn.Module):
    """An embedder that reads nothing but the mean colour of a face."""

    input_size = 32

    def forward(self, faces):
        return torch.nn.functional.normalize(faces.float().mean((2, 3)), dim=1)


def test_a_perfect_embedder_has_an_auc_of_one_and_uninformative_faces_of_a_half():
    identity = np.repeat([0, 1, 2], 4)
    faces = torch.zeros(12, 3, 64, 64, dtype=torch.uint8)
    for row, channel in enumerate(identity):
        faces[row, channel] = 200
    table = measure_likeness(faces, identity, Colours(), resolutions=(64, 32))
    assert list(table.index) == [64, 32] and np.allclose(table.auc, 1)
    assert np.allclose(table.cosine_same, 1) and np.allclose(table.cosine_other, 0)
    blind = measure_likeness(torch.full((12, 3, 64, 64), 9, dtype=torch.uint8), identity, Colours(), resolutions=(32,))
    assert np.isclose(blind.auc[32], 0.5, atol=0.1) and np.isclose(blind.cosine_other[32], 1)
    with pytest.raises(ValueError, match="4 faces of 1 identities have no pair of one identity, or none of two"):
        measure_likeness(faces[:4], identity[:4], Colours())


def test_only_a_parameter_that_the_scenery_holds_is_predicted_from_it():
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(60), 3)
    vectors = rng.random((60, 2))[identity]  # the first is the brightness of the scenery, the second is not in the photo
    photos = rng.integers(0, 20, (180, 3, 64, 64)).astype(np.uint8)
    photos += (200 * vectors[:, 0]).astype(np.uint8)[:, None, None, None]
    seen, unseen = read_scenery(photos, vectors, identity)
    assert seen > 0.9 and unseen < 0.05
    photos[:, :, :8] = 0  # only the upper corners count
    assert read_scenery(photos, vectors, identity).max() < 0.05


def test_requirements_are_met_missed_or_not_measured():
    likeness = pd.DataFrame({"auc": [0.98, 0.8], "cosine_other": [0.2, 0.3]}, index=[112, 32])
    table = tabulate_promises(0.99, likeness, np.array([-0.1, 0.01]))
    assert list(table.index) == list(PROMISES)
    assert list(table.kept) == [True, True, False, True, True]
    assert list(table.measured) == [0.99, 0.98, 0.8, 0.2, 0.01]
    unasked = tabulate_promises(0.9, None, np.array([0.5]))
    assert list(unasked.kept) == [False, None, None, None, False] and unasked.measured.isna().sum() == 3
