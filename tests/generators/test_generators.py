"""Generators, discriminators and losses: shapes, parameter counts, gradients, and values derived on paper."""

import numpy as np
import pytest
import torch

from ppe.generators import build
from ppe.generators.fastgan import SKIPS, FirstConv, gate
from ppe.generators.stylegan2 import FILTER, ResidualBlock, StyledConv, activate, filter_map
from ppe.generators.training.draws import open_draws, pick_rows
from ppe.generators.training.losses import (
    compute_discriminator_loss,
    compute_generator_loss,
    compute_path_penalty,
    compute_r1_penalty,
)
from ppe.generators.training.stddev import compute_group_stddev

GANS = ["fastgan", "stylegan2"]
PAPER = {
    "latent_dim": 512, "style_dim": 512, "mapping_layers": 8, "mapping_rate": 0.01, "channel_max": 512, "style_mixing": 0.9,
    "truncation": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
def test_fastgan_has_the_right_shapes_and_skips_and_a_finite_gradient_in_every_parameter(resolution, small):
    generator, discriminator = build("fastgan", resolution, small["fastgan"])
    assert set(generator.skips) == {str(r) for r in SKIPS if r <= resolution}
    faces = generator(torch.randn(4, 16))
    assert faces.shape == (4, 3, resolution, resolution) and faces.abs().max() <= 1
    logits, maps = discriminator(faces)
    assert logits.shape == (4,) and maps[4].shape[-1] == 4 and maps[8].shape[-1] == 8
    (compute_generator_loss(logits) + discriminator.redraw(faces, maps, (1, 0))).backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_fastgans_initial_logit_depends_on_the_face(small):
    """With torch's default initialisation the logit hardly depends on the face, and nothing is learned at 32 px."""
    _, discriminator = build("fastgan", 32, small["fastgan"])
    assert discriminator(torch.randn(64, 3, 32, 32).clamp(-1, 1), stddev=1.0)[0].std() > 0.05


@pytest.mark.parametrize("family", GANS)
def test_a_fixed_stddev_makes_a_logit_independent_of_the_other_faces(family, small):
    _, discriminator = build(family, 32, small[family])
    discriminator.eval()
    faces = torch.rand(8, 3, 32, 32) * 2 - 1
    alone = torch.cat([discriminator(face[None], stddev=0.3)[0] for face in faces])
    torch.testing.assert_close(discriminator(faces, stddev=0.3)[0], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(discriminator(faces)[0][:4], discriminator(faces[:4])[0], atol=1e-6)


def test_group_stddev_of_four_values_is_known_on_paper():
    x = torch.tensor([0.0, 10.0, 2.0, 10.0]).reshape(4, 1, 1, 1)  # strided groups of two: {0, 2} and {10, 10}
    spread = compute_group_stddev(x, 2).flatten()
    torch.testing.assert_close(spread, torch.tensor([1.0, 1e-4, 1.0, 1e-4]))


@pytest.mark.parametrize("family", GANS)
def test_one_pass_of_two_batches_gives_the_logits_of_two_passes(family, small):
    _, discriminator = build(family, 32, small[family])
    real, generated = torch.rand(2, 8, 3, 32, 32) * 2 - 1
    separate = torch.cat([discriminator(real)[0], discriminator(generated)[0]])
    kept = float(discriminator.stddev.mean)
    discriminator.stddev.mean.zero_()
    with discriminator.stddev.split(2):
        joint, _ = discriminator(torch.cat([real, generated]))
    torch.testing.assert_close(joint, separate, atol=1e-5, rtol=1e-5)
    assert float(discriminator.stddev.mean) == pytest.approx(kept), "both batches enter the moving average"
    assert not torch.allclose(discriminator(torch.cat([real, generated]))[0], separate, atol=1e-6), "groups would be mixed"


def test_the_gated_unit_is_that_of_torch_and_keeps_the_layout_of_the_gradient():
    x = torch.randn(2, 8, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.testing.assert_close(gate(x), torch.nn.functional.glu(x, dim=1))
    (gradient,) = torch.autograd.grad(gate(x).square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last), "batch norm's backward pass would be slow"


def test_the_first_convolution_as_a_matrix_product_is_the_transposed_convolution():
    first, z = FirstConv(6, 10, 4, bias=False), torch.randn(3, 6, 1, 1)
    expected = torch.nn.functional.conv_transpose2d(z, first.weight)
    torch.testing.assert_close(first(z), expected)


def test_a_residual_block_that_applies_gains_to_weights_is_that_of_the_paper():
    block, x = ResidualBlock(4, 6), torch.randn(2, 4, 8, 8)
    torch.nn.init.normal_(block.first.bias)
    torch.nn.init.normal_(block.second.bias)

    def convolve(layer, x):
        return layer(x) if layer.bias is None else (layer(x) - layer.bias[:, None, None] * layer.scale)

    plain = {name: convolve(layer, x) / layer.scale for name, layer in (("first", block.first), ("shortcut", block.shortcut))}
    inner = activate(plain["first"] + block.first.bias[:, None, None])
    outer = activate(convolve(block.second, inner) + block.second.bias[:, None, None])
    torch.testing.assert_close(block(x), (outer + plain["shortcut"]) / 2**0.5, atol=1e-5, rtol=1e-5)


def test_losses_of_simple_logits_are_known_on_paper():
    zero, three = torch.zeros(2), torch.full((2,), 3.0)
    assert compute_generator_loss(zero).item() == pytest.approx(np.log(2))
    assert compute_discriminator_loss(three, -three).item() == pytest.approx(2 * np.log1p(np.exp(-3)))
    slope = torch.tensor([1.0, 2.0, 2.0])[:, None, None]
    linear = lambda x: ((x * slope).sum(dim=(1, 2, 3)), {})  # noqa: E731
    assert compute_r1_penalty(linear, torch.rand(5, 3, 1, 1)).item() == pytest.approx(9.0)  # |(1, 2, 2)|^2
    assert compute_path_penalty(torch.tensor([1.0, 4.0]), torch.tensor(2.0)).item() == pytest.approx((1 + 4) / 2)


@pytest.mark.parametrize(
    "resolution, channel_base, generator_count, discriminator_count",
    [(256, 16384, 24_767_458, 24_001_089), (256, 32768, 30_034_338, 28_864_129), (128, 32768, 29_328_669, 28_389_121)],
)
def test_stylegan2_has_the_published_number_of_parameters(resolution, channel_base, generator_count, discriminator_count):
    settings = PAPER | {"channel_base": channel_base, "channel_base_discriminator": channel_base}
    with torch.device("meta"):  # no memory for the weights
        models = build("stylegan2", resolution, settings)
    assert [sum(p.numel() for p in model.parameters()) for model in models] == [generator_count, discriminator_count]


@pytest.mark.parametrize("resolution", [32, 64])
def test_stylegan2_has_the_right_shapes_and_a_finite_gradient_in_every_parameter(resolution, small):
    generator, discriminator = build("stylegan2", resolution, small["stylegan2"])
    draws = open_draws(1, 0, 4)
    faces = generator.draw(torch.randn(4, 16), draws)
    assert faces.shape == (4, 3, resolution, resolution)
    logits, _ = discriminator(faces)
    lengths = generator.measure_path_lengths(torch.randn(4, 16), draws)
    assert logits.shape == lengths.shape == (4,) and (lengths > 0).all()
    (compute_generator_loss(logits) + compute_path_penalty(lengths, torch.tensor(0.1))).backward()
    compute_r1_penalty(discriminator, torch.rand(4, 3, resolution, resolution)).backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_path_lengths_agree_with_the_explicit_jacobian(small):
    """|J^T y|, with y drawn as in training, from the whole Jacobian of a face by its styles."""
    generator, _ = build("stylegan2", 32, small["stylegan2"])
    generator = generator.eval()
    length = generator.measure_path_lengths(torch.ones(1, 16), open_draws(3, 0, 1)).item()
    draws = open_draws(3, 0, 1)
    styles = generator.draw_styles(torch.ones(1, 16), draws)
    held = draws.random.get_state()
    jacobian = torch.autograd.functional.jacobian(
        lambda s: generator.synthesise(s, draws._replace(random=_restored(held))), styles
    ).reshape(3 * 32 * 32, generator.num_styles, 16)
    generator.synthesise(styles, draws)
    y = draws.normal(3, 32, 32).flatten() / 32
    assert length == pytest.approx((y @ jacobian.flatten(1)).reshape(-1, 16).square().sum(1).mean().sqrt().item(), rel=1e-4)


def _restored(state):
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def test_a_styled_convolution_equals_the_papers_modulation_and_demodulation():
    """Equations 1 to 3, with the weights scaled and normalised for each face as written there."""
    layer = StyledConv(5, 7, 4)
    x, w = torch.randn(3, 5, 8, 8), torch.randn(3, 4)
    own = layer(x, w, torch.zeros(1, 1, 8, 8))
    for i in range(3):
        scaled = layer.weight * layer.affine(w[i : i + 1])[0][None, :, None, None]
        scaled = scaled / (scaled.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        direct = torch.nn.functional.conv2d(x[i : i + 1], scaled, padding=1)
        direct = torch.nn.functional.leaky_relu(direct, 0.2) * 2**0.5
        torch.testing.assert_close(own[i : i + 1], direct, atol=1e-5, rtol=1e-4)


def test_the_filter_keeps_a_constant_map_and_removes_a_checkerboard():
    flat = torch.ones(1, 2, 12, 12)
    assert filter_map(flat, FILTER, 0).sub(1).abs().max() < 1e-6
    checkerboard = (torch.arange(12)[:, None] + torch.arange(12)).remainder(2).float().expand(1, 2, 12, 12) * 2 - 1
    assert filter_map(checkerboard, FILTER, 0).abs().max() < 1e-6


def test_truncation_zero_maps_every_latent_to_the_mean_style(small):
    generator, _ = build("stylegan2", 32, small["stylegan2"] | {"truncation": 0.0})
    generator.mean_style.fill_(0.5)
    generator.mean_weight.fill_(1.0)
    faces = generator.eval()(torch.randn(3, 16))
    torch.testing.assert_close(faces[0], faces[2])
    generator.truncation = 1.0
    assert not torch.allclose(*generator(torch.randn(2, 16)), atol=1e-3)


def test_style_mixing_uses_z_in_the_first_layers_and_another_z_in_the_others(small):
    generator, _ = build("stylegan2", 32, small["stylegan2"] | {"style_mixing": 1.0})
    z = torch.randn(16, 16)
    styles, own = generator.draw_styles(z, open_draws(1, 0, 16)), generator.map(z)
    is_own = (styles == own[:, None]).all(2)
    assert is_own[:, 0].all() and not is_own[:, -1].any() and (is_own.int().diff(dim=1) <= 0).all()
    generator.style_mixing = 0.0
    assert (generator.draw_styles(z, open_draws(1, 0, 16)) == own[:, None]).all()


def test_two_processes_draw_the_random_numbers_of_one():
    whole = open_draws(5, 7, 8)
    shares = [open_draws(5, 7, 8, rank=rank, world=2) for rank in (0, 1)]
    for draw in (lambda d: d.normal(3), lambda d: d.integers(9, 2), lambda d: d.uniform()):
        expected = draw(whole)
        for rank, share in enumerate(shares):
            assert torch.equal(draw(share), expected[rank::2])
    assert not torch.equal(open_draws(5, 8, 8).normal(3), open_draws(5, 7, 8).normal(3))


def test_every_photo_is_used_once_an_epoch_also_if_a_step_spans_two_epochs():
    rows = torch.cat([pick_rows(10, step, 4, seed=1) for step in range(5)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    assert torch.equal(pick_rows(10, 2, 4, seed=1, rank=1, world=2), pick_rows(10, 2, 4, seed=1)[1::2])
    assert sorted(pick_rows(3, 0, 6, seed=1).tolist()) == [0, 0, 1, 1, 2, 2]
