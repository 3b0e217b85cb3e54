"""The head: a solid of elliptic cross-sections (two tables over height) with a relief of the facial features on its front."""

from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional

from ppe.datasets.synthetic.scene import shade
from ppe.datasets.synthetic.shapes import (
    bell,
    bump,
    edge,
    find_normals,
    find_rows,
    lathe,
    look_up,
    make_table,
    read_ramp,
    read_table,
    select_pixels,
    trace,
    turn_normals,
    value_noise,
)
from ppe.datasets.synthetic.skin import SKIN, bend, mix_hair_colour, paint_face

RELIEF_X, RELIEF_TOP, RELIEF_BOTTOM = 1.3, -1.7, 1.9  # extent of the relief map, units
SKULL_DEPTHS = ((-1.2, 1.15), (-0.6, 1.3), (0.0, 1.24), (0.5, 1.22))  # half depth over y, units
HOLLOW_REACH, HOLLOW_STRENGTH = 15, 3.5  # rows of the relief map; share of the light lost per unit of depth
CLAY = "b8aa9c"  # sRGB, colour of a head without paint


def build_head(person, scene, has_relief=True):
    """Build the head: tables of its outline, relief map, distance function and heights of its features."""
    p = person
    mouth_y = p.nose_length + p.mouth_gap
    chin_y = mouth_y + p.chin_length + 0.1 * scene.open
    jaw, chin = p.jaw_width * p.face_width, p.chin_width * p.face_width
    widths = (
        (-0.86 * p.skull_height, 0.6 * p.forehead_width * p.face_width),
        (-0.7 * p.skull_height, 0.82 * p.forehead_width * p.face_width),
        (-0.45 * p.skull_height, 0.99 * p.forehead_width * p.face_width),
        (-0.2, p.forehead_width * p.face_width),
        (0.2, p.face_width),
        (0.5, 0.985 * p.face_width),
        (mouth_y, jaw),
        (chin_y - 0.17, chin),
    )
    outline = [(y, width**2) for y, width in widths]
    outline += [(-p.skull_height, 0), (-p.skull_height - 1, -2.5), (chin_y, 0), (chin_y + 1, -1.5)]
    depths = (*SKULL_DEPTHS, (mouth_y, 1.22), (chin_y - 0.17, 1.12))
    width_at = np.interp([y for y, _ in depths], *zip(*widths, strict=True))
    ratio = [(y, (width / depth) ** 2) for (y, depth), width in zip(depths, width_at, strict=True)]
    outline, ratio = make_table(outline), make_table(ratio)
    head = SimpleNamespace(mouth_y=mouth_y, chin_y=chin_y, widths=widths, depths=depths)
    head.curl = scene.smile + 0.25  # corners turn slightly up even at rest, because the mouth lies on a bulge
    head.mouth_width = p.mouth_width * (1 + 0.2 * scene.smile)
    relief = raise_relief(person, scene, head) * has_relief
    head.hollow = find_hollows(relief)

    def distance(x, y, z):
        return lathe(x, y, z, outline, ratio).sub_(read_relief(relief, x, y).mul_((2 * z).clamp_(0, 1)))

    head.distance = distance
    return head


def raise_relief(person, scene, head):
    """Height of the facial features over the solid in units: [144, 112], rows over y, columns over x."""
    p = person
    x = torch.linspace(-RELIEF_X, RELIEF_X, 112)[None, :]  # a row and a column, because most features are products of the two
    y = torch.linspace(RELIEF_TOP, RELIEF_BOTTOM, 144)[:, None]
    side = x.abs()
    old = max(0.0, (p.age - 35) / 40)
    eyes = -p.eye_depth * bump(side, y, p.eye_distance - 0.03, -0.02, 0.3, 0.2) + 0.07 * bump(
        side, y, p.eye_distance, 0.01, 0.17, 0.14
    )
    brow = p.brow_ridge * bump(side, y, 0.36, 0.06 - p.brow_height, 0.4, 0.12)
    cheeks = (p.cheekbones + 0.05 * max(0.0, scene.smile)) * bump(side, y, 0.62, 0.45, 0.26, 0.22)
    cheeks = cheeks + p.cheek_fat * bump(side, y, 0.6, 0.9, 0.25, 0.3)
    muzzle = 0.08 * bump(x, y, 0, head.mouth_y, 0.45, 0.33) + p.chin_bulge * bump(
        x, y, 0, head.chin_y - 0.17, 0.26, 0.15
    )
    curve = y - head.mouth_y + 0.09 * head.curl * (x / head.mouth_width) ** 2
    lips = 0.06 * torch.exp(-((x / head.mouth_width) ** 4))
    lips = lips * (bell((curve + 0.06) / 0.06) + bell((curve - 0.08) / 0.08) - bell((curve - 0.25) / 0.08))
    fold_x = p.nose_width + 0.06 + 0.5 * (y - p.nose_length + 0.1).clamp(0, 1)
    fold = -(0.025 + 0.03 * old + 0.035 * max(0.0, scene.smile)) * bell((side - fold_x) / 0.06)
    fold = fold * bell((y - p.nose_length - 0.12) / 0.22)
    bags = 0.02 * old * bump(side, y, p.eye_distance, 0.24, 0.16, 0.05) - 0.02 * old * bump(
        side, y, p.eye_distance, 0.32, 0.2, 0.04
    )
    wrinkles = 0.012 * old * torch.sin(y * 42 + 2 * side**2) * bump(x, y, 0, -0.72, 0.6, 0.22)
    relief = eyes + brow + cheeks + muzzle + lips + fold + bags + wrinkles + raise_nose(person, x, y)
    return read_relief(relief, *bend(person, x, y))


def read_relief(relief, x, y):
    """Height of the relief at positions (x, y), planes of any shape."""
    middle, half = (RELIEF_TOP + RELIEF_BOTTOM) / 2, (RELIEF_BOTTOM - RELIEF_TOP) / 2
    return look_up(relief[None, None], x / RELIEF_X, (y - middle) / half)


def find_hollows(relief):
    """Share of the light that a position loses because its surroundings are higher: in sockets, beside the nose, under lips."""
    mean = relief[None]
    for kernel in ((HOLLOW_REACH, 1), (1, HOLLOW_REACH)):
        half = tuple(side // 2 for side in kernel)
        mean = functional.avg_pool2d(mean, kernel, stride=1, padding=half, count_include_pad=False)
    return ((mean[0] - relief) * HOLLOW_STRENGTH).clamp_(-0.1, 0.5)


def raise_nose(person, x, y):
    """Height of the nose: a ridge that widens and rises towards the tip, a round tip, two wings."""
    p = person
    tip_y = p.nose_length - 0.14
    along = ((y + 0.25) / (tip_y + 0.25)).clamp(0, 1)
    under = ((p.nose_length + 0.02 - y) / 0.16).clamp(0, 1)
    rise = (0.25 * along + 0.75 * along**2) * under * under * (3 - 2 * under)
    width = p.nose_bridge + (0.75 * p.nose_tip - 0.5 * p.nose_bridge) * along**2
    ridge = (0.72 * p.nose_height * rise + p.nose_hump * bell((y - 0.45 * tip_y) / 0.16)) * bell(x / width)
    tip = 0.34 * p.nose_height * bump(x, y, 0, tip_y + 0.02, p.nose_tip, 0.13)
    wings = 0.4 * p.nose_height * bump(x.abs(), y, p.nose_width - 0.06, tip_y + 0.06, 0.08, 0.09)
    return ridge + tip + wings


def draw_head(person, scene, camera, head, hair, is_painted=True):
    """Render the head: index, colour [3, n], cover and depth of the pixels that it covers."""
    camera = select_pixels(camera, (camera.u / 1.4) ** 2 + ((camera.v - 0.15) / 2.2) ** 2 < 1)
    hit, cover, place, depth = trace(head.distance, camera, near=1.9, steps=20, least=0.05)
    normal = find_normals(head.distance, place, camera)
    x, y, z = place
    if is_painted:
        skin, spark = paint_face(person, scene, head, x, y, (2 * z).clamp(0, 1), camera.pixel)
    else:
        skin, spark = read_ramp(CLAY, 0.0).repeat(1, len(x)), torch.zeros_like(x)
    if hair:  # a soft hair line: roots and short hairs on the skin
        roots = edge(read_table(hair.line, *find_rows(x)) - y + 0.12 * (value_noise(x * 30, y * 9) - 0.2), 0.12)
        skin.lerp_(mix_hair_colour(person), 0.75 * roots)
    dim = 1 - (2 * z).clamp_(0, 1) * read_relief(head.hollow, x, y)
    lit = cast_shadow(place, scene, camera, head, hair)
    colour = shade(skin, normal, scene, shine=0.06, dim=dim, lit=lit)
    return camera.index.index_select(0, hit), colour + 0.5 * spark * lit, cover, depth


def cast_shadow(place, scene, camera, head, hair):
    """Share of the key light that head and hair do not block, by a few steps from the surface towards the light: [n]."""
    toward = camera.turn.T @ scene.lights[0][0]
    lit = torch.ones_like(place[0])
    for reach in (0.1, 0.18, 0.3, 0.5, 0.8):
        x, y, z = (plane + float(part) * reach for plane, part in zip(place, toward, strict=True))
        gap = head.distance(x, y, z)
        if hair:
            gap = torch.minimum(gap, hair.distance(x, y, z))
        lit = torch.minimum(lit, (gap / (0.3 * reach) + 0.7).clamp_(0, 1))
    return lit


def draw_ear(person, scene, camera, head, side):
    """Render one ear, an ellipsoid with a dark centre: index, colour [3, n], cover, depth; ``side`` is -1 or 1."""
    p = person
    camera = select_pixels(camera, (camera.u.abs() > 0.4) & (camera.u.abs() < 1.6) & ((camera.v - 0.2).abs() < 0.9))
    reach = 0.1 + 0.08 * p.ear_angle
    centre = (side * (float(np.interp(0.25, *zip(*head.widths, strict=True))) + 0.3 * reach), 0.24, -0.15)
    radii = (reach, p.ear_size, 0.24)
    start = [(plane - value) / radius for plane, value, radius in zip(camera.start, centre, radii, strict=True)]
    ray = [value / radius for value, radius in zip(camera.ray, radii, strict=True)]
    a = sum(value * value for value in ray)
    b = (ray[0] * start[0] + ray[1] * start[1] + ray[2] * start[2]) / a
    c = start[0] ** 2 + start[1] ** 2 + start[2] ** 2
    inside = 1 - (c - a * b * b)  # 1 at the middle, 0 at the rim
    depth = -b + (inside.clamp(0, 1) / a).sqrt()
    local = [s + depth * r for s, r in zip(start, ray, strict=True)]
    gradient = [value / radius for value, radius in zip(local, radii, strict=True)]
    bowl = bell((inside - 0.55) / 0.3)
    skin = read_ramp(SKIN, p.skin_tone) * torch.tensor([1.0, 0.85, 0.83]).view(3, 1) * (1 - 0.45 * bowl)
    cover = edge(inside, 2.5 * camera.pixel / reach)
    return camera.index, shade(skin, turn_normals(gradient, camera), scene, shine=0.03), cover, depth
