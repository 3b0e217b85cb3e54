"""What every training holds and does, whichever model it trains: photos, precision, and the moving average of the weights."""

import torch

from ppe.generators.training.draws import pick_rows
from ppe.generators.training.processes import join_processes

MEMORY_FORMAT = torch.channels_last
"""Memory layout of feature maps (``bench/train.py``: faster for StyleGAN2 on a CPU, and on GPUs with tensor cores)."""
TF32 = "high"
"""A GPU may round the factors of float32 products (path lengths, R1) to TF32."""


def open_state(images, family, settings, seed, device):
    """Check the photos and move them to the device: the part of a training's state that all trainers share.

    Parameters
    ----------
    images : Tensor [N, 3, H, H], uint8
    family, settings, seed, device
        As in ``ppe.generators.training.loop.train_generator``. Torch's global seed, which the initial weights follow, is set.

    Returns
    -------
    dict: fabric, device, rank, world, images, precision, step, losses, recent, count. A trainer adds its networks.

    Raises
    ------
    ValueError
        If the images are not uint8 [N, 3, H, H], or the number of processes does not divide the batch size.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, but uint8 [N, 3, H, H] with N > 0 is needed")
    fabric, device, rank, world = join_processes(device)
    if settings["batch_size"] % world:
        raise ValueError(f"batch_size={settings['batch_size']} is not a multiple of the {world} processes "
                         f"(params.yaml: generators.{family})")
    torch.set_float32_matmul_precision(TF32 if device.type == "cuda" else "highest")
    torch.manual_seed(seed)
    return {
        "fabric": fabric, "device": device, "rank": rank, "world": world, "images": images.to(device),
        "precision": choose_precision(settings["precision"], device), "step": 0, "losses": [], "recent": 0.0, "count": 0,
    }  # fmt: skip


def choose_precision(precision, device):
    """Choose bfloat16 on a GPU that supports it and float32 elsewhere, unless ``precision`` names one: a torch.dtype.

    On a CPU bfloat16 was not faster for networks of this size, even with AVX-512 bf16 (``bench/train.py``), and float32
    results agree more closely between machines.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if on_gpu else torch.float32


def autocast(state):
    """Context in which networks compute in the training's precision."""
    return torch.autocast(state["device"].type, torch.bfloat16, enabled=state["precision"] == torch.bfloat16)


def send(tensor, device):
    """Copy to the device without waiting for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def pick_real(state, step, settings, seed, draws):
    """Pick the training photos of the step, half of them mirrored if ``flip``: float [B, 3, H, H] in [-1, 1]."""
    images = state["images"]
    rows = pick_rows(len(images), step, draws.size, seed, draws.rank, draws.world)
    real = images[send(rows, images.device)].float() / 127.5 - 1
    if settings["flip"]:
        mirrored = send(draws.uniform(1, 1, 1) < 0.5, images.device)
        real = torch.where(mirrored, real.flip(3), real)
    return real


@torch.no_grad()
def average_weights(state, shown, settings):
    """Update the exponential moving average: half-life in images, shorter at the start (Karras et al. 2020, training code).

    shown : int, images so far. Changes ``state["average"]`` in place.
    """
    half_life = min(settings["ema_kimg"] * 1000, shown * settings["ema_rampup"])
    weight = 1 - 0.5 ** (settings["batch_size"] / max(half_life, 1e-8))
    torch._foreach_lerp_(list(state["average"].parameters()), list(state["generator"].parameters()), weight)


def record(state, *values):
    """Add the step's values, each Tensor [], to the running sums of the loss table, without waiting for the device."""
    state["recent"] = state["recent"] + torch.stack([value.detach().float() for value in values])
    state["count"] += 1
