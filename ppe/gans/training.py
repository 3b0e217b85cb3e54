"""One trainer for every GAN: alternate steps, lazy R1, a moving average of the generator, snapshots, checkpoints.

Every random number of step i is a function of (seed, i), so a training that goes on from a checkpoint sees what a
training that was never stopped would have seen.
"""

import copy
import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from ppe.gans import build
from ppe.gans.augment import augment
from ppe.gans.losses import compute_discriminator_loss, compute_generator_loss, compute_r1_penalty

LOG_SECONDS = 60
LOSS_INTERVAL = 20
"""Steps between two rows of the loss table; the mean of the steps in between is what is kept."""
NUM_CALIBRATION = 1024
"""Latents that set the batch norm statistics of the averaged generator before a snapshot."""


def train_gan(images, *, gan, settings, kimg, seed, folder, description="{}", device="cpu", label=""):
    """Train one GAN and leave its snapshots in ``folder``; go on where an earlier call with this folder was stopped.

    A folder whose training was finished is left as it is: the same recipe is never trained twice.

    Parameters
    ----------
    images : array [N, 3, H, H], uint8, RGB. All of them are kept on the device.
    gan, settings : str, mapping
        Name and params section of the GAN (``ppe.params.Gan``).
    kimg : float
        Thousands of real faces that the discriminator is shown.
    seed : int
        Decides the initial weights and every random number of the training.
    folder : path
        Receives ``snapshot-<images>.safetensors`` (averaged generator), ``discriminator.safetensors`` and ``losses.csv``.
    description : str
        JSON of the params that made the run; stored in every file.
    device, label : str
        Where to train; what the log calls this training.

    Returns
    -------
    list of dict, one a logged interval: images, loss_generator, loss_discriminator, loss_redraw, real_logit,
    generated_logit (means over the interval; logits large = real).

    Raises
    ------
    FloatingPointError
        If a loss is not finite; the snapshots so far stay.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    finished = folder / "finished.json"
    if finished.exists():
        return json.loads(finished.read_text())
    state = _start(torch.as_tensor(images), gan, settings, seed, device)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        _restore(state, checkpoint, device)
    steps = max(1, round(kimg * 1000 / settings["batch_size"]))
    marks = {round(share * steps): share for share in settings["snapshots"]}
    saved = time.monotonic()
    for step in _show_progress(range(state["step"], steps + 1), settings["batch_size"], label, state["losses"]):
        if step in marks:
            name = folder / f"snapshot-{step * settings['batch_size']:09d}.safetensors"
            _save_snapshot(state, name, description, settings, seed, device)
        if step == steps:
            break
        _train_step(state, step, settings, seed)
        state["step"] = step + 1
        if (step + 1) % LOSS_INTERVAL == 0 or step + 1 == steps:
            _log_losses(state, (step + 1) * settings["batch_size"], label)
        if time.monotonic() - saved > settings["checkpoint_seconds"]:
            _save_checkpoint(state, checkpoint)
            saved = time.monotonic()
    _save_tensors(state["discriminator"].state_dict(), folder / "discriminator.safetensors", description)
    finished.with_suffix(".partial").write_text(json.dumps(state["losses"]))
    os.replace(finished.with_suffix(".partial"), finished)
    checkpoint.unlink(missing_ok=True)
    return state["losses"]


def choose_precision(precision, device):
    """bfloat16 where this machine multiplies it faster than float32: recent GPUs, CPUs with AVX-512 bf16 or AMX."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return torch.bfloat16 if "avx512_bf16" in flags or "amx_bf16" in flags else torch.float32


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

    The folder stays: a stage that is run again because a figure changed finds its GANs trained. Folders of the same run
    whose recipe (the digest in their name) was another are deleted.
    """
    checkpoints, destination = Path(checkpoints), Path(destination)
    for source in sorted(checkpoints.glob("*/*.safetensors")):
        target = destination / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target.with_suffix(".partial"))
        os.replace(target.with_suffix(".partial"), target)
    run, _, digest = checkpoints.name.rpartition("-")
    for other in checkpoints.parent.glob(f"{run}-*"):
        if other.name.removeprefix(f"{run}-") != digest and len(other.name) == len(checkpoints.name):
            shutil.rmtree(other)


def _start(images, gan, settings, seed, device):
    """Nets, optimisers and photos, as they are before the first step."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, but uint8 [N, 3, H, H] with N > 0 is needed")
    torch.manual_seed(seed)
    generator, discriminator = build(gan, images.shape[-1], settings)
    generator.to(device, memory_format=torch.channels_last)
    discriminator.to(device, memory_format=torch.channels_last)
    betas = (settings["beta1"], settings["beta2"])
    options, rate = {"betas": betas, "fused": True}, settings["learning_rate"]
    rate_d = rate * settings["discriminator_rate"]
    return {
        "step": 0,
        "losses": [],
        "recent": torch.zeros(5, device=device),
        "count": 0,
        "generator": generator.train(),
        "discriminator": discriminator.train(),
        "average": copy.deepcopy(generator).eval().requires_grad_(False),
        "optimiser_generator": torch.optim.Adam(generator.parameters(), rate, **options),
        "optimiser_discriminator": torch.optim.Adam(discriminator.parameters(), rate_d, **options),
        "images": images.to(device),
        "precision": choose_precision(settings["precision"], device),
    }


def _train_step(state, step, settings, seed):
    """One step of the discriminator and one of the generator on the same generated faces."""
    generator, discriminator, images = state["generator"], state["discriminator"], state["images"]
    device, size = images.device.type, settings["batch_size"]
    random = torch.Generator().manual_seed(seed * 1_000_003 + step)
    z = torch.randn(size, settings["latent_dim"], generator=random).to(device)
    quadrant = tuple(torch.randint(0, 2, (2,), generator=random).tolist())
    real = _pick_real(images, step, size, settings["flip"], seed, random)
    with torch.autocast(device, torch.bfloat16, enabled=state["precision"] == torch.bfloat16):
        generated = generator(z)
        real = augment(real, settings["augment"], random).contiguous(memory_format=torch.channels_last)
        shown = augment(generated, settings["augment"], random)

        discriminator.requires_grad_(True)
        real_logits, maps = discriminator(real)
        generated_logits, _ = discriminator(shown.detach())
        redraw = discriminator.redraw(real, maps, quadrant)
        loss_discriminator = compute_discriminator_loss(real_logits, generated_logits)
        state["optimiser_discriminator"].zero_grad(set_to_none=True)
        (loss_discriminator + settings["redraw_weight"] * redraw).backward()
    if settings["r1_gamma"] and step % settings["r1_interval"] == 0:
        weight = settings["r1_gamma"] / 2 * settings["r1_interval"]
        (compute_r1_penalty(discriminator, real.float()) * weight).backward()
    state["optimiser_discriminator"].step()

    discriminator.requires_grad_(False)
    with torch.autocast(device, torch.bfloat16, enabled=state["precision"] == torch.bfloat16):
        logits, _ = discriminator(shown)
        loss_generator = compute_generator_loss(logits)
    state["optimiser_generator"].zero_grad(set_to_none=True)
    loss_generator.backward()
    state["optimiser_generator"].step()
    _average_weights(state, (step + 1) * size, size, settings)
    means = (loss_generator, loss_discriminator, redraw, real_logits.mean(), generated_logits.mean())
    state["recent"] += torch.stack([value.detach().float() for value in means])
    state["count"] += 1


def _pick_real(images, step, size, flip, seed, random):
    """The step's real faces, float in [-1, 1]: every photo once an epoch, in an order of (seed, epoch) alone."""
    count = len(images)
    position = torch.arange(step * size, (step + 1) * size)
    epochs = position // count
    order = {
        e: torch.randperm(count, generator=torch.Generator().manual_seed(seed * 7_368_787 + e)) for e in epochs.unique().tolist()
    }
    rows = torch.stack([order[e][p % count] for e, p in zip(epochs.tolist(), position.tolist(), strict=True)])
    real = images[rows.to(images.device)].float() / 127.5 - 1
    if flip:
        mirrored = (torch.rand(size, 1, 1, 1, generator=random) < 0.5).to(images.device)
        real = torch.where(mirrored, real.flip(3), real)
    return real


@torch.no_grad()
def _average_weights(state, shown, size, settings):
    """Exponential moving average with the half-life in images, shorter at the start (Karras et al. 2020, training code)."""
    half_life = min(settings["ema_kimg"] * 1000, shown * settings["ema_rampup"])
    weight = 1 - 0.5 ** (size / max(half_life, 1e-8))
    average, current = list(state["average"].parameters()), list(state["generator"].parameters())
    torch._foreach_lerp_(average, current, weight)


@torch.no_grad()
def _save_snapshot(state, path, description, settings, seed, device):
    """The averaged generator, its batch norm statistics measured afresh: those of the last steps belong to other weights."""
    average = state["average"].train()
    norms = [m for m in average.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    random = torch.Generator().manual_seed(seed * 1_000_003 - 1)
    for _ in range(NUM_CALIBRATION // 64):
        average(torch.randn(64, settings["latent_dim"], generator=random).to(device))
    _save_tensors(average.eval().state_dict(), path, description)


def _save_tensors(tensors, path, description):
    partial = path.with_suffix(".partial")
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
        partial,
        metadata={"params": json.dumps(json.loads(description))},
    )
    os.replace(partial, path)


NETS = ("generator", "discriminator", "average", "optimiser_generator", "optimiser_discriminator")


def _save_checkpoint(state, path):
    content = {name: state[name].state_dict() for name in NETS}
    content |= {name: state[name] for name in ("step", "losses", "recent", "count")}
    torch.save(content, path.with_suffix(".partial"))
    os.replace(path.with_suffix(".partial"), path)


def _restore(state, path, device):
    content = torch.load(path, map_location=device, weights_only=True)
    for name in NETS:
        state[name].load_state_dict(content[name])
    state |= {name: content[name] for name in ("step", "losses", "recent", "count")}


def _log_losses(state, shown, label):
    names = ("loss_generator", "loss_discriminator", "loss_redraw", "real_logit", "generated_logit")
    values = (state["recent"] / max(state["count"], 1)).tolist()
    if not all(map(torch.isfinite, map(torch.tensor, values))):
        raise FloatingPointError(
            f"{label}: a loss is not finite after {shown} images; the snapshots so far are kept: "
            "lower learning_rate (params.yaml: gans)"
        )
    state["losses"].append({"images": shown, **dict(zip(names, values, strict=True))})
    state["recent"].zero_()
    state["count"] = 0


def _show_progress(steps, batch_size, label, losses):
    """A bar for a person at a terminal or in JupyterLab, a line a minute for a log."""
    person = sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ
    started = told = time.monotonic()
    first = steps.start
    for step in tqdm(steps, desc=label, unit="step", disable=not person, leave=False):
        yield step
        now = time.monotonic()
        if not person and now - told > LOG_SECONDS:
            told = now
            speed = (step + 1 - first) * batch_size / (now - started)
            print(
                f"{label}: {(step + 1) * batch_size} of {(steps.stop - 1) * batch_size} images, {speed:.0f} images/s", flush=True
            )
