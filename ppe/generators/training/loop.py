"""One loop for every model: steps, snapshots, checkpoints, a log. The steps are those of the model's trainer.

Every random number of step i is a function of (seed, i) (``ppe.generators.training.draws``). A training that resumes from a
checkpoint therefore ends with the bytes of an uninterrupted one.
"""

import json
import math
import os
import sys
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ppe.generators import load_trainer
from ppe.generators.training.checkpoints import restore_checkpoint, save_checkpoint, save_losses, save_snapshot, save_tensors
from ppe.generators.training.processes import average, join_processes, wait_for_all

LOG_SECONDS = 60
LOSS_INTERVAL = 20
"""Steps between two rows of the loss table; a row holds the mean over these steps."""
NOT_FINITE = "{}: a {} is not finite after {} images; earlier snapshots are kept: lower learning_rate (params.yaml: generators)"


def train_generator(images, *, family, settings, kimg, seed, folder, description="{}", device="cpu", label="", report=None,
                    identities=None):  # fmt: skip
    """Train one generator and write its snapshots to ``folder``; resume if an earlier call with this folder was interrupted.

    A finished folder is left as it is: the same recipe is never trained twice. Under ``torchrun`` the processes share each
    batch, and the first one writes.

    Parameters
    ----------
    images : array [N, 3, H, H], uint8, RGB. All of them are kept on the device.
    family, settings : str, mapping
        Name and params section of the model (``generators.<family>``).
    kimg : float
        Length of the training in thousands of training photos shown.
    seed : int
        Determines the initial weights and every random number of the training.
    folder : path
        Receives ``snapshot-<images>.safetensors`` (averaged generator), ``discriminator.safetensors`` of a GAN, and
        ``finished.json``.
    description : str
        JSON of the params that made the run; stored in every file.
    device, label : str
        Where to train; name of this training in the log.
    identities : array [N] or None
        The identity of each photo; differential privacy needs it.
    report : callable or None
        Called at each step with the number of images so far, in place of a progress bar.

    Returns
    -------
    list of dict, one a logged interval: images, and the trainer's ``LOSSES``.

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
    trainer = load_trainer(family, is_private=bool(settings.get("privacy")))
    state = trainer.start_training(torch.as_tensor(images), family, settings, seed, device, identities)
    writes = state["rank"] == 0
    if checkpoint.exists():
        restore_checkpoint(state, checkpoint, trainer)
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
        trainer.train_step(state, step, settings, seed)
        state["step"] = step + 1
        if (step + 1) % LOSS_INTERVAL == 0 or step + 1 in marks:
            _log_losses(state, (step + 1) * size, label, trainer.LOSSES)
            # Saved only here, where all losses are known to be finite.
            if writes and time.monotonic() - saved > settings["checkpoint_seconds"]:
                save_checkpoint(state, checkpoint, trainer)
                saved = time.monotonic()
    if writes:
        for name in trainer.KEPT:
            save_tensors(state[name].state_dict(), folder / f"{name}.safetensors", description)
        save_losses(state["losses"], finished)
        checkpoint.unlink(missing_ok=True)
    wait_for_all(state["fabric"])
    return state["losses"]


def _log_losses(state, shown, label, names):
    """Append a row to the loss table; the only place in the loop that waits for the device."""
    values = average(state["recent"] / max(state["count"], 1), state["fabric"]).tolist()
    if not all(map(math.isfinite, values)):
        raise FloatingPointError(NOT_FINITE.format(label, "loss", shown))
    state["losses"].append({"images": shown, **dict(zip(names, values, strict=True))})
    state["recent"] = 0.0
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
