"""Neck, shoulders, clothes and glasses: clothes depend on the photo, glasses on the identity's habit."""

import torch

from ppe.datasets.synthetic.scene import shade
from ppe.datasets.synthetic.shapes import bell, edge, pick_colour, read_ramp, select_pixels, value_noise
from ppe.datasets.synthetic.skin import SKIN

CLOTH = "24262c 2f3a54 dcdad2 70737a 7d3a3c 4a6350 6f86a3 93806c a88a54 6b5068 bd9c98 3f666c"  # sRGB
WHITE = "e6e6e0"


def draw_torso(person, scene, camera):
    """Neck and shoulders, facing the camera: index, colour [3, n], cover, depth."""
    camera = select_pixels(camera, camera.v > 0.6)
    u, v, pixel = camera.u - 0.15 * scene.roll, camera.v, camera.pixel
    side = u.abs()
    shoulders = v - 2.02 - 0.33 * (side - 0.5).clamp(min=0) ** 1.2 + 0.5 * (0.85 - side).clamp(0, 1)
    neck = torch.minimum(person.neck_width - 0.08 - 0.1 * person.femininity + 0.35 * (v - 1.6).clamp(min=0) ** 2 - side, v - 0.6)
    cover = edge(torch.maximum(shoulders, neck), pixel)
    round_x = (u / torch.where(shoulders > 0, 2.6, person.neck_width * 1.08)).clamp(-0.97, 0.97)
    normal = [round_x, -0.25 * torch.exp(-shoulders.clamp(0, 9) * 3), (1 - round_x**2).sqrt()]
    scale = (normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2).rsqrt()
    normal = [value * scale for value in normal]
    skin = read_ramp(SKIN, person.skin_tone).repeat(1, len(u))
    colour, dressed = dress(skin, scene, u, v, shoulders, pixel)
    dim = 1 - 0.7 * (1 - (v - 1.55) / 0.65).clamp(0, 1) * (1 - dressed)  # shadow of the chin on the neck
    tendon = bell((side - 0.42 + 0.45 * (v - 1.6)) / 0.07)  # from behind the ears to the collar bones
    dim = dim * (1 - 0.12 * tendon * (1 - dressed))
    depth = person.neck_width * normal[2] - torch.where(shoulders > 0.05, 0.5, 0.3)
    return camera.index, shade(colour, normal, scene, shine=0.01, dim=dim), cover, depth


def dress(skin, scene, u, v, shoulders, pixel):
    """Paint clothes on the torso: round or deep neckline, shirt, tie. Returns the colour [3, n] and the cover of cloth [n]."""
    kind, first, second, crease = (float(value) for value in scene.clothes)
    cloth, other = pick_colour(CLOTH, first), pick_colour(CLOTH, second)
    side = u.abs()
    folds = 0.72 + 0.5 * value_noise(u * 2.2 + 60 * crease, v * 1.1 + side)
    neckline = v - 2.12 + 0.62 * side * side if kind < 0.45 else 0.5 * (v - 2.75 + 1.3 * side)
    dressed = edge(torch.minimum(neckline, shoulders + 0.1), 1.5 * pixel)
    colour = skin
    if kind > 0.6:  # a shirt under a jacket or a jumper
        opening = torch.maximum(0.6 * (v - 2.3 + 1.1 * side), neckline)
        shirt = edge(torch.minimum(opening, shoulders + 0.1), 1.5 * pixel)
        colour = colour.lerp(read_ramp(WHITE, 0.0) * folds, shirt)
    if kind > 0.8:
        tie = edge(0.07 + 0.03 * (v - 2.2) - side, 1.5 * pixel) * (v > 2.28)
        colour = colour.lerp(other * folds, tie)
    hem = 1 - 0.25 * bell((neckline - 0.05) / 0.03) * dressed
    return colour.lerp(cloth * folds, dressed) * hem, dressed


def draw_glasses(canvas, person, camera):
    """Draw rims, bridge and a faint reflection onto the canvas, in a plane in front of the eyes."""
    p, pixel = person, camera.pixel
    depth = (1.36 - camera.start[2]) / camera.ray[2]
    x, y = (camera.start[i] + depth * camera.ray[i] for i in range(2))
    side = x.abs()
    power = 2 + 4 * p.glasses_shape
    across, down = (side - p.eye_distance - 0.02).abs() / 0.36, (y - 0.05).abs() / (0.34 - 0.08 * p.glasses_shape)
    ring = 0.3 * (across**power + down**power + 1e-6) ** (1 / power) - 0.3  # a superellipse: round to square
    thick = 0.02 + 0.035 * p.glasses_dark
    rim = edge(thick - ring.abs(), pixel)
    bridge = edge(torch.minimum(0.025 + 0.3 * thick - (y + 0.06).abs(), p.eye_distance - 0.3 - side), pixel)
    colour = torch.tensor([0.17, 0.14, 0.11]).view(3, 1) * (1.05 - p.glasses_dark)
    lens = edge(-ring, pixel)
    streak = edge(0.05 - (x - 0.6 * y - p.eye_distance * x.sign() + 0.1).abs(), 0.06)
    canvas.add_(0.06 * lens * streak)
    canvas.lerp_(colour.expand_as(canvas), torch.maximum(rim, bridge))
