"""Augmentation: dependence on its random numbers, gradients, and ADA's geometry, colours and control of p."""

import math

import pytest
import torch

from ppe.generators.training import ada
from ppe.generators.training.augment import POLICIES, augment
from ppe.generators.training.draws import open_draws

SURE = torch.ones(())


@pytest.mark.parametrize("name", list(POLICIES))
def test_augmentation_depends_on_the_seed_alone_and_passes_gradients(name):
    images = torch.rand(6, 3, 32, 32, requires_grad=True)
    first = augment(images, [name], open_draws(5, 0, 6), SURE)
    again = augment(images, [name], open_draws(5, 0, 6), SURE)
    other = augment(images, [name], open_draws(6, 0, 6), SURE)
    assert torch.equal(first, again) and not torch.equal(first, other) and first.shape == images.shape
    first.sum().backward()
    assert images.grad.abs().sum() > 0
    assert torch.equal(augment(images, [], open_draws(5, 0, 6), SURE), images)


def test_translation_shifts_by_whole_pixels_and_fills_with_zero():
    images = torch.zeros(40, 3, 32, 32)
    images[:, :, 16, 16] = 1
    moved = augment(images, ["translation"], open_draws(0, 0, 40), SURE)
    assert moved.sum(dim=(1, 2, 3)).eq(3).all(), "the bright pixel is shifted, neither lost nor blurred"
    rows = moved[:, 0].amax(2).argmax(1)
    assert rows.min() >= 12 and rows.max() <= 20 and len(rows.unique()) > 5


def test_ada_with_probability_zero_changes_nothing():
    ramp = torch.linspace(-0.9, 0.9, 32).expand(4, 3, 32, 32).contiguous()
    calm = augment(ramp, ["ada"], open_draws(1, 0, 4), torch.zeros(()))
    assert (calm - ramp).abs().max() < 1e-5, "an unmoved face is not resampled: no detail is lost"
    noise = torch.randn(4, 3, 32, 32)
    assert (augment(noise, ["ada"], open_draws(1, 0, 4), torch.zeros(())) - noise).abs().max() < 1e-5
    assert (augment(ramp, ["ada"], open_draws(1, 0, 4), SURE) - ramp).abs().mean() > 0.1


def test_ada_transforms_the_share_of_faces_that_p_implies():
    """Each of eight moves is applied with probability p (both rotations together), and some of them may be the identity."""
    moved = [(ada._draw_geometry(open_draws(s, 0, 500), torch.tensor(0.1), 32) != torch.eye(3)).any(2).any(1) for s in (1, 2)]
    share = torch.cat(moved).float().mean().item()
    still = (1 - 0.1 / 2) * (1 - 0.1 * 3 / 4) * (1 - 0.1) ** 5  # flip, quarter turn, and five moves that are never the identity
    print("moved", share, "expected", 1 - still)
    assert share == pytest.approx(1 - still, abs=0.04)


def test_a_quarter_turn_and_a_shift_move_pixels_to_known_positions():
    face = torch.zeros(1, 3, 32, 32)
    face[:, :, 4:8, 20:24] = 1
    turned = ada._sample(face, ada._rotate(torch.tensor([math.pi / 2])))
    torch.testing.assert_close(turned, torch.rot90(face, 1, (2, 3)), atol=0.3, rtol=0)
    assert turned[0, 0].flatten().topk(4).indices.tolist() and (turned - torch.rot90(face, 1, (2, 3))).abs().mean() < 0.01
    moved = ada._sample(face, ada._shift(torch.tensor([[8 / 32 * 2, 0.0]])))
    assert (moved - face.roll(-8, 3)).abs().mean() < 0.01


def test_colour_transformations_keep_grey_neutral_and_mirror_the_luminance_of_half_the_faces():
    matrix = ada._draw_colour(open_draws(1, 0, 200), SURE)
    grey = matrix[:, :3, :3] @ torch.ones(3)
    assert (grey - grey.mean(1, keepdim=True)).abs().max() < 1e-4, "hue and saturation rotate about the grey axis"
    share = (grey.mean(1) < 0).float().mean().item()
    assert 0.35 < share < 0.65, "half of the flips mirror"


def test_p_follows_the_discriminators_sign_and_stays_in_zero_to_one():
    p = torch.tensor(0.5)
    assert ada.steer(p, torch.tensor(0.9), 0.6, 100, 1000).item() == pytest.approx(0.6)
    assert ada.steer(p, torch.tensor(0.1), 0.6, 100, 1000).item() == pytest.approx(0.4)
    assert ada.steer(torch.tensor(0.99), torch.tensor(1.0), 0.6, 100, 1000).item() == 1.0
    assert ada.steer(torch.tensor(0.01), torch.tensor(-1.0), 0.6, 100, 1000).item() == 0.0
