"""Outputs of trained models: generated faces, a function of (snapshot, seeds) alone, and what a model itself says of a photo."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from ppe.config import write_whole
from ppe.generators import build

LATENT_STREAM = 2**31
"""First seed of published faces; those of training steps lie below (torch's generator on a CPU reads only the lower 32 bits of a
seed)."""
NOISE_SEED = 1
"""Of the noise that a diffusion model is asked to remove from a photo."""


def load_generator(path, family, resolution, settings, device="cpu"):
    """Load a snapshot's generator, ready to sample.

    Parameters
    ----------
    path : path
        A ``snapshot-*.safetensors``.
    family, resolution, settings
        As in ``ppe.generators.build``.
    device : str
        Where the generator computes.

    Returns
    -------
    nn.Module in eval mode: latent vectors float [B, latent_dim] -> faces float [B, 3, H, H] in [-1, 1].

    Raises
    ------
    ValueError
        If the file is not a safetensors file or holds another model.
    """
    generator, _ = build(family, resolution, settings)
    return _load(generator, path, f"a {family} generator of {resolution} px", device)


def load_discriminator(path, family, resolution, settings, device="cpu"):
    """Load ``discriminator.safetensors`` for a white-box attack; parameters and raises as in ``load_generator``.

    Returns
    -------
    nn.Module in eval mode: (faces float [B, 3, H, H] in [-1, 1], stddev) -> (logits float [B], feature maps).
    """
    _, discriminator = build(family, resolution, settings)
    return _load(discriminator, path, f"a {family} discriminator of {resolution} px", device)


def _load(network, path, what, device):
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:  # of torch or safetensors, whose types vary with the damage
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} does not hold {what} with these settings: {reason}: train it again, or correct the settings "
                         "(params.yaml: generators)") from None
    return network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


@torch.no_grad()
def compute_logits(discriminator, faces, batch_size=64):
    """Compute the discriminator's logit of each face, independently of the other faces.

    Parameters
    ----------
    discriminator : nn.Module from ``load_discriminator``.
    faces : array [N, 3, H, H], uint8, at the model's resolution.
    batch_size : int
        It changes a logit by rounding alone: the minibatch-stddev channel is fixed at its mean over the last batches of
        training.

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


@torch.no_grad()
def compute_denoising_losses(denoiser, faces, settings, num_draws=16, batch_size=64):
    """Compute how badly a diffusion model denoises each face, independently of the other faces (Matsumoto et al. 2023).

    Parameters
    ----------
    denoiser : ppe.generators.edm.Denoiser from ``load_generator``.
    faces : array [N, 3, H, H], uint8, at the model's resolution.
    settings : mapping, the section ``generators.edm`` of params.
    num_draws : int
        Noise levels, at evenly spaced quantiles of the training's distribution. All faces get the same levels and noise.
    batch_size : int
        It changes a loss by rounding alone.

    Returns
    -------
    losses : ndarray [N], float32; mean over the noise levels, small = well known to the model.
    """
    device = next(denoiser.parameters()).device
    quantiles = (torch.arange(num_draws) + 0.5) / num_draws
    sigmas = (torch.special.ndtri(quantiles) * settings["p_std"] + settings["p_mean"]).exp()
    noise = torch.randn(num_draws, 3, *faces.shape[-2:], generator=torch.Generator().manual_seed(NOISE_SEED))
    losses = []
    for start in range(0, len(faces), batch_size):
        block = torch.as_tensor(np.array(faces[start : start + batch_size])).to(device).float() / 127.5 - 1
        total = sum(
            denoiser.compute_loss(block, sigma.expand(len(block)), one)
            for sigma, one in zip(sigmas.to(device), noise.to(device), strict=True)
        )
        losses.append(total.cpu() / num_draws)
    return torch.cat(losses).numpy()


def read_description(path):
    """Read the params that made a snapshot: str, JSON."""
    with safe_open(path, framework="pt") as file:
        return file.metadata()["params"]


def draw_latents(seeds, latent_dim):
    """Draw latent vectors, float32 [B, latent_dim], standard normal.

    seeds : sequence of int [B], at least 0. Row i is a function of seeds[i] alone, and differs from every latent vector of
    training.
    """
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
        Faces at a time. It changes a pixel by at most one grey level.

    Yields
    ------
    Tensor uint8 [<= batch_size, 3, H, H], RGB, on the CPU, in the order of the seeds. Memory does not grow with M.
    """
    device = next(generator.parameters()).device
    for start in range(0, len(seeds), batch_size):
        z = draw_latents(seeds[start : start + batch_size], generator.latent_dim).to(device)
        yield ((generator(z).float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().contiguous()


def enlarge_faces(faces, resolution, size=160, margin=0.25):
    """Prepare crops for a detector that expects a margin around a face: down to ``resolution``, up to ``size``, padded.

    Parameters
    ----------
    faces : array [N, 3, H, H], uint8.
    resolution, size : int
        Sides in pixels.
    margin : float
        Width of the border as a share of ``size``; it repeats the edge.

    Returns
    -------
    ndarray [N, S, S, 3], uint8, with S = size + 2 * int(size * margin).
    """
    small = F.interpolate(torch.as_tensor(np.array(faces)).float(), size=(resolution, resolution), mode="area")
    large = F.interpolate(small, size=(size, size), mode="bicubic")
    pad = int(size * margin)
    return F.pad(large, (pad,) * 4, mode="replicate").round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def save_faces(blocks, path, count, resolution):
    """Write blocks of faces to one .npy file uint8 [count, 3, resolution, resolution]; memory does not grow with ``count``.

    blocks : iterable of Tensor uint8 [<= batch, 3, resolution, resolution], of ``sample_faces``.
    Raises ValueError if the blocks do not hold ``count`` faces, OSError if the disk is full; no partial file is left.
    """
    shape, written = (count, 3, resolution, resolution), 0
    with write_whole(path) as partial, open(partial, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for block in blocks:
            file.write(block.numpy().tobytes())
            written += block.numel()
        if written != math.prod(shape):
            raise ValueError(f"{written // math.prod(shape[1:])} faces of {resolution} px were generated for {path}, but "
                             f"{count} are needed")
