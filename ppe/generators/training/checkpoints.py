"""What a training leaves on disk: checkpoints to go on from, snapshots to attack, and the lock that keeps two apart."""

import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from ppe.generators.training.draws import mix_seed

NETS = ("generator", "discriminator", "average", "optimiser_generator", "optimiser_discriminator")
VALUES = ("step", "losses", "recent", "count", "p", "signs", "path_mean")
NUM_CALIBRATION = 1024
"""Latents that set the batch norm statistics of the averaged generator before a snapshot."""


def fingerprint(members, images):
    """Text that differs wherever what the trainers are shown differs: names, groups, or a single grey level.

    members : DataFrame of the training photos; images : dict of Tensor uint8, by group.
    """
    digests = [f"{group} {hashlib.sha256(faces.contiguous().numpy()).hexdigest()}" for group, faces in sorted(images.items())]
    return "\n".join([members.to_csv(index=False), *digests])


def hold_lock(folder):
    """Hold a training's folder for this process: a second one (a killed repro's kernel may live on) waits, and says so.

    Returns the open file; the lock lasts until it is closed or the process ends.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process is training {folder.name}: waiting until it ends", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def publish_training(checkpoints, destination):
    """Copy the finished snapshots of all GANs from the checkpoints folder to ``destination``.

    The folder stays: a stage that is run again because a figure changed finds its GANs trained. Snapshots of an earlier
    training in ``destination`` go, and so do folders of the same run whose recipe (the digest in their name) was another,
    unless somebody trains in them.
    """
    checkpoints, destination = Path(checkpoints), Path(destination)
    for old in destination.glob("*/snapshot-*.safetensors"):
        if not (checkpoints / old.parent.name / old.name).exists():
            old.unlink()
    for source in sorted(checkpoints.glob("*/*.safetensors")):
        target = destination / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target.with_suffix(".partial"))
        os.replace(target.with_suffix(".partial"), target)
    run, _, digest = checkpoints.name.rpartition("-")
    for other in checkpoints.parent.glob(f"{run}-*"):
        if other.name.removeprefix(f"{run}-") != digest and len(other.name) == len(checkpoints.name) and not _is_held(other):
            shutil.rmtree(other)


def _is_held(folder):
    """Whether another process trains in one of the folder's groups."""
    for path in folder.glob("*/lock"):
        with open(path, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


@torch.no_grad()
def save_snapshot(state, path, description, seed):
    """Write the averaged generator, its batch norm statistics measured afresh: those of the last steps belong to other weights.

    Weights that are not finite are not written: the last good snapshot stays the last. Returns whether it was written.
    """
    average = state["average"].train()
    for own, current in zip(average.buffers(), state["generator"].buffers(), strict=True):
        own.copy_(current)
    norms = [m for m in average.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    random = torch.Generator().manual_seed(mix_seed(seed, "calibration"))
    device = next(average.parameters()).device
    for _ in range(NUM_CALIBRATION // 64 if norms else 0):
        average(torch.randn(64, average.latent_dim, generator=random).to(device))
    is_finite = all(p.isfinite().all() for p in average.eval().parameters())
    if is_finite:
        save_tensors(average.state_dict(), path, description)
    return bool(is_finite)


def save_tensors(tensors, path, description):
    """Write tensors as safetensors with the params that made them, by a temporary name."""
    partial = path.with_suffix(".partial")
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
        partial,
        metadata={"params": json.dumps(json.loads(description))},
    )
    os.replace(partial, path)


def save_checkpoint(state, path):
    """Write all that a training needs to go on with the same bytes, by a temporary name."""
    content = {name: state[name].state_dict() for name in NETS} | {name: state[name] for name in VALUES}
    torch.save(content, path.with_suffix(".partial"))
    os.replace(path.with_suffix(".partial"), path)


def restore_checkpoint(state, path, device):
    """Put a checkpoint's content into ``state``, in place."""
    content = torch.load(path, map_location=device, weights_only=True)
    for name in NETS:
        state[name].load_state_dict(content[name])
    state |= {name: content[name] for name in VALUES}


def save_losses(losses, path):
    """Write the table of losses; its presence says that the training was finished."""
    path.with_suffix(".partial").write_text(json.dumps(losses))
    os.replace(path.with_suffix(".partial"), path)
