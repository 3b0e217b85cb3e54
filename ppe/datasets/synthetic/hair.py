"""Hair: a second solid around the head, with an opening for the face and noise for curls."""

from types import SimpleNamespace

import numpy as np
import torch

from ppe.datasets.synthetic.people import HAIR_STYLES, find_category
from ppe.datasets.synthetic.scene import shade
from ppe.datasets.synthetic.shapes import (
    NOISE,
    TABLE_ROWS,
    TABLE_STEP,
    TABLE_TOP,
    bell,
    find_normals,
    find_rows,
    intersect,
    lathe,
    make_table,
    read_table,
    select_pixels,
    smooth_noise,
    trace,
    value_noise,
)
from ppe.datasets.synthetic.skin import mix_hair_colour

ROUNDING = 0.12  # units over which the hair thins out towards its opening, so that it does not look like a helmet
LOCK_STYLES = ("side part", "quiff", "fringe", "curly", "bob", "bob with fringe", "long", "wavy")
"""Styles in which a lock sometimes falls over the face."""


def build_hair(person, scene, head, camera):
    """Build the hair as a solid around the head with an opening for the face; None for a bald head."""
    p = person
    style = tuple(HAIR_STYLES)[find_category(p.hair_style, HAIR_STYLES)]
    top, side, length, forward, curl, fringe = HAIR_STYLES[style]
    if top == 0:
        return None
    top, side, curl = top * p.hair_volume, side * p.hair_volume, curl * p.hair_volume
    widths, ends = outline_hair(p, head, top, side, length)
    outline = make_table([(y, width**2) for y, width in widths] + ends)
    widths_there = np.interp([y for y, _ in head.depths], *zip(*widths, strict=True))
    layers = zip(head.depths, widths_there, strict=True)
    ratio = make_table([(y, (width / (depth + 0.5 * (top + side))) ** 2) for (y, depth), width in layers])
    lock = scene.lock if style in LOCK_STYLES else 0.0
    line = trace_hair_line(p, max(0.36, p.hair_line - fringe), lock)
    lean = 0.6 * p.hair_part * top
    down = (camera.turn[1] / camera.turn[1][1]).tolist()  # long hair hangs straight down in every pose

    def distance(x, y, z):
        below = (y - 0.6).clamp_(min=0)
        back = ((y - 0.2) * (1 / 1.3)).clamp_(0, 1)
        x, z = torch.sub(x, below, alpha=down[0]), torch.sub(z, below, alpha=down[2])
        shell = lathe(torch.add(x, (y + 0.4).clamp_(-1.2, 0), alpha=lean), y, z, outline, ratio)
        if curl > 0.03:
            shell.sub_(smooth_noise(x * 3.3 + z * 1.7 + 31, y * 3.3 - z + 17), alpha=curl).add_(0.5 * curl)
        hole = torch.minimum(
            (y - read_table(line, *find_rows(x))).mul_(0.7), z - forward + 0.65 * back * back * (3 - 2 * back)
        )
        return intersect(shell, hole, ROUNDING)

    reach = max(width for _, width in widths) + 0.35
    return SimpleNamespace(distance=distance, line=line, top=ends[1][0], bottom=ends[2][0], reach=reach, twist=1.6 + 50 * curl)


def outline_hair(person, head, top, side, length):
    """Half widths of the hair over y in units (those of the skull plus the hair's thickness), and its upper and lower ends."""
    crown = -person.skull_height - top
    skull = np.interp((-0.8, -0.6, -0.1, 0.3, 0.7), *zip(*head.widths, strict=True)).tolist()
    widths = [
        (0.86 * crown, 0.55 * skull[0] + 0.75 * top),
        (0.7 * crown, 0.8 * skull[0] + 0.5 * top + 0.5 * side),
        (0.4 * crown, skull[1] + 0.2 * top + 0.8 * side),
        (-0.1, skull[2] + side),
        (0.35, skull[3] + side - 0.02),
    ]
    ends = [(crown - 1, -2.5), (crown, 0)]
    if length < 1:  # short hair sinks into the head below the ears
        return [*widths, (length, skull[4] - 0.12)], [*ends, (1.2, 0.2), (1.6, -1.0)]
    widths += [(0.9, person.face_width + 1.1 * side), (length - 0.15, person.face_width + 1.2 * side)]
    return widths, [*ends, (length, 0.6), (length + 0.35, -0.8)]


def trace_hair_line(person, height, lock=0.0):
    """Table over x of the hair line's y: higher beside the middle, lower at the temples, slightly irregular.

    ``lock``: length in units of a strand that falls over the face; its sign is the side.
    """
    x = TABLE_TOP + TABLE_STEP * np.arange(TABLE_ROWS)
    recession = person.hair_recession * np.exp(-(((np.abs(x) - 0.5) / 0.25) ** 2))
    temples = 0.75 * (np.clip(x, -1.4, 1.4) / person.face_width) ** 6
    ragged = 0.25 * (NOISE[0, 0, 0, :TABLE_ROWS].double().numpy() - 0.5)
    slant = 0.12 * person.hair_part * np.clip(x, -1, 1)
    strand = abs(lock) * np.exp(-(((x - 0.5 * np.sign(lock)) / 0.13) ** 2))
    return make_table(list(zip(x, temples - height - recession + slant + ragged + strand, strict=True)))


def draw_hair(person, scene, camera, hair):
    """Render the hair with strands: index, colour [3, n], cover, depth."""
    tall = (camera.v > hair.top - 0.4) & (camera.v < hair.bottom + 0.3)
    camera = select_pixels(camera, tall & (camera.u.abs() < hair.reach))
    hit, cover, place, depth = trace(hair.distance, camera, near=2.0, steps=20, least=0.4)
    normal = find_normals(hair.distance, place, camera, step=0.05)
    x, y, z = place
    bend = 0.25 * person.hair_part
    across = x + bend * y
    strand = value_noise(across * 16 + 5 * z, (y - z) * hair.twist)
    strand.add_(value_noise(across * 30 + 11 * z + 20, (2 * y - z) * hair.twist), alpha=0.6)
    tone = 0.55 + 0.6 * strand
    parting = bell((x - 0.35 * person.hair_part) / 0.035) * (y < -0.9) * (z > 0)
    tone = tone * (1 - 0.3 * parting)
    colour = shade(mix_hair_colour(person) * tone, normal, scene, shine=0.0, wrap=0.4)
    shine = bell((normal[1] + 0.45 + 0.25 * (strand - 0.8)) / 0.18) * (0.3 + 0.5 * strand)
    return camera.index.index_select(0, hit), colour + 0.05 * scene.lights[0][1] * shine, cover, depth
