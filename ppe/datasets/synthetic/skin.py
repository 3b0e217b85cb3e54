"""Colour of skin, eyes, brows, nose, lips and beard, in head coordinates, so that they move with the pose."""

from math import pi

import torch

from ppe.datasets.synthetic.people import BEARDS, find_category
from ppe.datasets.synthetic.shapes import bell, bump, edge, read_ramp, value_noise

# sRGB ramps: pale to dark skin; blond to black hair; brown, hazel, green, blue and grey eyes.
SKIN = "f0cab6 deae90 bd8a67 8a5d43 4f3324"
HAIR = "dbb575 9e7342 5c3b24 2b1c14 0f0d0d"
IRIS = "331c0f 5c381c 5c5c33 4c789e 80949e"
SHAVEN = 0.15  # visible share of a shaved beard
IRIS_RADIUS = 0.115  # units, the same for all identities


def paint_face(person, scene, head, x, y, front, pixel):
    """Paint the face at positions (x, y): colour [3, n] in linear light, and the highlights in the eyes [n].

    ``front`` is 1 on the face and 0 on the back of the head; ``pixel`` is the width of a pixel in units.
    """
    skin = paint_skin(person, x, y)
    x, y = bend(person, x, y)
    paint_beard(skin, person, head, x, y, pixel)
    paint_mouth(skin, person, scene, head, x, y, front, pixel)
    paint_nose(skin, person, x, y, front, pixel)
    spark = paint_eyes(skin, person, scene, x, y, front, pixel)
    paint_brows(skin, person, scene, x, y, front, pixel)
    return skin, spark


def bend(person, x, y):
    """Map positions (x, y) to those of a symmetric face, to make the nose crooked and the eyes uneven."""
    x = x - person.nose_bend * bell((y - 0.5) / 0.35)
    return x, y - x * (person.eye_level * bell((y + 0.1) / 0.35) + person.mouth_slant * bell((y - 1.05) / 0.35))


def paint_skin(person, x, y):
    """Skin in linear light [3, n]: tone, undertone, blotches, flush, freckles, a mole."""
    p = person
    warmth = torch.tensor([1 + 0.08 * p.skin_warmth, 1 - 0.02 * p.skin_warmth, 1 - 0.09 * p.skin_warmth]).view(3, 1)
    base = read_ramp(SKIN, p.skin_tone) * warmth
    blotch = (
        value_noise(x * 6 + 90 * p.mole_x, y * 6 + 9) - 0.5 + 0.6 * (value_noise(x * 30, y * 30 + 7 * p.mole_y) - 0.5)
    )
    skin = base * (1 + 0.1 * blotch)
    flush = bump(x.abs(), y, 0.6, 0.5, 0.28, 0.25) + 0.8 * bump(x, y, 0, person.nose_length - 0.12, 0.2, 0.15)
    skin = skin * (1 + torch.tensor([0.1, -0.14, -0.12]).view(3, 1) * (p.flush * flush))
    if p.freckles > 0.6:
        spots = (value_noise(x * 22 + 30 * p.mole_y, y * 22) - 0.8).clamp(0, 1) * 5 * bump(x, y, 0, 0.4, 0.8, 0.35)
        skin.lerp_(base * 0.5, 0.8 * (p.freckles - 0.4) * spots.clamp(0, 1))
    if p.mole_y < 1.5:
        skin.lerp_(base * 0.25, 0.8 * edge(0.035 - torch.hypot(x - p.mole_x, y - p.mole_y), 0.03))
    return skin


def mix_hair_colour(person):
    """Colour of the hair in linear light [3, 1], greying with age."""
    base = read_ramp(HAIR, person.hair_dark)
    if person.hair_red > 0.8 and person.hair_dark < 0.7:
        base = base * torch.tensor([1.25, 0.6, 0.4]).view(3, 1)
    grey = min(1.0, max(0.0, (person.age - 48) / 20)) ** 1.5
    return base.lerp(torch.tensor([0.45, 0.44, 0.43]).view(3, 1), 0.85 * grey)


def paint_eyes(skin, person, scene, x, y, front, pixel):
    """Paint both eyes, mirrored: white, iris, pupil, lids, crease, lashes. Returns their highlights [n]."""
    p = person
    outward = x.abs() - p.eye_distance
    drop = y + p.eye_tilt * outward
    inside = 1 - (outward / p.eye_width) ** 2
    upper = drop + 0.56 * p.eye_height * scene.lids * inside * (1 - 0.9 * outward)
    lower = 0.42 * p.eye_height * (1 - 0.3 * max(0.0, scene.smile)) * inside - drop
    shown = edge(torch.minimum(upper, lower), 1.2 * pixel) * front
    skin.mul_(1 - p.eye_shade * bump(outward, y, 0.02, 0.02, 0.3, 0.2))
    crease = bell((upper + 0.05 + 0.03 * p.lid_crease) / 0.025) * (inside > -0.1)
    skin.mul_(1 - 0.5 * p.lid_crease * crease * front)
    white = (
        torch.tensor([0.55, 0.52, 0.50]).view(3, 1)
        * (1 - 0.4 * p.skin_tone)  # on dark skin an equally bright eye would seem to glow
        * (0.35 + 0.65 * (upper / 0.1).clamp(0, 1))
        * (0.55 + 0.45 * inside.clamp(0, 1))
    )
    iris_x = outward - scene.gaze[0] * x.sign()
    radius = torch.hypot(iris_x, y - 0.005 - scene.gaze[1])
    iris = read_ramp(IRIS, p.eye_colour) * (1.3 - (radius / IRIS_RADIUS) ** 2).clamp(0.25, 1)
    white.lerp_(iris, edge(IRIS_RADIUS - radius, 1.2 * pixel))
    white.mul_(1 - 0.95 * edge(0.4 * IRIS_RADIUS - radius, pixel))
    skin.lerp_(white, shown)
    lash = bell(upper / (0.02 + 0.014 * p.femininity)) * edge(inside + 0.12, 0.1)
    skin.mul_(1 - (0.75 + 0.2 * p.femininity) * lash * front)
    skin.mul_(1 - 0.3 * bell(lower / 0.02) * edge(inside, 0.1) * front)
    light_x, light_y, _ = scene.lights[0][0].tolist()
    return edge(0.028 - torch.hypot(x.sign() * outward - 0.05 * light_x, y - 0.06 * light_y), pixel) * shown


def paint_brows(skin, person, scene, x, y, front, pixel):
    """Paint two tapering arcs in a darker hair colour."""
    p = person
    along = ((x.abs() - p.brow_gap) / (p.eye_distance + p.eye_width + 0.1 - p.brow_gap)).clamp(-0.2, 1.2)
    centre = -p.brow_height - scene.brows - p.brow_slope * along - p.brow_arch * torch.sin(pi * (along * 0.85 + 0.05))
    thickness = p.brow_thickness * (1.05 - 0.75 * along**2)
    hairs = 0.85 + 0.25 * value_noise(x * 30, y * 12 + x.abs() * 18)
    mask = edge(thickness - (y - centre).abs(), 1.4 * pixel) * edge(along, 0.12) * edge(1 - along, 0.12)
    skin.lerp_(mix_hair_colour(person) * 0.6, (0.85 * hairs * mask).clamp_(0, 1) * front)


def paint_nose(skin, person, x, y, front, pixel):
    """Paint the nostrils and the creases beside the wings of the nose."""
    p = person
    side = x.abs()
    nostril = bump(side, y, 0.48 * p.nose_width, p.nose_length - 0.015, 0.24 * p.nose_width, 0.035)
    wing = torch.hypot((side - p.nose_width + 0.05) / 0.09, (y - p.nose_length + 0.08) / 0.1)
    crease = bell((wing - 1) / 0.25) * edge(side - p.nose_width + 0.03, 0.05)
    under = bump(x, y, 0, p.nose_length + 0.05, 0.2, 0.06)
    skin.mul_(1 - (0.75 * nostril + 0.3 * crease + 0.15 * under).clamp_(0, 0.85) * front)


def paint_mouth(skin, person, scene, head, x, y, front, pixel):
    """Paint the lips, the line between them, and teeth if the mouth is open."""
    p = person
    across = x / head.mouth_width
    inside = (1 - across**2).clamp(-0.3, 1)
    curve = y - head.mouth_y + 0.09 * head.curl * (across**2)
    gap = 0.22 * scene.open * inside
    bow = 1 - 0.3 * bell(x / 0.06) + 0.12 * bell((x.abs() - 0.12) / 0.07)
    upper = torch.minimum(curve + p.upper_lip * inside * bow + 0.4 * gap, inside)
    lower = torch.minimum(p.lower_lip * inside.clamp(0, 1) ** 0.7 + 0.6 * gap - curve, inside)
    red = torch.tensor([0.95, 0.62 - 0.3 * p.lip_colour, 0.62 - 0.26 * p.lip_colour]).view(3, 1)
    lips = edge(torch.minimum(upper, lower), 1.6 * pixel) * front
    skin.lerp_(read_ramp(SKIN, p.skin_tone) * red * 0.85, (0.7 + 0.3 * p.lip_colour) * lips)
    if scene.open > 0:
        hollow = edge(torch.minimum(curve + 0.4 * gap, 0.6 * gap - curve) - 0.006, 1.2 * pixel) * front
        teeth = torch.tensor([0.5, 0.46, 0.41]).view(3, 1) * (1 - across**2).clamp(0.1, 1)
        dark = edge(curve - 0.25 * gap, 2 * pixel)
        skin.lerp_(teeth * (1 - 0.9 * dark), hollow)
    line = bell((curve + 0.4 * gap) / 0.02) * edge(inside, 0.15)
    corner = bump(x.abs(), y, head.mouth_width, head.mouth_y - 0.09 * head.curl, 0.05, 0.04)
    skin.mul_(1 - (0.6 * line + 0.35 * corner).clamp_(0, 0.8) * front)


def paint_beard(skin, person, head, x, y, pixel):
    """Paint stubble, moustache, goatee or full beard."""
    style = BEARDS[find_category(person.beard_style, BEARDS)]
    side = x.abs()
    nose_y, mouth_y = person.nose_length, head.mouth_y
    hairs = value_noise(x * 26, y * 11)
    below_nose = y - nose_y - 0.09 - 0.15 * side
    if style == "moustache":
        area = torch.minimum(torch.minimum(below_nose, mouth_y + 0.2 * side - y), head.mouth_width + 0.04 - side)
    elif style == "goatee":  # around the mouth and over the chin
        area = 0.4 * (1 - torch.hypot(x / (head.mouth_width + 0.12), (y - mouth_y - 0.15) / 0.5))
        area = torch.minimum(area, below_nose)
    else:
        moustache = torch.minimum(torch.minimum(below_nose, mouth_y + 0.1 - y), head.mouth_width + 0.08 - side)
        line = mouth_y + 0.05 - 0.9 * ((side - 0.3) / 0.55).clamp(0, 1) ** 1.5 * mouth_y
        area = torch.maximum(moustache, torch.minimum(y - line, y + 0.0))
    strength = {"none": SHAVEN * max(0.0, 1 - 2 * person.femininity), "stubble": 0.3}.get(style, 0.85)
    mask = edge(area + 0.12 * (hairs - 0.5), 0.16) * (0.8 + 0.3 * hairs) * strength
    skin.lerp_(mix_hair_colour(person) * 0.8, mask.clamp_(0, 0.95))
