"""One training step: discriminator, generator, lazy regularisers, moving average of the weights, and ADA's p.

The losses are those of ``ppe.generators.training.losses``. A regulariser that a model's section of params does not name is
not applied.
"""

import torch

from ppe.generators.training.ada import steer
from ppe.generators.training.augment import augment
from ppe.generators.training.draws import open_draws, pick_rows
from ppe.generators.training.losses import (
    compute_discriminator_loss,
    compute_generator_loss,
    compute_path_penalty,
    compute_r1_penalty,
)
from ppe.generators.training.processes import average, average_gradients

STEER_INTERVAL = 4
"""Steps between two adjustments of ADA's p (Karras et al. 2020b, section 3.1)."""
LOSSES = ("loss_generator", "loss_discriminator", "loss_redraw", "real_logit", "generated_logit", "real_sign", "p", "path_length")
"""Columns of the loss table, means over an interval: logits are large = real; p and real_sign belong to ADA; path_length is
the moving average a."""
MEMORY_FORMAT = torch.channels_last
"""Memory layout of feature maps (``bench/train.py``: faster for StyleGAN2 on a CPU, and on GPUs with tensor cores)."""


def train_step(state, step, settings, seed):
    """Update the discriminator, then the generator, on the same generated faces; changes ``state`` in place."""
    draws = open_draws(seed, step, settings["batch_size"], "cpu", state["rank"], state["world"])
    # Large arrays (noise, augmentation) are drawn on the device that uses them.
    heavy = open_draws(seed, step, settings["batch_size"], state["device"], state["rank"], state["world"], stream=1)
    z = _send(draws.normal(settings["latent_dim"]), state["device"])
    quadrant = tuple(torch.randint(0, 2, (2,), generator=draws.random).tolist())
    real = _pick_real(state, step, settings, seed, draws)
    with _autocast(state):
        generated = state["generator"].draw(z, heavy)
        shown = augment(generated, settings["augment"], heavy, state["p"])
        real = augment(real, settings["augment"], heavy, state["p"]).contiguous(memory_format=MEMORY_FORMAT)
    values = _step_discriminator(state, step, settings, real, shown.detach(), quadrant)
    loss_generator = _step_generator(state, step, settings, shown, heavy)
    _average_weights(state, (step + 1) * settings["batch_size"], settings)
    _steer_augmentation(state, step, settings, values[-1])
    state["recent"] += torch.stack([v.detach().float() for v in (loss_generator, *values, state["p"], state["path_mean"])])
    state["count"] += 1


def _step_discriminator(state, step, settings, real, shown, quadrant):
    """Update the discriminator; return loss, reconstruction loss, mean logits (real, generated) and mean sign of the real
    logits, each Tensor []."""
    discriminator, optimiser = state["discriminator"].requires_grad_(True), state["optimiser_discriminator"]
    with _autocast(state):
        with discriminator.stddev.split(2):
            logits, maps = discriminator(torch.cat([real, shown]))
        real_logits, generated_logits = logits.chunk(2)
        maps = {side: both[: len(real)] for side, both in maps.items()}
        loss = compute_discriminator_loss(real_logits, generated_logits)
        redraw = discriminator.redraw(real, maps, quadrant) if settings.get("redraw_weight") else torch.zeros_like(loss)
    optimiser.zero_grad(set_to_none=True)
    (loss + settings.get("redraw_weight", 0.0) * redraw).backward()
    if settings["r1_gamma"] and step % settings["r1_interval"] == 0:
        weight = settings["r1_gamma"] / 2 * settings["r1_interval"]
        (compute_r1_penalty(discriminator, real.float()) * weight).backward()
    average_gradients(discriminator, state["fabric"])
    optimiser.step()
    return loss, redraw, real_logits.mean(), generated_logits.mean(), real_logits.sign().mean()


def _step_generator(state, step, settings, shown, draws):
    """Update the generator; return its loss, Tensor []."""
    generator, optimiser = state["generator"], state["optimiser_generator"]
    with _autocast(state):
        logits, _ = state["discriminator"].requires_grad_(False)(shown)
        loss = compute_generator_loss(logits)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    interval = settings.get("path_length_interval")
    if settings.get("path_length_weight") and step % interval == 0:
        _regularise_path(state, settings, draws, settings["path_length_weight"] * interval)
    average_gradients(generator, state["fabric"])
    optimiser.step()
    return loss


def _regularise_path(state, settings, draws, weight):
    """Add the gradient of the path-length penalty on part of a batch, and update the mean length (Karras et al. 2020)."""
    share = max(1, settings["batch_size"] // settings["path_length_shrink"] // state["world"])
    draws = draws._replace(size=share * state["world"])
    z = draws.normal(settings["latent_dim"]).to(state["device"])
    lengths = state["generator"].measure_path_lengths(z, draws)
    mean = average(lengths.detach().mean(), state["fabric"])
    state["path_mean"] = state["path_mean"].lerp(mean, settings["path_length_decay"])
    (compute_path_penalty(lengths, state["path_mean"]) * weight).backward()


def _send(tensor, device):
    """Copy to the device without waiting for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _autocast(state):
    return torch.autocast(state["device"].type, torch.bfloat16, enabled=state["precision"] == torch.bfloat16)


def _pick_real(state, step, settings, seed, draws):
    """Real faces of the step, float [B, 3, H, H] in [-1, 1]."""
    images = state["images"]
    rows = pick_rows(len(images), step, draws.size, seed, draws.rank, draws.world)
    real = images[_send(rows, images.device)].float() / 127.5 - 1
    if settings["flip"]:
        mirrored = _send(draws.uniform(1, 1, 1) < 0.5, images.device)
        real = torch.where(mirrored, real.flip(3), real)
    return real


@torch.no_grad()
def _average_weights(state, shown, settings):
    """Update the exponential moving average: half-life in images, shorter at the start (Karras et al. 2020, training code)."""
    half_life = min(settings["ema_kimg"] * 1000, shown * settings["ema_rampup"])
    weight = 1 - 0.5 ** (settings["batch_size"] / max(half_life, 1e-8))
    torch._foreach_lerp_(list(state["average"].parameters()), list(state["generator"].parameters()), weight)


@torch.no_grad()
def _steer_augmentation(state, step, settings, real_sign):
    """Adjust ADA's p every few steps to the mean sign of D on real faces; all values stay on the device."""
    if "ada" not in settings["augment"]:
        return
    state["signs"] += real_sign.detach()
    if (step + 1) % STEER_INTERVAL == 0:
        sign = average(state["signs"] / STEER_INTERVAL, state["fabric"])
        images = STEER_INTERVAL * settings["batch_size"]
        state["p"] = steer(state["p"], sign, settings["ada_target"], images, settings["ada_kimg"] * 1000)
        state["signs"].zero_()
