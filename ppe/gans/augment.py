"""Differentiable augmentation of what the discriminator sees (Zhao et al. 2020, DiffAugment, arXiv 2006.10738)."""

import torch
import torch.nn.functional as F


def augment(images, policy, generator):
    """Augment a batch so that gradients flow back to the generator; real and generated faces get the same policy.

    Parameters
    ----------
    images : Tensor [B, 3, H, W], float, in [-1, 1].
    policy : sequence of str
        Names from ``POLICIES``, applied in this order; empty leaves the images as they are.
    generator : torch.Generator
        Where the random numbers come from: same state, same augmentation. On the CPU, whatever the device of the
        images, so that a training draws the same numbers everywhere.

    Returns
    -------
    Tensor [B, 3, H, W], float; colour may leave [-1, 1], as in the paper.
    """
    for name in policy:
        images = POLICIES[name](images, generator)
    return images


def shift_colour(images, generator):
    """Brightness by ±0.5, saturation by 0 to 2, contrast by 0.5 to 1.5, one draw a face (DiffAugment, table 1)."""
    draw = torch.rand(3, len(images), 1, 1, 1, generator=generator).to(images.device, images.dtype)
    images = images + (draw[0] - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (draw[1] * 2) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (draw[2] + 0.5) + mean


def translate(images, generator, ratio=0.125):
    """Move each face by up to ``ratio`` of its side, in whole pixels; what enters is black (grey level 0 of -1 to 1)."""
    height, width = images.shape[-2:]
    reach_y, reach_x = int(height * ratio + 0.5), int(width * ratio + 0.5)
    move_y = torch.randint(0, 2 * reach_y + 1, (len(images),), generator=generator)
    move_x = torch.randint(0, 2 * reach_x + 1, (len(images),), generator=generator)
    rows = (move_y[:, None] + torch.arange(height)).to(images.device)
    columns = (move_x[:, None] + torch.arange(width)).to(images.device)
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y))
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    # Channels-last indexing keeps the memory format that the convolutions want.
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images, generator, ratio=0.5):
    """Blank a square of ``ratio`` of the side at a random place (DiffAugment's cutout)."""
    size = images.shape[-1]
    half = int(size * ratio / 2)
    centre = torch.randint(0, size, (2, len(images), 1), generator=generator).to(images.device)
    grid = torch.arange(size, device=images.device)
    inside = (grid - centre).abs() < half
    mask = ~(inside[0][:, :, None] & inside[1][:, None, :])
    return images * mask[:, None].to(images.dtype)


POLICIES = {"colour": shift_colour, "translation": translate, "cutout": cut_out}
