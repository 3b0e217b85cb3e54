"""Differentially private training of a diffusion model: DP-SGD (Abadi et al. 2016, arXiv 1607.00133), by Opacus.

The unit is an identity, or a photo. In each step every unit is drawn with the same probability (Poisson sampling). The gradient
of its photos is cut to ``max_norm``, and Gaussian noise is added to the sum. So no unit changes the weights by much: with and
without it, the odds of any outcome differ by at most exp(epsilon), but for a probability delta.

Random numbers are functions of (seed, step), so that a study can be rerun. A release would need noise from a secret source, since
whoever knows the seed can subtract the noise. The bound holds for the snapshots alone: the loss table is computed without noise,
and the number of photos and of identities counts as public.
"""

import copy

import numpy as np
import torch

from ppe.generators import build
from ppe.generators.training.draws import open_draws
from ppe.generators.training.state import MEMORY_FORMAT, average_weights, open_state, record

LOSSES = ("loss_denoising", "gradient_norm", "share_clipped")
"""Columns of the loss table, means over an interval: the norm is that of a unit's gradient before it is cut."""
MODULES = ("generator", "average", "optimiser_generator")
VALUES = ("step", "losses", "recent", "count")
"""What a checkpoint holds."""
KEPT = ()


def start_training(images, family, settings, seed, device, identities=None):
    """Build the network and Opacus's optimiser: the state before the first ``train_step``.

    Parameters
    ----------
    images : Tensor [N, 3, H, H], uint8
    family, seed, device : as in ``ppe.generators.training.state.open_state``.
    settings : mapping
        The section ``generators.edm`` of params, and ``privacy``: epsilon, delta, unit, max_norm, noise_draws, and kimg, the
        whole length of the training, since the noise depends on the number of steps.
    identities : array [N] or None. The identity of each photo; needed if it is the unit.

    Returns
    -------
    dict, which ``train_step`` changes.

    Raises
    ------
    ValueError
        If identities are needed and missing, or there are several processes.
    """
    from opacus.optimizers import DPOptimizer  # imported here: no other training needs it

    state, rules = open_state(images, family, settings, seed, device), settings["privacy"]
    if state["world"] > 1:
        raise ValueError("differential privacy is not trained in several processes: start one (torchrun)")
    if rules["unit"] == "identity" and identities is None:
        raise ValueError("privacy.unit='identity' needs the identity of each photo")
    labels = np.arange(len(images)) if rules["unit"] == "photo" else np.unique(np.asarray(identities), return_inverse=True)[1]
    rows = [torch.tensor(np.flatnonzero(labels == unit)) for unit in range(labels.max() + 1)]
    generator, _ = build(family, images.shape[-1], settings)
    generator.to(state["device"], memory_format=MEMORY_FORMAT).train()
    betas, rate = (settings["beta1"], settings["beta2"]), compute_rate(settings, len(images))
    adam = torch.optim.Adam(generator.parameters(), settings["learning_rate"], betas=betas)
    optimiser = DPOptimizer(
        adam, noise_multiplier=find_noise_multiplier(rules, rate, count_steps(settings)), max_grad_norm=rules["max_norm"],
        expected_batch_size=rate * len(rows), generator=torch.Generator(state["device"]),
    )  # fmt: skip
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    return state | {"generator": generator, "average": average, "optimiser_generator": optimiser, "rows": rows, "rate": rate}


def compute_rate(settings, num_photos):
    """Probability with which a unit is drawn into a step, so that a step has ``batch_size`` photos on average; at most 1."""
    return min(1.0, settings["batch_size"] / num_photos)


def count_steps(settings):
    """Steps of the whole training, as ``ppe.generators.training.loop`` counts them."""
    return max(1, round(settings["privacy"]["kimg"] * 1000 / settings["batch_size"]))


def find_noise_multiplier(rules, rate, steps):
    """Find the standard deviation of the noise, in units of ``max_norm``, for which epsilon is kept (Opacus, RDP accountant).

    rules : mapping, epsilon and delta; rate : float in (0, 1]; steps : int. Returns float.
    """
    from opacus.accountants.utils import get_noise_multiplier

    bound = {"target_epsilon": rules["epsilon"], "target_delta": rules["delta"]}
    return get_noise_multiplier(**bound, sample_rate=rate, steps=steps, accountant="rdp")


def draw_units(count, rate, seed, step):
    """Draw the units of a step: each with probability ``rate``, independently. Returns a list of int, maybe empty."""
    drawn = open_draws(seed, step, count, stream=2).uniform() < rate
    return torch.nonzero(drawn).flatten().tolist()


def train_step(state, step, settings, seed):
    """Sum the cut gradients of the units drawn, add noise, and take Adam's step; changes ``state`` in place.

    Raises ValueError beyond the last step that the noise was computed for: epsilon would be exceeded.
    """
    generator, optimiser, rules = state["generator"], state["optimiser_generator"], settings["privacy"]
    if step >= (most := count_steps(settings)):
        raise ValueError(f"step {step + 1} would exceed epsilon={rules['epsilon']:g}, since the noise is for {most} steps: "
                         "privacy.kimg must be at least the kimg of the training")
    units = draw_units(len(state["rows"]), state["rate"], seed, step)
    optimiser.generator.manual_seed(open_draws(seed, step, 1, stream=3).random.initial_seed())
    for group in optimiser.param_groups:
        group["lr"] = settings["learning_rate"] * min(1.0, (step + 1) * settings["batch_size"] / (settings["warmup_kimg"] * 1000))
    losses, norms = [], []
    optimiser.zero_grad(set_to_none=True)
    for number, unit in enumerate(units):
        heavy = open_draws(seed, step, len(state["rows"][unit]) * rules["noise_draws"], state["device"], stream=4 + unit)
        loss = _compute_unit_loss(state, state["rows"][unit], settings, heavy)
        gradients = torch.autograd.grad(loss, list(generator.parameters()))
        _hand_over(generator, [gradient[None] for gradient in gradients])
        losses.append(loss)
        norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm())
        optimiser.signal_skip_step(do_skip=number + 1 < len(units))  # one unit in memory at a time
        optimiser.step()
        if number + 1 < len(units):
            optimiser.zero_grad(set_to_none=True)
    if not units:  # a step of noise alone: to leave it out would tell that nobody was drawn
        _hand_over(generator, [p.new_zeros(0, *p.shape) for p in generator.parameters()])
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    average_weights(state, (step + 1) * settings["batch_size"], settings)
    norms = torch.stack(norms) if units else torch.zeros(1)
    loss = torch.stack(losses).mean() if units else torch.zeros(())
    record(state, loss, norms.mean(), (norms > rules["max_norm"]).float().mean())


def _compute_unit_loss(state, rows, settings, draws):
    """Mean denoising loss over a unit's photos, each at several noise levels: Tensor [].

    It is the mean and not the sum, so that an identity with many photos weighs no more than one with few.
    """
    real = state["images"][rows.to(state["device"])].float() / 127.5 - 1
    real = real.repeat_interleave(draws.size // len(rows), 0).contiguous(memory_format=MEMORY_FORMAT)
    if settings["flip"]:
        real = torch.where(draws.uniform(1, 1, 1) < 0.5, real.flip(3), real)
    sigma = (draws.normal() * settings["p_std"] + settings["p_mean"]).exp()
    return state["generator"].compute_loss(real, sigma, draws.normal(*real.shape[1:])).mean()


def _hand_over(network, samples):
    """Give Opacus each parameter's gradients, one row a unit."""
    for parameter, sample in zip(network.parameters(), samples, strict=True):
        parameter.grad_sample = sample
