"""What nets say of drawn people: on pictures whose answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.embedders.realism import PROMISES, measure_likeness, read_background, tabulate_promises


class Colours(torch.nn.Module):
    """An embedder that sees nothing but a face's mean colour."""

    def forward(self, faces):
        return torch.nn.functional.normalize(faces.float().mean((2, 3)), dim=1)


def test_a_net_that_sees_the_person_has_an_auc_of_one_and_a_blind_one_of_a_half():
    person = np.repeat([0, 1, 2], 4)
    faces = torch.zeros(12, 3, 64, 64, dtype=torch.uint8)
    for row, channel in enumerate(person):
        faces[row, channel] = 200
    table = measure_likeness(faces, person, Colours(), resolutions=(64, 32))
    assert list(table.index) == [64, 32] and np.allclose(table.auc, 1)
    assert np.allclose(table.cosine_same, 1) and np.allclose(table.cosine_other, 0)
    blind = measure_likeness(torch.full((12, 3, 64, 64), 9, dtype=torch.uint8), person, Colours(), resolutions=(32,))
    assert np.isclose(blind.auc[32], 0.5, atol=0.1) and np.isclose(blind.cosine_other[32], 1)
    with pytest.raises(ValueError, match="4 faces of 1 people have no pairs of one person, or none of two"):
        measure_likeness(faces[:4], person[:4], Colours())


def test_what_is_painted_on_the_wall_is_read_and_what_is_not_is_not():
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(60), 3)
    vectors = rng.random((60, 2))[identity]  # the first is the wall's brightness, the second is nowhere
    photos = rng.integers(0, 20, (180, 3, 64, 64)).astype(np.uint8)
    photos += (200 * vectors[:, 0]).astype(np.uint8)[:, None, None, None]
    seen, unseen = read_background(photos, vectors, identity)
    assert seen > 0.9 and unseen < 0.05
    photos[:, :, :8] = 0  # only the upper corners count
    assert read_background(photos, vectors, identity).max() < 0.05


def test_promises_are_kept_broken_or_not_measured():
    likeness = pd.DataFrame({"auc": [0.98, 0.8], "cosine_other": [0.2, 0.3]}, index=[112, 32])
    table = tabulate_promises(0.99, likeness, np.array([-0.1, 0.01]))
    assert list(table.index) == list(PROMISES)
    assert list(table.kept) == [True, True, False, True, True]
    assert list(table.measured) == [0.99, 0.98, 0.8, 0.2, 0.01]
    unasked = tabulate_promises(0.9, None, np.array([0.5]))
    assert list(unasked.kept) == [False, None, None, None, False] and unasked.measured.isna().sum() == 3
