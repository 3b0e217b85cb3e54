"""The output filter: its threshold on angles, what it keeps, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.defences import output_filter
from ppe.defences.output_filter import choose_published, keep_distant, set_threshold


def at(degrees):
    """Unit vectors on a circle."""
    angles = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float32))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_faces_within_the_threshold_of_a_training_photo_are_left_out():
    rows, rejected = keep_distant(at([0.0, 10, 40, 80, 21]), at([5.0, 90]), np.cos(np.deg2rad(12)), 2)
    assert rows.tolist() == [2, 4] and rejected == pytest.approx(3 / 5)


def test_too_few_faces_are_an_error_that_says_what_to_raise():
    with pytest.raises(ValueError, match="only 1 of 2 generated faces pass .* raise defences.filter_limit"):
        keep_distant(at([0.0, 45]), at([0.0]), 0.9, 2)


def test_the_threshold_is_the_cosine_that_the_stated_share_reaches():
    """One control at 0 degrees and faces at 1 to 100: a share of 0.1 is within 10 degrees."""
    generated = at(np.arange(1.0, 101))
    cut = set_threshold(generated, at([0.0]), np.array(["x"]), num_identities=1, num_photos=1, rate=0.1, seed=1)
    assert np.rad2deg(np.arccos(cut)) == pytest.approx(10.9, abs=0.2)


def test_more_control_identities_make_a_higher_threshold_and_photos_beyond_the_number_do_not_count():
    torch.manual_seed(0)
    generated, controls = torch.nn.functional.normalize(torch.randn(2, 400, 16), dim=2)
    identity = np.repeat(np.arange(80), 5)
    cuts = [set_threshold(generated, controls, identity, num_identities=n, num_photos=3, rate=0.05, seed=1) for n in (5, 40)]
    assert cuts[0] < cuts[1]
    swapped = controls.clone()
    swapped[4::5] = 0.0
    again = set_threshold(generated, swapped, identity, num_identities=5, num_photos=3, rate=0.05, seed=1)
    assert again == cuts[0], "only the first three photos of each count"


def test_each_owner_looks_at_the_training_photos_of_their_own_generator(tmp_path, monkeypatch, rules):
    """Faces are numbers here, embedded as degrees on a circle; group a was trained on 0 degrees, b on 90, c on 180."""
    monkeypatch.setattr(output_filter, "embed_faces", lambda faces, net, **size: at(np.array(faces[:])[:, 0, 0, 0]))
    faces = np.arange(0, 200, dtype=np.uint8)[:, None, None, None]
    for group in "abc":
        np.save(tmp_path / f"{group}.npy", faces)
    training = np.uint8([0, 90, 180])[:, None, None, None]
    members = pd.DataFrame({"group": list("abc"), "image_id": list("123"), "identity": list("xyz")})
    run = rules(resolution=1, num_generated=100, train_photos=1, seed=1)
    controls, names = np.uint8([45, 135])[:, None, None, None], np.array(["k", "l"])
    known = {"run": run, "rules": rules(filter_rate=0.1)}
    rows, table = choose_published(tmp_path, "net", training, members, controls, names, **known)
    assert 90 in rows["a"] and 0 not in rows["a"] and 90 not in rows["b"] and 0 in rows["b"] and 180 not in rows["c"]
    assert all(len(rows[group]) == 100 for group in "abc") and table.rejected.between(0.02, 0.2).all()
    every, table = choose_published(tmp_path, None, training, members, controls, names, **known)
    assert every["a"].tolist() == list(range(200)) and table.isna().all(axis=None)


@pytest.fixture
def rules():
    from types import SimpleNamespace

    return SimpleNamespace
