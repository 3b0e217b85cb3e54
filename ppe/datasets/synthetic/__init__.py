"""Synthetic identities: photos rendered from numbers alone, which show no real person and can be published.

An identity is a row of numbers (``people``); a photo is a function of that row and a seed (``scene``). The ``head`` is a solid
with a relief, on which ``skin``, eyes and lips are painted. ``hair`` is a second solid around it, and ``clothes`` come last.
Nothing is downloaded or learned. Each photo is rendered alone, so its bytes do not depend on other photos.
"""

from types import SimpleNamespace

import numpy as np
import torch

from ppe.datasets.synthetic.clothes import draw_glasses, draw_torso
from ppe.datasets.synthetic.hair import build_hair, draw_hair
from ppe.datasets.synthetic.head import build_head, draw_ear, draw_head
from ppe.datasets.synthetic.people import PARAMETERS, check_identities, read_attributes, sample_identities
from ppe.datasets.synthetic.scene import PHOTO_STREAM, develop, draw_background, make_plain_scene, sample_scene
from ppe.datasets.synthetic.shapes import build_camera

__all__ = ["PARAMETERS", "draw_photos", "draw_steps", "read_attributes", "sample_identities"]
OVERLAP = 0.06  # depth in units over which a layer is blended into a nearer one


def draw_photos(identities, photo_seeds, size=128):
    """Draw one photo of each row: photo b is a function of (identities[b], photo_seeds[b], size) alone.

    Background, clothes, light and pose depend on the photo's seed alone, never on the identity.

    Parameters
    ----------
    identities : Tensor [B, K], float32. Rows of `sample_identities`.
    photo_seeds : Tensor [B], int64.
    size : int, at least 32. Side in pixels.

    Returns
    -------
    Tensor [B, 3, size, size], uint8, RGB. A head takes about 45 % of the width.

    Raises
    ------
    ValueError
        If a shape is wrong, a value is not finite, or size is below 32.
    """
    check_identities(identities)
    if photo_seeds.shape != identities.shape[:1] or photo_seeds.dtype != torch.int64:
        raise ValueError(
            f"photo_seeds is {photo_seeds.dtype} {list(photo_seeds.shape)}, but must be torch.int64 "
            f"[{len(identities)}]: one seed for each row of identities"
        )
    if not torch.isfinite(identities).all():
        raise ValueError("identities has a value that is not finite: use rows of sample_identities")
    if size < 32:
        raise ValueError(f"size is {size}, but must be at least 32 pixels")
    photos = torch.empty(len(identities), 3, size, size, dtype=torch.uint8)
    with torch.inference_mode():
        for index, (row, photo_seed) in enumerate(zip(identities.tolist(), photo_seeds.tolist(), strict=True)):
            person = SimpleNamespace(**dict(zip(PARAMETERS, row, strict=True)))
            rng = np.random.default_rng([PHOTO_STREAM, photo_seed % 2**64])
            scene = sample_scene(rng)
            photos[index] = _draw_photo(person, scene, draw_background(rng, size), rng)
    return photos


def draw_steps(identity, photo_seed, size=128):
    """Draw the intermediate steps of one photo, for illustration.

    Parameters
    ----------
    identity : Tensor [1, K], float32. One row of `sample_identities`.
    photo_seed : int
    size : int, at least 32. Side in pixels.

    Returns
    -------
    list of (str, Tensor [3, size, size] uint8)
        What was added, and the picture so far; the last one is the photo of `draw_photos`.

    Raises
    ------
    ValueError
        As `draw_photos`.
    """
    photo = draw_photos(identity, torch.tensor([photo_seed]), size)[0]
    person = SimpleNamespace(**dict(zip(PARAMETERS, identity[0].tolist(), strict=True)))
    rng = np.random.default_rng([PHOTO_STREAM, photo_seed % 2**64])
    plain, scene = make_plain_scene(), sample_scene(rng)
    still = SimpleNamespace(**{**vars(scene), "blur": 0.0, "grain": 0.0, "quality": 95})
    wall = torch.full((3, size, size), 0.45)
    steps = {
        "skull and jaw: ellipses over height": (plain, {"has_relief": False, "is_painted": False, "has_rest": False}),
        "a relief: sockets, nose, lips, chin": (plain, {"is_painted": False, "has_rest": False}),
        "paint: skin, eyes, brows, mouth": (plain, {"has_rest": False}),
        "ears, hair, neck and clothes": (plain, {}),
        "the photo: pose, expression, light": (still, {}),
    }
    with torch.inference_mode():
        drawn = [(name, _draw_photo(person, of, wall.clone(), rng, **options)) for name, (of, options) in steps.items()]
    return [*drawn, ("room, lens, grain, JPEG", photo)]


def _draw_photo(person, scene, background, rng, has_relief=True, is_painted=True, has_rest=True):
    """Render the layers, combine them and develop the photo: uint8 [3, size, size]; without ``has_rest`` the head alone."""
    size = background.shape[-1]
    camera = build_camera(scene, size)
    head = build_head(person, scene, has_relief)
    hair = build_hair(person, scene, head, camera) if has_rest else None
    drawn = [draw_head(person, scene, camera, head, hair, is_painted)]
    if has_rest:
        drawn += [draw_torso(person, scene, camera)]
        drawn += [draw_ear(person, scene, camera, head, side) for side in (-1, 1)]
        drawn += [draw_hair(person, scene, camera, hair)] if hair else []
    canvas = combine(background.view(3, -1), drawn)
    if scene.glasses < person.glasses_habit:
        draw_glasses(canvas, person, camera)
    return develop(canvas.view(3, size, size), scene, rng)


def combine(background, layers):
    """Combine layers by depth, blended where two meet, independently of their order: [3, n].

    background : [3, n], linear light. layers : list of (pixel index [m], colour [3, m], cover [m] in [0, 1], depth [m]).
    """
    spread = []
    for index, colour, cover, depth in layers:
        full_cover, full_depth = torch.zeros_like(background[0]), torch.full_like(background[0], -9.0)
        spread.append((index, colour, full_cover.index_copy_(0, index, cover), full_depth.index_copy_(0, index, depth)))
    behind = torch.ones_like(background[0])
    for _, _, cover, _ in spread:
        behind.mul_(1 - cover)
    canvas, total = background * behind, behind
    for one, (index, colour, cover, depth) in enumerate(spread):
        weight, depth = cover.index_select(0, index), depth.index_select(0, index)
        for other, (_, _, other_cover, other_depth) in enumerate(spread):
            if other != one:
                before = ((other_depth.index_select(0, index) - depth) / OVERLAP + 0.5).clamp_(0, 1)
                weight = weight * (1 - other_cover.index_select(0, index) * before)
        canvas.index_add_(1, index, colour * weight)
        total.index_add_(0, index, weight)
    return canvas / total
