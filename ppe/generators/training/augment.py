"""Differentiable augmentation of the discriminator's input: DiffAugment (Zhao et al. 2020, arXiv 2006.10738) and ADA."""

import torch
import torch.nn.functional as F

from ppe.generators.training.ada import augment_adaptively


def augment(images, policy, draws, p):
    """Augment a batch of real or generated faces; gradients flow back through it to the generator.

    Parameters
    ----------
    images : Tensor [B, 3, H, W], float, in [-1, 1].
    policy : sequence of str
        Names from ``POLICIES``, applied in this order; empty leaves the images as they are.
    draws : ppe.generators.training.draws.Draws
        Source of the random numbers: the same state gives the same augmentation.
    p : Tensor [], float, in [0, 1]
        Probability of ADA's transformations; the policies of DiffAugment ignore it.

    Returns
    -------
    Tensor [B, 3, H, W], float; colours may leave [-1, 1], as in the papers.
    """
    for name in policy:
        images = POLICIES[name](images, draws, p)
    return images


def shift_colour(images, draws, p=None):
    """Change each face's brightness by ±0.5, saturation by 0 to 2 and contrast by 0.5 to 1.5 times (DiffAugment, table 1)."""
    draw = draws.uniform(3).to(images.device, images.dtype).T[..., None, None, None]
    images = images + (draw[0] - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (draw[1] * 2) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (draw[2] + 0.5) + mean


def translate(images, draws, p=None, ratio=0.125):
    """Shift each face by up to ``ratio`` of its side, in whole pixels; the border is filled with grey, 0 in [-1, 1]."""
    height, width = images.shape[-2:]
    reach_y, reach_x = int(height * ratio + 0.5), int(width * ratio + 0.5)
    rows = (draws.integers(2 * reach_y + 1, 1).to(images.device) + torch.arange(height, device=images.device))
    columns = (draws.integers(2 * reach_x + 1, 1).to(images.device) + torch.arange(width, device=images.device))
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y))
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    # Channels-last indexing keeps the memory layout that the convolutions are fastest with.
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images, draws, p=None, ratio=0.5):
    """Set a square of ``ratio`` of the side to grey at a random position (DiffAugment's cutout)."""
    size = images.shape[-1]
    half = int(size * ratio / 2)
    centre = draws.integers(size, 2).to(images.device)
    inside = (torch.arange(size, device=images.device) - centre[..., None]).abs() < half
    mask = ~(inside[:, 0, :, None] & inside[:, 1, None, :])
    return images * mask[:, None].to(images.dtype)


POLICIES = {"colour": shift_colour, "translation": translate, "cutout": cut_out, "ada": augment_adaptively}
