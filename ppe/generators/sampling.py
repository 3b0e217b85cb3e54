"""What trained nets give away: faces, a function of (snapshot, seeds) alone, and the discriminator's opinion of a face."""

import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from ppe.config import write_whole
from ppe.generators import build

LATENT_STREAM = 2**31
"""Keeps the seeds of published faces apart from those of training steps, which are far below (torch's generator on a CPU looks
at the lower 32 bits of a seed alone)."""


def load_generator(path, family, resolution, settings, device="cpu"):
    """Load a snapshot's generator, ready to sample.

    Parameters
    ----------
    path : path of a ``snapshot-*.safetensors``.
    family, resolution, settings : as in ``ppe.generators.build``.

    Returns
    -------
    nn.Module in eval mode: latents float [B, latent_dim] -> faces float [B, 3, H, H] in [-1, 1].

    Raises
    ------
    ValueError
        If the file is no safetensors file or holds another net.
    """
    generator, _ = build(family, resolution, settings)
    return _load(generator, path, f"a {family} generator of {resolution} px", device)


def load_discriminator(path, family, resolution, settings, device="cpu"):
    """Load ``discriminator.safetensors`` for a white-box attack; parameters and raises as in ``load_generator``.

    Returns
    -------
    nn.Module in eval mode: faces float [B, 3, H, H] in [-1, 1], stddev -> (logits float [B], maps).
    """
    _, discriminator = build(family, resolution, settings)
    return _load(discriminator, path, f"a {family} discriminator of {resolution} px", device)


def _load(net, path, what, device):
    try:
        net.load_state_dict(load_file(path))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} does not hold {what} with these settings: {reason}") from None
    return net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


@torch.no_grad()
def compute_logits(discriminator, faces, batch_size=64):
    """What a discriminator says of faces, each for itself.

    Parameters
    ----------
    discriminator : nn.Module of ``load_discriminator``.
    faces : array [N, 3, H, H], uint8, at the GAN's resolution.
    batch_size : int
        It changes a logit by rounding alone: the minibatch-stddev channel stands at its mean over training.

    Returns
    -------
    logits : ndarray [N], float32; large = real.
    """
    device = next(discriminator.parameters()).device
    stddev = float(discriminator.stddev.mean)
    logits = []
    for start in range(0, len(faces), batch_size):
        block = torch.as_tensor(np.array(faces[start : start + batch_size])).to(device).float() / 127.5 - 1
        block = block.contiguous(memory_format=torch.channels_last)
        logits.append(discriminator(block, stddev=stddev)[0].float().cpu())
    return torch.cat(logits).numpy()


def read_description(path):
    """The JSON text of the params that made a snapshot."""
    with safe_open(path, framework="pt") as file:
        return file.metadata()["params"]


def draw_latents(seeds, latent_dim):
    """z float32 [B, latent_dim], standard normal; row i is a function of seeds[i] alone, and no latent of any training."""
    rows = [torch.randn(latent_dim, generator=torch.Generator().manual_seed(LATENT_STREAM + int(seed))) for seed in seeds]
    return torch.stack(rows)


@torch.no_grad()
def sample_faces(generator, seeds, batch_size=100):
    """Generate one face a seed.

    Parameters
    ----------
    generator : nn.Module from ``load_generator``.
    seeds : sequence of int, length M.
    batch_size : int
        Faces at a time. It changes no pixel by more than one grey level.

    Yields
    ------
    Tensor uint8 [<= batch_size, 3, H, H], RGB, on the CPU, in the order of the seeds: memory does not grow with M.
    """
    device = next(generator.parameters()).device
    for start in range(0, len(seeds), batch_size):
        z = draw_latents(seeds[start : start + batch_size], generator.latent_dim).to(device)
        yield ((generator(z).float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().contiguous()


def enlarge_faces(faces, resolution, size=160, margin=0.25):
    """Prepare crops for a detector that expects a frame around a face: down to ``resolution``, up to ``size``, padded.

    faces : array [N, 3, H, H], uint8. Returns ndarray [N, size', size', 3], uint8; the border repeats the edge.
    """
    small = F.interpolate(torch.as_tensor(np.array(faces)).float(), size=(resolution, resolution), mode="area")
    large = F.interpolate(small, size=(size, size), mode="bicubic")
    pad = int(size * margin)
    return F.pad(large, (pad,) * 4, mode="replicate").round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def save_faces(blocks, path, count, resolution):
    """Write blocks of faces to one .npy file uint8 [count, 3, resolution, resolution], by a temporary name."""
    with write_whole(path) as partial:
        shape = (count, 3, resolution, resolution)
        np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape).flush()
        with open(partial, "r+b") as file:  # or a full disk would end the process at a write, without a word
            getattr(os, "posix_fallocate", lambda *_: None)(file.fileno(), 0, partial.stat().st_size)  # not on every system
        out, start = np.load(partial, mmap_mode="r+"), 0
        for block in blocks:
            out[start : start + len(block)] = block.numpy()
            start += len(block)
        if start != count:
            raise ValueError(f"{count} faces were announced, but {start} came")
        out.flush()
