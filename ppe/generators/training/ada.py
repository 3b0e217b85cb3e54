"""Adaptive discriminator augmentation (Karras et al. 2020b, Training GANs with Limited Data, arXiv 2006.06676).

Each transformation is applied to a face with probability p. p rises while the discriminator overfits, that is while it is too
confident on real faces (section 3). While p stays below about 0.8, the generator does not learn the augmentation itself.
The transformations are pixel blitting, geometry and colour of the paper's appendix B (`bgc`, its choice for faces).
Filtering, noise and cutout are left out, because the paper found no benefit from them there.
"""

import math

import torch
import torch.nn.functional as F

SHIFT = 0.125
"""Largest whole-pixel shift, and the standard deviation of the subpixel shift, as a share of the side (appendix B)."""
SCALE_DEVIATION = 0.2
"""Standard deviation of log2 of the isotropic and of the anisotropic scale (appendix B)."""
BRIGHTNESS_DEVIATION, CONTRAST_DEVIATION, SATURATION_DEVIATION = 0.2, 0.5, 1.0
"""Standard deviations of the added grey, of log2 contrast and of log2 saturation, for colours in [-1, 1] (appendix B)."""


def augment_adaptively(images, draws, p):
    """Shift, rotate, scale and recolour faces, each transformation with probability ``p``.

    Parameters
    ----------
    images : Tensor [B, 3, H, H], float, in [-1, 1].
    draws : ppe.generators.training.draws.Draws
    p : Tensor [], float, in [0, 1]. It stays on the device, so that the CPU need not wait for it.

    Returns
    -------
    Tensor [B, 3, H, H], float32; colours may leave [-1, 1]. It is differentiable once by ``images``: a sampled grid has no
    second derivative in torch.
    """
    with torch.autocast(images.device.type, enabled=False):
        p = p.to(draws.random.device)
        inverse = _draw_geometry(draws, p, images.shape[-1]).to(images.device)
        colour = _draw_colour(draws, p).to(images.device)
        # An unmoved face is not resampled, since resampling removes some of the finest detail.
        still = (inverse == torch.eye(3, device=images.device)).all(dim=(1, 2))
        moved = torch.where(still[:, None, None, None], images.float(), _sample(images.float(), inverse))
        flat = moved.flatten(2)
        return (colour[:, :3, :3] @ flat + colour[:, :3, 3:]).view(moved.shape)


def steer(p, real_sign, target, images, speed):
    """Raise p while D is too confident on real faces, else lower it (section 3.1), by images / speed.

    Parameters
    ----------
    p : Tensor [], float, in [0, 1].
    real_sign : Tensor [], float, in [-1, 1]. r_t: mean sign of D on real faces since the last call.
    target : float. Desired r_t (0.6 in the paper).
    images, speed : float. Real faces since the last call; real faces within which p may rise from 0 to 1 (500,000 in the
        paper).

    Returns
    -------
    Tensor [], float, in [0, 1].
    """
    return (p + torch.sign(real_sign - target) * (images / speed)).clamp(0, 1)


def _draw_geometry(draws, p, side):
    """Inverse transformation, [b, 3, 3]: from positions in the result to positions in the face, both in [-1, 1]."""
    device = draws.random.device
    identity = torch.eye(3, device=device).expand(draws.size // draws.world, 3, 3)

    def maybe(matrix, probability=p):
        return torch.where(draws.uniform(1, 1) < probability, matrix, identity)

    flip = 1 - 2 * draws.integers(2).float()
    quarter = draws.integers(4).float() * (math.pi / 2)
    whole = ((draws.uniform(2) * 2 - 1) * SHIFT * side).round() / side * 2
    turn_p = 1 - (1 - p).sqrt()  # rotated before or after the anisotropic scale: at least one of them with probability p
    one = torch.ones_like(flip)
    isotropic = 2 ** (draws.normal() * SCALE_DEVIATION)
    stretch = 2 ** (draws.normal() * SCALE_DEVIATION)
    angles = (draws.uniform(2) * 2 - 1) * math.pi
    shift = draws.normal(2) * SHIFT * 2
    steps = [
        maybe(_scale(flip, one)),
        maybe(_rotate(quarter)),
        maybe(_shift(whole)),
        maybe(_scale(isotropic, isotropic)),
        maybe(_rotate(angles[:, 0]), turn_p),
        maybe(_scale(stretch, 1 / stretch)),
        maybe(_rotate(angles[:, 1]), turn_p),
        maybe(_shift(shift)),
    ]
    inverse = identity
    for step in steps:
        inverse = inverse @ step
    return inverse


def _scale(x, y):
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([x, zero, zero, zero, y, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _rotate(angle):
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)


def _shift(offset):
    matrix = torch.eye(3, device=offset.device).repeat(len(offset), 1, 1)
    matrix[:, :2, 2] = offset
    return matrix


def _sample(images, inverse):
    """Sample the face bilinearly at twice its side, with mirrored borders, and average down, which limits aliasing.

    Simpler than the paper's wavelet filters, and softer: the finest checkerboard keeps a quarter of its amplitude.
    """
    side = images.shape[-1]
    large = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    grid = F.affine_grid(inverse[:, :2], (len(images), 3, 2 * side, 2 * side), align_corners=False)
    moved = F.grid_sample(large, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(moved, 2)


def _draw_colour(draws, p):
    """Colour transformation of each face, [b, 4, 4], acting on (red, green, blue, 1)."""
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
    flip = identity - 2 * onto_grey * draws.integers(2).float()[:, None, None]  # mirror the luminance
    hue = identity.clone()
    hue[:, :3, :3] = _rotate_about_grey((draws.uniform() * 2 - 1) * math.pi)
    saturation = 2 ** (draws.normal() * SATURATION_DEVIATION)
    colours = identity.clone()
    colours[:, :3, :3] = onto_grey[:3, :3] + saturation[:, None, None] * (torch.eye(3, device=device) - onto_grey[:3, :3])
    matrix = identity
    for step in (brightness, contrast, flip, hue, colours):
        matrix = maybe(step) @ matrix
    return matrix


def _rotate_about_grey(angle):
    """Rotations [b, 3, 3] about (1, 1, 1) / sqrt(3) (Rodrigues' formula)."""
    identity = torch.eye(3, device=angle.device)
    cross = (identity.roll(1, 0) - identity.roll(-1, 0)) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cos * identity + sin * cross + (1 - cos) / 3
