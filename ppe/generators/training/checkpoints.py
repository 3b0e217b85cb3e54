"""Files of a training: checkpoints to resume from, snapshots to attack, and a lock that admits one trainer at a time."""

import hashlib
import json
import shutil
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save

from ppe.config.storage import copy_whole, write_whole
from ppe.generators.training.draws import mix_seed

NUM_CALIBRATION = 1024
"""Latents that set the batch norm statistics of the averaged generator before a snapshot."""


def fingerprint(members, images):
    """Text that changes whenever the training data change: an identity, a group or a single grey level.

    members : DataFrame of the training photos; images : dict, group -> Tensor uint8 [N, 3, H, H].
    """
    digests = [f"{group} {hashlib.sha256(faces.contiguous().numpy()).hexdigest()}" for group, faces in sorted(images.items())]
    return "\n".join([members.to_csv(index=False), *digests])


@contextmanager
def hold_lock(folder):
    """Hold the lock of a training's folder; while another process holds it, say so and wait.

    Another process is, for instance, the kernel of a ``dvc repro`` that was killed. The lock ends with the block or with the
    process.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another process is training {folder.name}: waiting until it ends", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_held(folder):
    """Whether a process trains in one of the folder's groups: bool."""
    for path in Path(folder).glob("*/lock"):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            return True
    return False


def publish_training(checkpoints, destination):
    """Copy the finished snapshots and discriminators of all groups from the checkpoints folder to ``destination``.

    The folder stays, so that a stage that is rerun for another reason finds its generators trained. Two things are deleted:
    snapshots of an earlier training in ``destination``, and folders of the same run with another recipe (the digest in their
    name), unless a process trains in them.

    checkpoints, destination : path; each group has a folder in both.
    """
    checkpoints, destination = Path(checkpoints), Path(destination)
    for old in destination.glob("*/snapshot-*.safetensors"):
        if not (checkpoints / old.parent.name / old.name).exists():
            old.unlink()
    for source in sorted(checkpoints.glob("*/*.safetensors")):
        copy_whole(source, destination / source.parent.name / source.name)
    run, _, digest = checkpoints.name.rpartition("-")
    for other in checkpoints.parent.glob(f"{run}-*"):
        if other.name.removeprefix(f"{run}-") != digest and len(other.name) == len(checkpoints.name) and not is_held(other):
            shutil.rmtree(other)


def save_snapshot(state, path, description, seed):
    """Write the averaged generator, unless a weight is not finite: the last good snapshot then stays the last.

    Returns whether it was written: bool.
    """
    _calibrate_norms(state["average"], state["generator"], seed)
    is_finite = all(p.isfinite().all() for p in state["average"].parameters())
    if is_finite:
        save_tensors(state["average"].state_dict(), path, description)
    return bool(is_finite)


@torch.no_grad()
def _calibrate_norms(average, generator, seed):
    """Measure the batch norm statistics of the averaged weights, since those of the last steps belong to other weights."""
    average.train()
    for own, current in zip(average.buffers(), generator.buffers(), strict=True):
        own.copy_(current)
    norms = [m for m in average.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    random = torch.Generator().manual_seed(mix_seed(seed, "calibration"))
    for _ in range(NUM_CALIBRATION // 64 if norms else 0):
        average(torch.randn(64, average.latent_dim, generator=random).to(norms[0].running_mean.device))
    average.eval()


def save_tensors(tensors, path, description):
    """Write tensors as safetensors, with the params that made them.

    tensors : dict, name -> Tensor; description : str, JSON. Raises OSError if the disk is full.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # In memory first: the library's own errors on a full disk name no file.
    content = save(tensors, metadata={"params": json.dumps(json.loads(description))})
    with write_whole(path) as partial:
        partial.write_bytes(content)


def save_checkpoint(state, path, trainer):
    """Write everything that a training needs to resume with the same bytes. Raises OSError if the disk is full.

    trainer : module of ``ppe.generators.load_trainer``, whose ``MODULES`` and ``VALUES`` are written.
    """
    content = BytesIO()
    modules = {name: state[name].state_dict() for name in trainer.MODULES}
    torch.save(modules | {name: state[name] for name in trainer.VALUES}, content)
    with write_whole(path) as partial:
        partial.write_bytes(content.getbuffer())


def restore_checkpoint(state, path, trainer):
    """Load a checkpoint's content into ``state``, in place."""
    content = torch.load(path, map_location=state["device"], weights_only=True)
    for name in trainer.MODULES:
        state[name].load_state_dict(content[name])
    state |= {name: content[name] for name in trainer.VALUES}


def save_losses(losses, path):
    """Write the table of losses as JSON; the presence of this file marks the training as finished."""
    with write_whole(path) as partial:
        partial.write_text(json.dumps(losses))
