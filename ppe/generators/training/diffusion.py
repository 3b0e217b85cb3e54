"""The training of a diffusion model: remove noise of random strength from training photos (Karras et al. 2022, section 5)."""

import copy

import torch

from ppe.generators import build
from ppe.generators.training.draws import open_draws
from ppe.generators.training.processes import average_gradients
from ppe.generators.training.state import MEMORY_FORMAT, autocast, average_weights, open_state, pick_real, record

LOSSES = ("loss_denoising", "gradient_norm")
"""Columns of the loss table, means over an interval: the weighted squared error, and the norm of its gradient."""
MODULES = ("generator", "average", "optimiser_generator")
VALUES = ("step", "losses", "recent", "count")
"""What a checkpoint holds."""
KEPT = ()
"""There is no second network to save: the generator itself tells how well it knows a photo."""


def start_training(images, family, settings, seed, device, identities=None):
    """Build the network and its optimiser and move the photos to the device: the state before the first ``train_step``.

    images : Tensor [N, 3, H, H], uint8; identities are not used here. Returns a dict, which ``train_step`` changes; raises as
    ``ppe.generators.training.state.open_state``.
    """
    state = open_state(images, family, settings, seed, device)
    generator, _ = build(family, images.shape[-1], settings)
    generator.to(state["device"], memory_format=MEMORY_FORMAT).train()
    betas = (settings["beta1"], settings["beta2"])
    return state | {
        "generator": generator, "average": copy.deepcopy(generator).eval().requires_grad_(False),
        "optimiser_generator": torch.optim.Adam(generator.parameters(), settings["learning_rate"], betas=betas, fused=True),
    }  # fmt: skip


def train_step(state, step, settings, seed):
    """Add noise to a batch of photos, remove it again, and learn from the error; changes ``state`` in place."""
    generator, optimiser = state["generator"], state["optimiser_generator"]
    draws = open_draws(seed, step, settings["batch_size"], "cpu", state["rank"], state["world"])
    # Noise is drawn on the device that uses it.
    heavy = open_draws(seed, step, settings["batch_size"], state["device"], state["rank"], state["world"], stream=1)
    real = pick_real(state, step, settings, seed, draws).contiguous(memory_format=MEMORY_FORMAT)
    sigma = (heavy.normal() * settings["p_std"] + settings["p_mean"]).exp()
    with autocast(state):
        loss = generator.compute_loss(real, sigma, heavy.normal(*real.shape[1:])).mean()
    for group in optimiser.param_groups:  # a warm-up, as in the paper's training code
        group["lr"] = settings["learning_rate"] * min(1.0, (step + 1) * settings["batch_size"] / (settings["warmup_kimg"] * 1000))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(generator, state["fabric"])
    norm = torch.nn.utils.clip_grad_norm_(generator.parameters(), settings["max_gradient"])
    optimiser.step()
    average_weights(state, (step + 1) * settings["batch_size"], settings)
    record(state, loss, norm)
