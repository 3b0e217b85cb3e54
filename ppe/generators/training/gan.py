"""The training of a GAN: discriminator, generator, lazy regularisers, moving average of the weights, and ADA's p.

The losses are those of ``ppe.generators.training.losses``. A regulariser that a model's section of params does not name is
not applied.
"""

import copy

import torch

from ppe.generators import build
from ppe.generators.training.ada import steer
from ppe.generators.training.augment import augment
from ppe.generators.training.draws import open_draws
from ppe.generators.training.losses import (
    compute_discriminator_loss,
    compute_generator_loss,
    compute_path_penalty,
    compute_r1_penalty,
)
from ppe.generators.training.processes import average, average_gradients
from ppe.generators.training.state import MEMORY_FORMAT, autocast, average_weights, open_state, pick_real, record, send

STEER_INTERVAL = 4
"""Steps between two adjustments of ADA's p (Karras et al. 2020b, section 3.1)."""
LOSSES = ("loss_generator", "loss_discriminator", "loss_redraw", "real_logit", "generated_logit", "real_sign", "p", "path_length")
"""Columns of the loss table, means over an interval: logits are large = real; p and real_sign belong to ADA; path_length is
the moving average a."""
MODULES = ("generator", "discriminator", "average", "optimiser_generator", "optimiser_discriminator")
VALUES = ("step", "losses", "recent", "count", "p", "signs", "path_mean")
"""What a checkpoint holds."""
KEPT = ("discriminator",)
"""Networks that are saved at the end, beside the snapshots of the generator."""


def start_training(images, family, settings, seed, device, identities=None):
    """Build networks and optimisers and move the photos to the device: the state before the first ``train_step``.

    images : Tensor [N, 3, H, H], uint8; identities are not used here. Returns a dict, which ``train_step`` changes; raises as
    ``open_state``.
    """
    state = open_state(images, family, settings, seed, device)
    generator, discriminator = build(family, images.shape[-1], settings)
    for network in (generator, discriminator):
        network.to(state["device"], memory_format=MEMORY_FORMAT).train()
    rate, betas = settings["learning_rate"], (settings["beta1"], settings["beta2"])
    path_interval = settings.get("path_length_weight") and settings["path_length_interval"]
    r1_interval = settings["r1_gamma"] and settings["r1_interval"]
    zero = torch.zeros((), device=state["device"])
    return state | {
        "generator": generator, "discriminator": discriminator,
        "average": copy.deepcopy(generator).eval().requires_grad_(False),
        "optimiser_generator": _build_adam(generator, rate, betas, path_interval),
        "optimiser_discriminator": _build_adam(discriminator, rate * settings["discriminator_rate"], betas, r1_interval),
        "p": zero, "signs": zero.clone(), "path_mean": zero.clone(),
    }  # fmt: skip


def _build_adam(network, rate, betas, interval):
    """Build Adam; ``interval``: steps between two lazy regularisations, or 0 or None.

    Each regularisation counts as one more step, so rate and betas are adjusted (Karras et al. 2020, appendix B).
    """
    share = interval / (interval + 1) if interval else 1.0
    return torch.optim.Adam(network.parameters(), rate * share, betas=tuple(b**share for b in betas), fused=True)


def train_step(state, step, settings, seed):
    """Update the discriminator, then the generator, on the same generated faces; changes ``state`` in place."""
    draws = open_draws(seed, step, settings["batch_size"], "cpu", state["rank"], state["world"])
    # Large arrays (noise, augmentation) are drawn on the device that uses them.
    heavy = open_draws(seed, step, settings["batch_size"], state["device"], state["rank"], state["world"], stream=1)
    z = send(draws.normal(settings["latent_dim"]), state["device"])
    quadrant = tuple(torch.randint(0, 2, (2,), generator=draws.random).tolist())
    real = pick_real(state, step, settings, seed, draws)
    with autocast(state):
        generated = state["generator"].draw(z, heavy)
        shown = augment(generated, settings["augment"], heavy, state["p"])
        real = augment(real, settings["augment"], heavy, state["p"]).contiguous(memory_format=MEMORY_FORMAT)
    values = _step_discriminator(state, step, settings, real, shown.detach(), quadrant)
    loss_generator = _step_generator(state, step, settings, shown, heavy)
    average_weights(state, (step + 1) * settings["batch_size"], settings)
    _steer_augmentation(state, step, settings, values[-1])
    record(state, loss_generator, *values, state["p"], state["path_mean"])


def _step_discriminator(state, step, settings, real, shown, quadrant):
    """Update the discriminator; return loss, reconstruction loss, mean logits (real, generated) and mean sign of the real
    logits, each Tensor []."""
    discriminator, optimiser = state["discriminator"].requires_grad_(True), state["optimiser_discriminator"]
    with autocast(state):
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
    with autocast(state):
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
