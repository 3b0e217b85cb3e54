"""One trainer for every model: alternate steps, lazy regularisers, a moving average of the generator, snapshots.

Every random number of step i is a function of (seed, i) (``ppe.generators.training.draws``). A training that resumes from a
checkpoint therefore ends with the bytes of an uninterrupted one.
"""

import copy
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ppe.generators import build
from ppe.generators.training.checkpoints import restore_checkpoint, save_checkpoint, save_losses, save_snapshot, save_tensors
from ppe.generators.training.processes import average, join_processes, wait_for_all
from ppe.generators.training.steps import LOSSES, MEMORY_FORMAT, train_step

LOG_SECONDS = 60
LOSS_INTERVAL = 20
"""Steps between two rows of the loss table; a row holds the mean over these steps."""
NOT_FINITE = "{}: a {} is not finite after {} images; earlier snapshots are kept: lower learning_rate (params.yaml: generators)"
TF32 = "high"
"""A GPU may round the factors of float32 products (path lengths, R1) to TF32."""


def train_gan(images, *, family, settings, kimg, seed, folder, description="{}", device="cpu", label="", report=None):
    """Train one generator and write its snapshots to ``folder``; resume if an earlier call with this folder was interrupted.

    A finished folder is left as it is: the same recipe is never trained twice. Under ``torchrun`` the processes share each
    batch, and the first one writes.

    Parameters
    ----------
    images : array [N, 3, H, H], uint8, RGB. All of them are kept on the device.
    family, settings : str, mapping
        Name and params section of the model (``generators.<family>``).
    kimg : float
        Length of the training in thousands of real faces that the discriminator receives.
    seed : int
        Determines the initial weights and every random number of the training.
    folder : path
        Receives ``snapshot-<images>.safetensors`` (averaged generator), ``discriminator.safetensors`` and ``finished.json``.
    description : str
        JSON of the params that made the run; stored in every file.
    device, label : str
        Where to train; name of this training in the log.
    report : callable or None
        Called at each step with the number of images so far, in place of a progress bar.

    Returns
    -------
    list of dict, one a logged interval: images, and ``LOSSES``.

    Raises
    ------
    ValueError
        If the images are not uint8 [N, 3, H, H], or the number of processes does not divide the batch size.
    FloatingPointError
        If a loss or a weight is not finite; earlier snapshots are kept.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    finished, checkpoint = folder / "finished.json", folder / "checkpoint.pt"
    wait_for_all(join_processes(device)[0])  # all processes must find the same files
    if finished.exists():
        return json.loads(finished.read_text())
    state = start_training(torch.as_tensor(images), family, settings, seed, device)
    writes = state["rank"] == 0
    if checkpoint.exists():
        restore_checkpoint(state, checkpoint, state["device"])
    size = settings["batch_size"]
    steps = max(1, round(kimg * 1000 / size))
    marks = {round(share * steps) for share in settings["snapshots"]}
    saved = time.monotonic()
    for step in _show_progress(range(state["step"], steps + 1), size, label, writes, report):
        if step in marks and writes:
            path = folder / f"snapshot-{step * size:09d}.safetensors"
            if not save_snapshot(state, path, description, seed):
                raise FloatingPointError(NOT_FINITE.format(label, "weight", step * size))
        if step == steps:
            break
        train_step(state, step, settings, seed)
        state["step"] = step + 1
        if (step + 1) % LOSS_INTERVAL == 0 or step + 1 in marks:
            _log_losses(state, (step + 1) * size, label)
            # Saved only here, where all losses are known to be finite.
            if writes and time.monotonic() - saved > settings["checkpoint_seconds"]:
                save_checkpoint(state, checkpoint)
                saved = time.monotonic()
    if writes:
        save_tensors(state["discriminator"].state_dict(), folder / "discriminator.safetensors", description)
        save_losses(state["losses"], finished)
        checkpoint.unlink(missing_ok=True)
    wait_for_all(state["fabric"])
    return state["losses"]


def choose_precision(precision, device):
    """Choose bfloat16 on a GPU that supports it and float32 elsewhere, unless ``precision`` names one: a torch.dtype.

    On a CPU bfloat16 was not faster for networks of this size, even with AVX-512 bf16 (``bench/train.py``), and float32
    results agree more closely between machines.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if on_gpu else torch.float32


def start_training(images, family, settings, seed, device):
    """Build networks and optimisers and move the photos to the device: the state before the first ``train_step``.

    images : Tensor [N, 3, H, H], uint8. Returns a dict, which ``train_step`` changes.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, but uint8 [N, 3, H, H] with N > 0 is needed")
    fabric, device, rank, world = join_processes(device)
    if settings["batch_size"] % world:
        raise ValueError(f"batch_size={settings['batch_size']} is not a multiple of the {world} processes "
                         f"(params.yaml: generators.{family})")
    torch.set_float32_matmul_precision(TF32 if device.type == "cuda" else "highest")
    torch.manual_seed(seed)
    generator, discriminator = build(family, images.shape[-1], settings)
    generator.to(device, memory_format=MEMORY_FORMAT).train()
    discriminator.to(device, memory_format=MEMORY_FORMAT).train()
    rate, betas = settings["learning_rate"], (settings["beta1"], settings["beta2"])
    return {
        "fabric": fabric, "device": device, "rank": rank, "world": world,
        "generator": generator, "discriminator": discriminator,
        "average": copy.deepcopy(generator).eval().requires_grad_(False),
        "optimiser_generator": _build_adam(
            generator, rate, betas, settings.get("path_length_weight") and settings["path_length_interval"]
        ),
        "optimiser_discriminator": _build_adam(
            discriminator, rate * settings["discriminator_rate"], betas, settings["r1_gamma"] and settings["r1_interval"]
        ),
        "images": images.to(device), "precision": choose_precision(settings["precision"], device),
        "step": 0, "losses": [], "recent": torch.zeros(len(LOSSES), device=device), "count": 0,
        "p": torch.zeros((), device=device), "signs": torch.zeros((), device=device),
        "path_mean": torch.zeros((), device=device),
    }  # fmt: skip


def _build_adam(network, rate, betas, interval):
    """Build Adam; ``interval``: steps between two lazy regularisations, or 0 or None.

    Each regularisation counts as one more step, so rate and betas are adjusted (Karras et al. 2020, appendix B).
    """
    share = interval / (interval + 1) if interval else 1.0
    return torch.optim.Adam(network.parameters(), rate * share, betas=tuple(b**share for b in betas), fused=True)


def _log_losses(state, shown, label):
    """Append a row to the loss table; the only place in the loop that waits for the device."""
    values = average(state["recent"] / max(state["count"], 1), state["fabric"]).tolist()
    if not all(map(math.isfinite, values)):
        raise FloatingPointError(NOT_FINITE.format(label, "loss", shown))
    state["losses"].append({"images": shown, **dict(zip(LOSSES, values, strict=True))})
    state["recent"].zero_()
    state["count"] = 0


def _show_progress(steps, batch_size, label, writes, report):
    """Yield the steps; show a progress bar at a terminal or in JupyterLab, else log a line a minute."""
    if report is not None:
        for step in steps:
            report(step * batch_size)
            yield step
        return
    is_interactive = writes and (sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ)
    started = logged = time.monotonic()
    for step in tqdm(steps, desc=label, unit="step", disable=not is_interactive, leave=False):
        yield step
        now = time.monotonic()
        if writes and not is_interactive and now - logged > LOG_SECONDS:
            logged, done = now, step + 1 - steps.start
            speed = f"{done * batch_size / (now - started):.0f} images/s"
            done = f"{label}: {(step + 1) * batch_size} of {(steps.stop - 1) * batch_size} images"
            print(f"{done}, {speed}", file=sys.stderr, flush=True)
