"""Differentially private training: whose influence is bounded, what the accountant says, and equal bytes after a restart."""

import numpy as np
import pytest
import torch

from ppe.generators import load_trainer
from ppe.generators.training import private
from ppe.generators.training.loop import train_generator

PEOPLE = np.repeat(list("abcd"), 3)


@pytest.fixture
def settings(small):
    rules = {"epsilon": 8.0, "delta": 1e-5, "unit": "identity", "max_norm": 0.5, "noise_draws": 2, "kimg": 0.4}
    return small["edm"] | {"privacy": rules, "batch_size": 6}


def start(photos, settings, seed=1):
    return private.start_training(photos, "edm", settings, seed, "cpu", PEOPLE)


def find_step(seed, rate, wanted):
    """A step whose units are ``wanted`` in number."""
    return next(step for step in range(1000) if len(private.draw_units(4, rate, seed, step)) == wanted)


def sum_gradients(photos, settings, units, step, seed=1, noise=0.0):
    """What Adam receives in a step, flat, without noise: the summed gradient over the expected number of units."""
    state = start(photos, settings, seed)
    optimiser, seen = state["optimiser_generator"], []
    optimiser.noise_multiplier = noise
    optimiser.attach_step_hook(lambda o: seen.append(torch.cat([p.grad.flatten() for p in o.params])))
    private.train_step(state, step, settings, seed)
    return seen[-1]


def test_the_sum_of_cut_gradients_is_that_of_each_identity_alone(photos, settings):
    """Noise 0: two identities drawn together give the mean of what is computed for each by hand, cut to max_norm."""
    step = find_step(1, 0.5, 2)
    state, total = start(photos, settings), 0
    for unit in private.draw_units(4, 0.5, 1, step):
        draws = private.open_draws(1, step, 6, stream=4 + unit)
        loss = private._compute_unit_loss(state, state["rows"][unit], settings, draws)
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(state["generator"].parameters()))])
        total = total + gradient * min(1.0, 0.5 / gradient.norm().item())
    torch.testing.assert_close(sum_gradients(photos, settings, 2, step), total / (0.5 * 4), atol=1e-5, rtol=1e-3)


def test_one_identity_changes_the_sum_by_at_most_max_norm_whatever_its_photos(photos, settings):
    step = find_step(1, 0.5, 2)
    unit = private.draw_units(4, 0.5, 1, step)[0]
    other = photos.clone()
    other[torch.tensor(np.flatnonzero(PEOPLE == "abcd"[unit]))] = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    changed = (sum_gradients(photos, settings, 2, step) - sum_gradients(other, settings, 2, step)).norm().item() * 0.5 * 4
    assert 0.01 < changed <= 2 * 0.5 * 1.001, "replaced: once taken away, once added"


def test_the_noise_has_the_stated_size(photos, settings):
    """With nobody drawn, what is left is the noise: its standard deviation is multiplier x max_norm / expected units."""
    step = find_step(1, 0.5, 0)
    noise = sum_gradients(photos, settings, 0, step, noise=3.0)
    assert noise.std().item() == pytest.approx(3.0 * 0.5 / 2, rel=0.02) and abs(noise.mean().item()) < 0.01


def test_the_whole_training_keeps_epsilon(settings):
    from opacus.accountants import RDPAccountant

    rules, rate, steps = settings["privacy"], 0.5, private.count_steps(settings)
    multiplier = private.find_noise_multiplier(rules, rate, steps)
    accountant = RDPAccountant()
    accountant.history = [(multiplier, rate, steps)]
    assert steps == 67 and 7.5 < accountant.get_epsilon(1e-5) <= 8.0


def test_a_training_longer_than_the_noise_was_computed_for_is_refused(photos, settings):
    state = start(photos, settings)
    with pytest.raises(ValueError, match="step 68 would exceed epsilon=8, since the noise is for 67 steps"):
        private.train_step(state, 67, settings, 1)


def test_units_are_drawn_independently_at_the_stated_rate():
    draws = [private.draw_units(200, 0.3, 7, step) for step in range(50)]
    counts = np.array(list(map(len, draws)))
    assert counts.mean() == pytest.approx(60, abs=3) and counts.std() > 3, "Poisson sampling: the number varies"
    assert draws[3] == private.draw_units(200, 0.3, 7, 3) and draws[3] != draws[4]


def test_a_unit_is_a_photo_if_that_is_said(photos, settings):
    settings["privacy"] |= {"unit": "photo"}
    assert [len(rows) for rows in start(photos, settings)["rows"]] == [1] * 12


def test_an_interrupted_training_ends_with_the_same_bytes(photos, settings, tmp_path, train_until):
    recipe = {"images": photos, "family": "edm", "settings": settings, "kimg": 0.4, "seed": 3, "identities": PEOPLE}
    train_generator(**recipe, folder=tmp_path / "whole")
    train_until(31, **recipe, folder=tmp_path / "halted")
    train_generator(**recipe, folder=tmp_path / "halted")
    files = sorted((tmp_path / "whole").glob("*.safetensors"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "halted" / file.name).read_bytes() == file.read_bytes(), file.name


def test_gans_and_missing_identities_are_refused(photos, small, settings, tmp_path):
    with pytest.raises(ValueError, match="'fastgan' cannot be trained with differential privacy"):
        load_trainer("fastgan", is_private=True)
    with pytest.raises(ValueError, match="needs the identity of each photo"):
        train_generator(photos, family="edm", settings=settings, kimg=0.4, seed=3, folder=tmp_path)
