"""Adaptive discriminator augmentation (Karras et al. 2020b, Training GANs with Limited Data, arXiv 2006.06676).

Every transformation is applied to a face with probability p, and p follows the discriminator: it rises while D is too
sure of real faces (section 3). As long as p stays below about 0.8, the generator cannot learn the augmentation itself.
Pixel moves, geometry and colour are those of the paper's appendix B (`bgc`, its choice for faces); filtering, noise and
cut-out, which it found of no use there, are left out.
"""

import math

import torch
import torch.nn.functional as F

SHIFT = 0.125
"""Largest whole-pixel move, and the deviation of the fractional one, as a share of the side (appendix B)."""
SCALE_DEVIATION = 0.2
"""Deviation of the base-2 logarithm of the isotropic and the anisotropic scale (appendix B)."""
BRIGHTNESS_DEVIATION, CONTRAST_DEVIATION, SATURATION_DEVIATION = 0.2, 0.5, 1.0
"""Of the added grey, of log2 of the contrast and of log2 of the saturation, for colours in [-1, 1] (appendix B)."""


def augment_adaptively(images, draws, p):
    """Move, turn, scale and recolour faces, each transformation with probability ``p``.

    Parameters
    ----------
    images : Tensor [B, 3, H, H], float, in [-1, 1].
    draws : ppe.generators.training.draws.Draws
    p : Tensor [], float, in [0, 1]; it stays on the device, so that nothing waits for it.

    Returns
    -------
    Tensor [B, 3, H, H], float32; colours may leave [-1, 1]. Gradients flow to ``images`` (once: a sampled grid has no
    second derivative in torch).
    """
    with torch.autocast(images.device.type, enabled=False):
        p = p.to(draws.random.device)
        inverse = _draw_geometry(draws, p, images.shape[-1]).to(images.device)
        colour = _draw_colour(draws, p).to(images.device)
        # A face that is not moved is not sampled either: sampling takes some of the finest detail away.
        still = (inverse == torch.eye(3, device=images.device)).all(dim=(1, 2))
        moved = torch.where(still[:, None, None, None], images.float(), _sample(images.float(), inverse))
        flat = moved.flatten(2)
        return (colour[:, :3, :3] @ flat + colour[:, :3, 3:]).view(moved.shape)


def steer(p, real_sign, target, images, speed):
    """Move p up while D is too sure of real faces, else down (section 3.1; p moves by images / speed).

    Parameters
    ----------
    p : Tensor [], float, in [0, 1].
    real_sign : Tensor [], float, in [-1, 1]. r_t: mean sign of D on real faces since the last call.
    target : float. What r_t should be (0.6 in the paper).
    images, speed : float. Real faces since the last call; real faces in which p may go from 0 to 1 (500,000 in the paper).

    Returns
    -------
    Tensor [], float, in [0, 1].
    """
    return (p + torch.sign(real_sign - target) * (images / speed)).clamp(0, 1)


def _draw_geometry(draws, p, side):
    """Inverse of the moves: [b, 3, 3], from places in the result to places in the face, both in [-1, 1]."""
    device = draws.random.device
    identity = torch.eye(3, device=device).expand(draws.size // draws.world, 3, 3)

    def maybe(matrix, probability=p):
        return torch.where(draws.uniform(1, 1) < probability, matrix, identity)

    flip = 1 - 2 * draws.integers(2).float()
    quarter = draws.integers(4).float() * (math.pi / 2)
    whole = ((draws.uniform(2) * 2 - 1) * SHIFT * side).round() / side * 2
    turn_p = 1 - (1 - p).sqrt()  # turned before or after the anisotropic scale: at least one with probability p
    one = torch.ones_like(flip)
    isotropic = 2 ** (draws.normal() * SCALE_DEVIATION)
    stretch = 2 ** (draws.normal() * SCALE_DEVIATION)
    angles = (draws.uniform(2) * 2 - 1) * math.pi
    shift = draws.normal(2) * SHIFT * 2
    steps = [
        maybe(_scale(flip, one)),
        maybe(_turn(quarter)),
        maybe(_shift(whole)),
        maybe(_scale(isotropic, isotropic)),
        maybe(_turn(angles[:, 0]), turn_p),
        maybe(_scale(stretch, 1 / stretch)),
        maybe(_turn(angles[:, 1]), turn_p),
        maybe(_shift(shift)),
    ]
    inverse = identity
    for step in steps:
        inverse = inverse @ step
    return inverse


def _scale(x, y):
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([x, zero, zero, zero, y, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _turn(angle):
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _shift(move):
    matrix = torch.eye(3, device=move.device).repeat(len(move), 1, 1)
    matrix[:, :2, 2] = move
    return matrix


def _sample(images, inverse):
    """Bilinear samples of the mirrored-out face at twice the side, averaged down: what turns and shrinks cannot alias much.

    Simpler than the paper's wavelet filters, and softer: of the finest chequerboard a quarter is left.
    """
    side = images.shape[-1]
    large = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    grid = F.affine_grid(inverse[:, :2], (len(images), 3, 2 * side, 2 * side), align_corners=False)
    moved = F.grid_sample(large, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(moved, 2)


def _draw_colour(draws, p):
    """Colour transformations as one matrix a face: [b, 4, 4], acting on (red, green, blue, 1)."""
    device = draws.random.device
    identity = torch.eye(4, device=device).expand(draws.size // draws.world, 4, 4)

    def maybe(matrix):
        return torch.where(draws.uniform(1, 1) < p, matrix, identity)

    brightness = identity.clone()
    brightness[:, :3, 3] = draws.normal(1) * BRIGHTNESS_DEVIATION
    contrast = identity.clone()
    contrast[:, :3, :3] *= (2 ** (draws.normal() * CONTRAST_DEVIATION))[:, None, None]
    onto_grey = torch.zeros(4, 4, device=device)
    onto_grey[:3, :3] = 1 / 3  # the axis of equal red, green and blue
    flip = identity - 2 * onto_grey * draws.integers(2).float()[:, None, None]  # mirror the luma
    hue = identity.clone()
    hue[:, :3, :3] = _turn_about_grey((draws.uniform() * 2 - 1) * math.pi)
    saturation = 2 ** (draws.normal() * SATURATION_DEVIATION)
    colours = identity.clone()
    colours[:, :3, :3] = onto_grey[:3, :3] + saturation[:, None, None] * (torch.eye(3, device=device) - onto_grey[:3, :3])
    matrix = identity
    for step in (brightness, contrast, flip, hue, colours):
        matrix = maybe(step) @ matrix
    return matrix


def _turn_about_grey(angle):
    """Rotations [b, 3, 3] about (1, 1, 1) / sqrt(3) (Rodrigues' formula)."""
    identity = torch.eye(3, device=angle.device)
    cross = (identity.roll(1, 0) - identity.roll(-1, 0)) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cos * identity + sin * cross + (1 - cos) / 3
