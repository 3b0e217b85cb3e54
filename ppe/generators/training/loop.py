"""One trainer for every GAN: alternate steps, lazy regularisers, a moving average of the generator, snapshots.

Every random number of step i is a function of (seed, i) (``ppe.generators.training.draws``), so a training that goes on from a checkpoint
sees what a training that was never stopped would have seen.
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
"""Steps between two rows of the loss table; the mean of the steps in between is what is kept."""
NOT_FINITE = "{}: a {} is not finite after {} images; the snapshots so far are kept: lower learning_rate (params.yaml: gans)"
TF32 = "high"
"""Where a GPU multiplies float32 (path lengths, R1), it may round the factors to TF32."""


def train_gan(images, *, family, settings, kimg, seed, folder, description="{}", device="cpu", label="", report=None):
    """Train one GAN and leave its snapshots in ``folder``; go on where an earlier call with this folder was stopped.

    A folder whose training was finished is left as it is: the same recipe is never trained twice. Under ``torchrun`` the
    processes share each batch; the first one writes.

    Parameters
    ----------
    images : array [N, 3, H, H], uint8, RGB. All of them are kept on the device.
    family, settings : str, mapping
        Name and params section of the GAN (``ppe.config.params.Gan``).
    kimg : float
        Thousands of real faces that the discriminator is shown.
    seed : int
        Decides the initial weights and every random number of the training.
    folder : path
        Receives ``snapshot-<images>.safetensors`` (averaged generator), ``discriminator.safetensors`` and ``finished.json``.
    description : str
        JSON of the params that made the run; stored in every file.
    device, label : str
        Where to train; what the log calls this training.
    report : callable or None
        Called with the images shown so far, at each step, in the place of a progress bar.

    Returns
    -------
    list of dict, one a logged interval: images, and ``LOSSES``.

    Raises
    ------
    ValueError
        If the images are not uint8 [N, 3, H, H], or the processes do not divide the batch.
    FloatingPointError
        If a loss is not finite; the snapshots so far stay.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    finished, checkpoint = folder / "finished.json", folder / "checkpoint.pt"
    wait_for_all(join_processes(device)[0])  # all of them must find the same files
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
            # Only here, where all is known to be finite.
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
    """bfloat16 on a GPU that multiplies it, float32 elsewhere.

    On a CPU bfloat16 was not faster for nets of this size, even with AVX-512 bf16 (``bench/train.py``), and float32 gives
    numbers that agree more closely between machines.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if on_gpu else torch.float32


def start_training(images, family, settings, seed, device):
    """Nets, optimisers and photos, as they are before the first step: the state that ``train_step`` changes."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, but uint8 [N, 3, H, H] with N > 0 is needed")
    fabric, device, rank, world = join_processes(device)
    if settings["batch_size"] % world:
        raise ValueError(f"batch_size={settings['batch_size']} cannot be shared by {world} processes (params.yaml: gans.{family})")
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


def _build_adam(net, rate, betas, interval):
    """Adam; where a lazy regulariser adds a step's worth every ``interval`` steps, its constants are kept in step (Karras
    et al. 2020, appendix B)."""
    share = interval / (interval + 1) if interval else 1.0
    return torch.optim.Adam(net.parameters(), rate * share, betas=tuple(b**share for b in betas), fused=True)


def _log_losses(state, shown, label):
    """A row of the loss table: the one place in the loop that waits for the device."""
    values = average(state["recent"] / max(state["count"], 1), state["fabric"]).tolist()
    if not all(map(math.isfinite, values)):
        raise FloatingPointError(NOT_FINITE.format(label, "loss", shown))
    state["losses"].append({"images": shown, **dict(zip(LOSSES, values, strict=True))})
    state["recent"].zero_()
    state["count"] = 0


def _show_progress(steps, batch_size, label, writes, report):
    """A bar for a person at a terminal or in JupyterLab, a line a minute for a log."""
    if report is not None:
        for step in steps:
            report(step * batch_size)
            yield step
        return
    person = writes and (sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ)
    started = told = time.monotonic()
    for step in tqdm(steps, desc=label, unit="step", disable=not person, leave=False):
        yield step
        now = time.monotonic()
        if writes and not person and now - told > LOG_SECONDS:
            told, done = now, step + 1 - steps.start
            speed = f"{done * batch_size / (now - started):.0f} images/s"
            print(f"{label}: {(step + 1) * batch_size} of {(steps.stop - 1) * batch_size} images, {speed}", flush=True)
