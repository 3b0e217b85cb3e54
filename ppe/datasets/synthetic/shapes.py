"""Rendering: colours, soft edges, noise, solids from tables, and the camera.

Solids are rendered by sphere tracing (J. Hart, The Visual Computer 12, 1996). All planes are flat float32 [n] over the pixels
that a layer can cover, so that they fit the processor's cache.
"""

from functools import cache
from math import cos, sin
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional

FRAME = 4.7  # width of a frame in units: a head of 2 units and its ears take about 45 %
TABLE_TOP, TABLE_STEP, TABLE_ROWS = -3.0, 0.03, 256  # y of a table's first row and step, units; number of rows
NOISE = torch.from_numpy(np.random.default_rng(0).random((1, 1, 257, 257)).astype(np.float32))  # values at the corners of cells


def read_ramp(ramp, position):
    """Linear-light colour [3, 1] at a position in [0, 1] along a ramp of sRGB colours."""
    colours = _read_colours(ramp)
    low = min(int(position * (len(colours) - 1)), max(len(colours) - 2, 0))
    part = position * (len(colours) - 1) - low
    srgb = colours[low] + part * (colours[min(low + 1, len(colours) - 1)] - colours[low])
    return torch.from_numpy((srgb**2.2).astype(np.float32)).view(3, 1)


@cache
def _read_colours(ramp):
    return np.array([list(bytes.fromhex(code)) for code in ramp.split()]) / 255


def pick_colour(palette, position):
    """Colour of a palette at a position in [0, 1), linear light [3, 1]."""
    codes = palette.split()
    return read_ramp(codes[int(len(codes) * position)], 0.0)


def edge(distance, softness):
    """Antialiased edge: 1 inside (distance > 0), 0 outside, with a ramp of the width ``softness``."""
    return (distance / softness + 0.5).clamp_(0, 1)


def bell(t):
    """exp(-t^2): 1 at 0, 0.37 at 1."""
    return torch.exp(-(t * t))


def bump(x, y, centre_x, centre_y, width, height):
    """A two-dimensional bell; cheap if x is a row and y a column."""
    return bell((x - centre_x) / width) * bell((y - centre_y) / height)


def look_up(image, x, y):
    """Bilinear lookup of an image [1, 1, h, w] at positions in [-1, 1]."""
    grid = torch.stack((x, y)).view(2, -1).t()[None, None]  # two planes viewed as pairs: twice as fast as stacked pairs
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=True).view(x.shape)


def value_noise(a, b):
    """Value noise in [0, 1] with cells of one unit; a and b must stay within +-128."""
    return look_up(NOISE, a * (1 / 128), b * (1 / 128))


def smooth_noise(a, b):
    """Value noise with a continuous slope, for illuminated surfaces."""
    low_a, low_b = a.floor(), b.floor()
    a, b = a - low_a, b - low_b
    return value_noise(low_a.addcmul_(a * a, 3 - 2 * a), low_b.addcmul_(b * b, 3 - 2 * b))


def intersect(one, other, rounding):
    """Distance to the intersection of two solids, with a rounded edge."""
    near = (rounding - (one - other).abs_()).clamp_(min=0)
    return torch.maximum(one, other).addcmul_(near, near, value=0.25 / rounding)


def make_table(points):
    """Table of a smoothed piecewise-linear curve through (position, value) pairs: values, and differences to the next row."""
    position = TABLE_TOP + TABLE_STEP * np.arange(TABLE_ROWS)
    value = np.interp(position, *zip(*sorted(points), strict=True))
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    value = np.convolve(np.pad(value, 6, mode="edge"), kernel / kernel.sum(), mode="valid").astype(np.float32)
    return torch.from_numpy(value), torch.from_numpy(np.append(np.diff(value), np.float32(0)))


def find_rows(position):
    """Row of a table before each position, and the fraction of the way to the next row."""
    position = ((position - TABLE_TOP) * (1 / TABLE_STEP)).clamp_(0, TABLE_ROWS - 1.001)
    row = position.int()
    return row, position.sub_(row)


def read_table(table, row, part):
    """Linear interpolation in a table."""
    return torch.addcmul(table[0].index_select(0, row), table[1].index_select(0, row), part)


def lathe(x, y, z, outline, depth):
    """First-order distance to the solid whose cross-section at y is the ellipse x^2 + depth(y) z^2 = outline(y)."""
    row, part = find_rows(y)
    ratio_z = read_table(depth, row, part).mul_(z)
    excess = torch.addcmul(ratio_z * z, x, x).sub_(read_table(outline, row, part))
    slope = outline[1].index_select(0, row).mul_(0.5 / TABLE_STEP)
    gradient2 = torch.addcmul(slope * slope, x, x).addcmul_(ratio_z, ratio_z).add_(0.02)
    return excess.mul_(gradient2.rsqrt_()).mul_(0.5)


def build_camera(scene, size):
    """Camera of parallel rays: position (u, v) of each pixel from the head's middle, and start + depth * ray in head axes."""
    pixel = FRAME / scene.zoom / size
    axis = (torch.arange(size, dtype=torch.float32) + 0.5 - size / 2) * pixel
    u = (axis[None, :] - scene.shift[0]).expand(size, size).reshape(-1)
    v = (axis[:, None] + 0.25 - scene.shift[1]).expand(size, size).reshape(-1)
    turn = make_turn(scene.yaw, scene.pitch, scene.roll)
    start = [turn[0][i] * u + turn[1][i] * v for i in range(3)]
    ray = [float(turn[2][i]) for i in range(3)]
    return SimpleNamespace(u=u, v=v, pixel=pixel, turn=turn, start=start, ray=ray, index=torch.arange(size * size))


def select_pixels(camera, mask):
    """Restrict the camera to the masked pixels, which keep their index in the frame."""
    index = mask.nonzero()[:, 0]
    u, v, *start = (plane.index_select(0, index) for plane in (camera.u, camera.v, *camera.start))
    return SimpleNamespace(
        **{**vars(camera), "u": u, "v": v, "start": start, "index": camera.index.index_select(0, index)}
    )


def make_turn(yaw, pitch, roll):
    """Rotation [3, 3] from head axes to camera axes; angles in radians."""
    about_y = np.array([[cos(yaw), 0, sin(yaw)], [0, 1, 0], [-sin(yaw), 0, cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, cos(pitch), -sin(pitch)], [0, sin(pitch), cos(pitch)]])
    about_z = np.array([[cos(roll), -sin(roll), 0], [sin(roll), cos(roll), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def trace(distance, camera, near, steps, least):
    """Trace the rays from depth ``near``: rows of the pixels hit, cover in (0, 1], position in head axes, depth."""
    depth = torch.full_like(camera.u, near)
    closest, hit_depth = torch.full_like(depth, 9.0), depth.clone()
    for step in range(steps):
        place = [torch.add(start, depth, alpha=ray) for start, ray in zip(camera.start, camera.ray, strict=True)]
        gap = distance(*place).add_(camera.pixel)  # by a pixel, so that the closest approach separates hits from misses
        torch.where(gap < closest, depth, hit_depth, out=hit_depth)
        torch.minimum(closest, gap, out=closest)
        forward = gap.clamp(min=max(0.0, least * (1 - step / (steps - 5))))  # a least step, so that rays along an edge end
        stride = torch.where(gap > 0, forward, gap)  # inside, the ray steps back
        depth.sub_(stride, alpha=0.85)
    hit_depth = torch.where(gap.abs() < 0.5 * camera.pixel, depth, hit_depth)  # on the surface; else the closest approach
    cover = edge(camera.pixel - closest, camera.pixel)
    hit = cover.nonzero()[:, 0]
    depth = hit_depth.index_select(0, hit)
    place = [torch.add(start.index_select(0, hit), depth, alpha=ray) for start, ray in zip(camera.start, camera.ray, strict=True)]
    return hit, cover.index_select(0, hit), place, depth


def find_normals(distance, place, camera, step=0.025):
    """Unit normals in camera axes, by forward differences of the distance."""
    x, y, z = place
    here = distance(x, y, z)
    slope = [distance(x + step, y, z) - here, distance(x, y + step, z) - here, distance(x, y, z + step) - here]
    return turn_normals(slope, camera)


def turn_normals(slope, camera):
    """Unit normals in camera axes from gradients in head axes."""
    scale = (slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2 + 1e-12).rsqrt_()
    turn = camera.turn
    return [(turn[i][0] * slope[0] + turn[i][1] * slope[1] + turn[i][2] * slope[2]) * scale for i in range(3)]
