"""The diffusion model: values derived on paper, and what its owner can ask it."""

import numpy as np
import pytest
import torch

from ppe.generators import build
from ppe.generators.sampling import compute_denoising_losses, draw_latents, load_generator, sample_faces
from ppe.generators.training.loop import train_generator


def perturb(network):
    """Move every weight off its initial value, since several start at zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("resolution", [32, 64])
def test_a_denoiser_has_the_right_shapes_and_a_finite_gradient_in_every_parameter(resolution, small):
    denoiser, discriminator = build("edm", resolution, small["edm"])
    assert discriminator is None and denoiser.latent_dim == 3 * resolution**2
    perturb(denoiser)
    faces, noise = torch.rand(4, 3, resolution, resolution) * 2 - 1, torch.randn(4, 3, resolution, resolution)
    loss = denoiser.compute_loss(faces, torch.tensor([0.1, 0.5, 1.0, 5.0]), noise)
    assert loss.shape == (4,)
    loss.mean().backward()
    for name, parameter in denoiser.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_noise_levels_are_those_of_equation_5(small):
    denoiser, _ = build("edm", 32, small["edm"])
    sigmas = denoiser.list_sigmas()
    assert len(sigmas) == 7 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    assert sigmas[0].item() == pytest.approx(80) and sigmas[-2].item() == pytest.approx(0.002)
    third = (80 ** (1 / 7) + 2 / 5 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert sigmas[2].item() == pytest.approx(third, rel=1e-5)


def test_sampling_solves_the_equation_of_gaussian_faces_and_its_error_falls_with_the_square_of_the_steps(small):
    """An untrained network gives 0, so that D(x) = x s^2 / (s^2 + sigma^2), which is right for faces ~ N(0, s^2).

    dx / dsigma = x sigma / (s^2 + sigma^2) then has the solution x(0) = x(sigma_max) s / sqrt(s^2 + sigma_max^2).
    """
    z = draw_latents([3], 3 * 32**2)
    errors = []
    for steps in (16, 32, 64):
        denoiser, _ = build("edm", 32, small["edm"] | {"num_steps": steps})
        expected = z * 80 * 0.5 / (0.25 + 80**2) ** 0.5
        errors.append((denoiser(z).flatten(1) - expected).abs().max().item() / expected.abs().max().item())
    print("relative error at 16, 32 and 64 steps:", errors)
    assert errors[0] < 0.1 and errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3


def test_the_loss_of_an_untrained_network_is_known_on_paper(small):
    denoiser, _ = build("edm", 32, small["edm"])
    faces, noise, sigma = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), 1.0), torch.tensor([0.5])
    # c_skip = 1/2: the denoised face is (0.5 + 0.5 * 1) / 2 = 0.5, as it was; with noise -1 it is 0, and the weight is 8
    assert denoiser.compute_loss(faces, sigma, noise).item() == pytest.approx(0, abs=1e-9)
    assert denoiser.compute_loss(faces, sigma, -noise).item() == pytest.approx(8 * 0.5**2)


def test_a_network_of_unit_output_denoises_by_c_out(small):
    """Where the network gives 1, D(x) = c_skip x + c_out, with c_out = sigma s / sqrt(sigma^2 + s^2)."""
    denoiser, _ = build("edm", 32, small["edm"])
    torch.nn.init.ones_(denoiser.net.out.bias)
    x, sigma = torch.full((2, 3, 32, 32), 3.0), torch.tensor([0.5, 2.0])
    expected = 3 * 0.25 / (sigma**2 + 0.25) + sigma * 0.5 / (sigma**2 + 0.25).sqrt()
    torch.testing.assert_close(denoiser.denoise(x, sigma)[:, 0, 0, 0], expected)


def test_a_denoised_face_does_not_depend_on_its_batch(small):
    denoiser = perturb(build("edm", 32, small["edm"])[0]).eval()
    x, sigma = torch.randn(5, 3, 32, 32), torch.tensor([0.01, 0.1, 1.0, 10.0, 80.0])
    with torch.no_grad():
        alone = torch.cat([denoiser.denoise(x[i : i + 1], sigma[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(denoiser.denoise(x, sigma), alone, atol=1e-4, rtol=1e-4)


def test_a_photo_that_was_trained_on_is_denoised_better_than_another(small, photos, tmp_path):
    train_generator(photos, family="edm", settings=small["edm"], kimg=1.6, seed=3, folder=tmp_path)
    denoiser = load_generator(tmp_path / "snapshot-000001600.safetensors", "edm", 32, small["edm"])
    others = 255 - photos
    faces = torch.cat([photos, others]).numpy()
    losses = compute_denoising_losses(denoiser, faces, small["edm"])
    assert losses.shape == (24,) and losses.dtype == np.float32 and losses[:12].max() < losses[12:].min()
    order = np.random.default_rng(0).permutation(24)
    again = compute_denoising_losses(denoiser, faces[order], small["edm"], batch_size=5)
    np.testing.assert_allclose(again, losses[order], rtol=1e-4)


def test_faces_agree_between_batch_sizes_to_a_grey_level(small):
    denoiser = perturb(build("edm", 32, small["edm"])[0]).eval()
    whole, split = (torch.cat(list(sample_faces(denoiser, range(12), batch_size=size))) for size in (12, 5))
    assert (whole.int() - split.int()).abs().max() <= 1
