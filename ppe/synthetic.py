"""Procedural people: the embedded data set, drawn from numbers alone, so that it can be shown publicly.

A person is a row of numbers, a photo is that row and a seed. The head is a solid of elliptic cross-sections (two tables
over height) with a relief of facial features on its front, hit by sphere tracing (J. Hart, The Visual Computer 12,
1996); the skin, eyes and lips are painted in the head's own coordinates, so that they move with the pose. Nothing is
downloaded and nothing is learned. The file is long because a face has many parts: each is one short function.

Units and axes: half the width of a head is about 1; x points right, y down, z towards the viewer; the eyes lie at
y = 0. Angles are in radians, colours linear light in [0, 1] unless a name says otherwise. A photo is drawn alone, as
flat float32 planes [n] over the pixels that a layer can reach: they stay in the cache, and a photo's bytes cannot
depend on the photos beside it.
"""

from math import cos, pi, sin
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional

# name: (low, high, what it is). Uniform in the range unless sample_identities bends it.
_RANGES = {
    "femininity": (0.0, 1.0, "shifts jaw, brows, lips, hair length; no beard above 0.5"),
    "age": (20.0, 75.0, "years: wrinkles, folds, grey hair, bags under the eyes"),
    "skin_tone": (0.0, 1.0, "0 pale to 1 dark, along the ramp _SKIN"),
    "skin_warmth": (-1.0, 1.0, "-1 olive to 1 ruddy"),
    "flush": (-0.5, 1.6, "redness of cheeks and nose; negative is sallow"),
    "freckles": (0.0, 1.0, "density; visible above 0.6"),
    "mole_x": (-0.7, 0.7, "a mole's place, units"),
    "mole_y": (0.2, 2.4, "a mole's place, units; below 1.5 there is none"),
    "face_width": (0.86, 1.12, "half width at the cheekbones, units"),
    "forehead_width": (0.86, 1.02, "half width at the temples, share of face_width"),
    "jaw_width": (0.68, 0.98, "half width at the mouth, share of face_width"),
    "chin_width": (0.38, 0.68, "half width just above the chin, share of face_width"),
    "chin_length": (0.42, 0.68, "mouth to chin, units"),
    "chin_bulge": (0.0, 0.14, "height of the chin's relief, units"),
    "skull_height": (1.42, 1.68, "eyes to crown, units"),
    "cheekbones": (0.0, 0.14, "height of the cheekbones' relief, units"),
    "cheek_fat": (-0.1, 0.1, "height of the lower cheeks' relief, units; negative is gaunt"),
    "brow_ridge": (0.0, 0.12, "height of the brow ridge's relief, units"),
    "eye_distance": (0.38, 0.5, "middle of the face to a pupil, units"),
    "eye_width": (0.19, 0.27, "half width of the eye's opening, units"),
    "eye_height": (0.11, 0.24, "height of the eye's opening, units"),
    "eye_tilt": (-0.17, 0.25, "outer corner's rise over the inner, slope"),
    "eye_depth": (0.04, 0.2, "depth of the sockets, units"),
    "eye_colour": (0.0, 1.0, "along the ramp _IRIS: brown, hazel, green, blue, grey"),
    "lid_crease": (0.0, 1.0, "strength of the upper lid's crease; 0 is a monolid"),
    "eye_shade": (0.0, 0.65, "darkness of the skin around the eyes, share"),
    "brow_height": (0.23, 0.42, "pupil to brow, units"),
    "brow_thickness": (0.025, 0.1, "half thickness at the inner end, units"),
    "brow_arch": (0.0, 0.14, "height of the arch, units"),
    "brow_slope": (-0.11, 0.11, "rise of the outer end, units"),
    "brow_gap": (0.1, 0.22, "middle of the face to the inner end, units"),
    "nose_length": (0.58, 0.86, "eyes to the base of the nose, units"),
    "nose_width": (0.17, 0.32, "middle to the outside of a nostril, units"),
    "nose_height": (0.24, 0.5, "relief of the tip, units"),
    "nose_bridge": (0.07, 0.17, "half width of the bridge, units"),
    "nose_hump": (-0.05, 0.07, "relief of the ridge's middle; negative is concave, units"),
    "nose_tip": (0.1, 0.2, "radius of the tip, units"),
    "mouth_gap": (0.24, 0.4, "base of the nose to the lips' line, units"),
    "mouth_width": (0.28, 0.48, "half width at rest, units"),
    "upper_lip": (0.035, 0.14, "thickness, units"),
    "lower_lip": (0.06, 0.19, "thickness, units"),
    "lip_colour": (0.0, 1.0, "0 as the skin to 1 red"),
    "ear_size": (0.26, 0.42, "half height, units"),
    "ear_angle": (0.0, 1.0, "0 flat to the head, 1 standing out"),
    "neck_width": (0.56, 0.8, "half width, units"),
    "hair_style": (0.0, 13.0, "row of _HAIR_STYLES, rounded down"),
    "hair_volume": (0.7, 1.4, "factor on the style's thickness"),
    "hair_line": (0.78, 1.12, "eyes to the hair line at the middle, units"),
    "hair_recession": (0.0, 0.35, "how far the line climbs beside the middle, units"),
    "hair_part": (-1.0, 1.0, "side of the parting"),
    "hair_dark": (0.0, 1.0, "0 blond to 1 black, along the ramp _HAIR"),
    "hair_red": (0.0, 1.0, "red above 0.8"),
    "beard_style": (0.0, 6.0, "row of _BEARDS, rounded down"),
    "glasses_habit": (0.0, 1.0, "share of the photos with glasses; drawn low for most people"),
    "glasses_shape": (0.0, 1.0, "0 round to 1 square"),
    "glasses_dark": (0.0, 1.0, "0 metal to 1 black frame"),
}
PARAMETERS = tuple(_RANGES)

# (top, side, length, front, curl, fringe) in units: thickness on top and at the side, where it ends (y), how far it
# comes forward (z), height of its bumps, how far the hair line is lowered.
_HAIR_STYLES = {
    "bald": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "buzz": (0.05, 0.03, 0.75, 0.05, 0.01, 0.0),
    "short": (0.14, 0.07, 0.8, 0.1, 0.02, 0.0),
    "side part": (0.22, 0.1, 0.8, 0.15, 0.02, 0.05),
    "quiff": (0.32, 0.05, 0.75, 0.1, 0.03, -0.02),
    "fringe": (0.2, 0.13, 0.8, 0.25, 0.03, 0.45),
    "curly": (0.3, 0.22, 0.8, 0.2, 0.16, 0.08),
    "afro": (0.5, 0.5, 0.9, 0.15, 0.14, 0.0),
    "bob": (0.2, 0.24, 1.35, 0.5, 0.02, 0.0),
    "bob with fringe": (0.2, 0.22, 1.3, 0.5, 0.02, 0.5),
    "long": (0.17, 0.2, 3.5, 0.45, 0.02, 0.0),
    "wavy": (0.25, 0.34, 2.6, 0.5, 0.12, 0.0),
    "tied back": (0.09, 0.05, 0.7, 0.1, 0.01, 0.0),
}
_BEARDS = ("none", "none", "stubble", "moustache", "goatee", "full")

# sRGB colours: ramps (skin, hair, iris), palettes, a shirt's white
_SKIN = "f5d1bd e6b596 c7916e 946345 543626"
_HAIR = "dbb575 9e7342 5c3b24 2b1c14 0f0d0d"
_IRIS = "331c0f 5c381c 5c5c33 4c789e 80949e"
_ROOM = "ccc2b2 9ea3a8 ebedf0 292b33 333d5c 73543d 546b42 99b8d6 8c4538 5c7a80 c7a87a 80788c"
_CLOTH = "1f2129 263052 e6e6e0 73757a 8c2429 3d6147 738cb2 9e856b c28f38 75476b d9a8a8 336b75"
_WHITE = "e6e6e0"
_PERSON_STREAM, _PHOTO_STREAM = 11, 12  # keep the two kinds of seed apart
_FRAME = 4.7  # units a frame is wide: a head of 2 units and its ears take about 45 %
_RELIEF_X, _RELIEF_TOP, _RELIEF_BOTTOM = 1.3, -1.7, 1.9  # the relief map's extent, units
_TABLE_TOP, _TABLE_STEP, _TABLE_ROWS = -3.0, 0.03, 256  # height of a table's first row, units; step; rows
_NOISE = torch.from_numpy(np.random.default_rng(0).random((1, 1, 257, 257)).astype(np.float32))  # at cells' corners


# --------------------------------------------------------------------------------------------------------------- people


def sample_identities(num_identities, seed, first=0):
    """Draw people: row p is a function of (seed, first + p) alone, so a larger population begins with the smaller one.

    Parameters
    ----------
    num_identities : int, at least 0.
    seed : int, at least 0. The population.
    first : int, at least 0. Index of the first person drawn.

    Returns
    -------
    Tensor [P, K], float32. One person a row; columns are ``PARAMETERS``, in the units and ranges of ``_RANGES``.

    Raises
    ------
    ValueError
        If a number is negative.
    """
    for name, value in (("num_identities", num_identities), ("seed", seed), ("first", first)):
        if value < 0:
            raise ValueError(f"{name} is {value}, but must be at least 0")
    rows = [_sample_person(np.random.default_rng([_PERSON_STREAM, seed, first + p])) for p in range(num_identities)]
    return torch.tensor(np.array(rows, dtype=np.float32).reshape(num_identities, len(PARAMETERS)))


def _sample_person(rng):
    """One row of ``PARAMETERS``: uniform draws, bent where people are not uniform (hair with skin, beard with sex)."""
    draw = dict(zip(PARAMETERS, rng.random(len(PARAMETERS)), strict=True))
    bald = draw["hair_style"] < 0.08 and draw["femininity"] < 0.5
    first, last = (6, 13) if draw["femininity"] > 0.5 else (1, 8)  # rows of _HAIR_STYLES: curly to tied, buzz to afro
    draw["hair_style"] = 0.0 if bald else (first + draw["hair_style"] * (last - first)) / len(_HAIR_STYLES)
    draw["hair_dark"] = max(draw["hair_dark"], 0.9 * min(1.0, 2 * draw["skin_tone"] - 0.3))
    draw["age"] **= 1.5
    draw["eye_colour"] *= 0.25 if draw["skin_tone"] > 0.45 else 1.0
    draw["beard_style"] *= draw["femininity"] < 0.5
    draw["glasses_habit"] = 0.95 if draw["glasses_habit"] > 0.85 else 0.15 * draw["glasses_habit"]
    draw["jaw_width"] = 0.75 * draw["jaw_width"] + 0.25 * (1 - draw["femininity"])
    draw["brow_thickness"] = 0.6 * draw["brow_thickness"] + 0.4 * (1 - draw["femininity"])
    draw["hair_recession"] *= 1 - draw["femininity"]
    return [low + (high - low) * draw[name] for name, (low, high, _) in _RANGES.items()]


def read_attributes(identities):
    """Name what a reader can see of each person.

    Parameters
    ----------
    identities : Tensor [P, K], float32. Rows of `sample_identities`.

    Returns
    -------
    dict of str to array [P]
        ``skin_tone`` (float, 0 pale to 1 dark), ``age`` (float, years), ``femininity`` (float, 0 to 1), ``hair`` (name
        of the style), ``hair_dark`` (float, 0 blond to 1 black), ``beard`` (name), ``eye_colour`` (float, 0 brown to 1
        grey), ``glasses`` (float, share of the photos with glasses).

    Raises
    ------
    ValueError
        If the shape is not [P, K].
    """
    _check_identities(identities)
    column = {name: identities[:, index].numpy().copy() for index, name in enumerate(PARAMETERS)}
    styles = tuple(_HAIR_STYLES)
    return {
        "skin_tone": column["skin_tone"],
        "age": column["age"],
        "femininity": column["femininity"],
        "hair": np.array([styles[_row(value, styles)] for value in column["hair_style"]], dtype=object),
        "hair_dark": column["hair_dark"],
        "beard": np.array([_BEARDS[_row(value, _BEARDS)] for value in column["beard_style"]], dtype=object),
        "eye_colour": column["eye_colour"],
        "glasses": column["glasses_habit"],
    }


def _row(value, table):
    """A category stored as a float, as an index of its table."""
    return min(int(value), len(table) - 1)


def _check_identities(identities):
    if identities.ndim != 2 or identities.shape[1] != len(PARAMETERS):
        raise ValueError(
            f"identities has shape {list(identities.shape)}, but must be [people, {len(PARAMETERS)}]: "
            "rows of sample_identities"
        )


# --------------------------------------------------------------------------------------------------------------- photos


def draw_photos(identities, photo_seeds, size=128):
    """Draw one photo of each row: photo b is a function of (identities[b], photo_seeds[b], size) alone.

    The background, the clothes, the light and the pose are drawn from the photo's seed alone, never from the person.

    Parameters
    ----------
    identities : Tensor [B, K], float32. Rows of `sample_identities`.
    photo_seeds : Tensor [B], int64.
    size : int, at least 32. Pixels a side.

    Returns
    -------
    Tensor [B, 3, size, size], uint8, RGB. A head takes about 45 % of the width.

    Raises
    ------
    ValueError
        If a shape is wrong, a value is not finite, or size is below 32.
    """
    _check_identities(identities)
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
            photos[index] = _draw_photo(person, np.random.default_rng([_PHOTO_STREAM, photo_seed % 2**64]), size)
    return photos


def _draw_photo(person, rng, size):
    """Draw the layers, put them together by depth, develop: uint8 [3, size, size]."""
    scene = _sample_scene(rng)
    camera = _build_camera(scene, size)
    head = _build_head(person, scene)
    hair = _build_hair(person, head, camera)
    background = _draw_background(rng, size)
    layers = [_draw_torso(person, scene, camera), _draw_head(person, scene, camera, head, hair)]
    layers += [_draw_ear(person, scene, camera, head, side) for side in (-1, 1)]
    layers += [_draw_hair(person, scene, camera, hair)] if hair else []
    canvas = _combine(background.view(3, -1), layers)
    if scene.glasses < person.glasses_habit:
        _draw_glasses(canvas, person, camera)
    return _develop(canvas.view(3, size, size), scene, rng)


def _build_camera(scene, size):
    """Parallel rays: each pixel's place (u, v) from the head's middle, its ray start + depth * ray in head axes."""
    pixel = _FRAME / scene.zoom / size
    axis = (torch.arange(size, dtype=torch.float32) + 0.5 - size / 2) * pixel
    u = (axis[None, :] - scene.shift[0]).expand(size, size).reshape(-1)
    v = (axis[:, None] + 0.25 - scene.shift[1]).expand(size, size).reshape(-1)
    turn = _turn(scene.yaw, scene.pitch, scene.roll)
    start = [turn[0][i] * u + turn[1][i] * v for i in range(3)]
    ray = [float(turn[2][i]) for i in range(3)]
    return SimpleNamespace(u=u, v=v, pixel=pixel, turn=turn, start=start, ray=ray, index=torch.arange(size * size))


def _combine(background, layers):
    """Weigh each layer by what stands before it, softly where two meet, whatever their order: [3, n]."""
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
                before = ((other_depth.index_select(0, index) - depth) / 0.06 + 0.5).clamp_(0, 1)
                weight = weight * (1 - other_cover.index_select(0, index) * before)
        canvas.index_add_(1, index, colour * weight)
        total.index_add_(0, index, weight)
    return canvas / total


def _sample_scene(rng):
    """Draw what belongs to the photo and not to the person; always the same number of draws."""
    normal, uniform = rng.standard_normal(16), rng.random(16)
    light = np.array([0.9 * normal[0], -0.5 - 0.5 * uniform[0], 1.0])
    warm = 0.12 * normal[1]
    key = (0.55 + 0.35 * uniform[1]) * np.array([1 + warm, 1.0, 1 - warm])
    return SimpleNamespace(
        yaw=float(np.clip(0.2 * normal[2], -0.6, 0.6)),
        pitch=float(np.clip(0.11 * normal[3], -0.3, 0.3)),
        roll=float(np.clip(0.08 * normal[4], -0.25, 0.25)),
        zoom=float(1 + 0.05 * np.clip(normal[5], -2, 2)),
        shift=(0.09 * float(np.clip(normal[6], -2, 2)), 0.07 * float(np.clip(normal[7], -2, 2))),
        light=light / np.linalg.norm(light),
        key=torch.tensor(key, dtype=torch.float32).view(3, 1),
        fill=torch.tensor(
            (0.3 + 0.3 * uniform[2]) * np.array([1 - 0.5 * warm, 1.0, 1 + 0.5 * warm]), dtype=torch.float32
        ).view(3, 1),
        smile=float(np.clip(0.1 + 0.7 * uniform[3] + 0.2 * normal[8], -0.05, 1)),
        open=float(max(0.0, uniform[4] - 0.45)),
        gaze=(0.025 * float(np.clip(normal[9], -2, 2)), 0.012 * float(np.clip(normal[10], -2, 2))),
        lids=float(1 + 0.1 * np.clip(normal[11], -2, 1)),
        brows=float(0.02 * normal[12]),
        glasses=float(uniform[5]),
        clothes=uniform[6:10],
        blur=float(0.15 + 0.35 * uniform[13]),
        grain=float(0.004 + 0.012 * uniform[14]),
    )


def _turn(yaw, pitch, roll):
    """The rotation [3, 3] that takes the head's axes to the camera's."""
    about_y = np.array([[cos(yaw), 0, sin(yaw)], [0, 1, 0], [-sin(yaw), 0, cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, cos(pitch), -sin(pitch)], [0, sin(pitch), cos(pitch)]])
    about_z = np.array([[cos(roll), -sin(roll), 0], [sin(roll), cos(roll), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


# ---------------------------------------------------------------------------------------------------- numbers to planes


def _colour(ramp, position):
    """Linear-light colour [3, 1] at a position in [0, 1] along a ramp of sRGB colours."""
    srgb = np.array([list(bytes.fromhex(code)) for code in ramp.split()]) / 255
    stops = np.linspace(0, 1, len(srgb))
    return torch.tensor([np.interp(position, stops, channel) for channel in srgb.T], dtype=torch.float32).pow(2.2)[
        :, None
    ]


def _pick(palette, position):
    """One of a palette's colours, linear light [3, 1], by a number in [0, 1)."""
    codes = palette.split()
    return _colour(codes[int(len(codes) * position)], 0.0)


def _edge(distance, softness):
    """1 well inside (distance > 0), 0 outside, over a ramp of the given width: an antialiased edge."""
    return (distance / softness + 0.5).clamp_(0, 1)


def _bell(t):
    """exp(-t^2): 1 at 0, 0.37 at 1."""
    return torch.exp(-(t * t))


def _bump(x, y, centre_x, centre_y, width, height):
    """A bell in the plane; cheap where x is a row and y a column."""
    return _bell((x - centre_x) / width) * _bell((y - centre_y) / height)


def _look_up(image, x, y):
    """Bilinear lookup of an image [1, 1, h, w] at positions in [-1, 1]."""
    grid = torch.stack((x, y)).t()[None, None]  # two contiguous planes seen as pairs: twice as fast as stacking pairs
    return functional.grid_sample(image, grid, padding_mode="border", align_corners=True)[0, 0, 0]


def _value_noise(a, b):
    """Value noise in [0, 1], one cell a unit of a and b, which are to stay within +-128."""
    return _look_up(_NOISE, a * (1 / 128), b * (1 / 128))


def _table(points):
    """A smoothed piecewise-linear curve through (position, value) pairs: its values and their steps to the next row."""
    position = _TABLE_TOP + _TABLE_STEP * np.arange(_TABLE_ROWS)
    value = np.interp(position, *zip(*sorted(points), strict=True))
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    value = np.convolve(np.pad(value, 6, mode="edge"), kernel / kernel.sum(), mode="valid").astype(np.float32)
    return torch.from_numpy(value), torch.from_numpy(np.append(np.diff(value), np.float32(0)))


def _find_rows(position):
    """Where positions lie in a table: the row before, and the part of the way to the next."""
    position = ((position - _TABLE_TOP) * (1 / _TABLE_STEP)).clamp_(0, _TABLE_ROWS - 1.001)
    row = position.int()
    return row, position.sub_(row)


def _read_table(table, row, part):
    """Linear interpolation in a table."""
    return torch.addcmul(table[0].index_select(0, row), table[1].index_select(0, row), part)


def _lathe(x, y, z, outline, depth):
    """Distance (to first order) to a solid whose cross-section at y is the ellipse x^2 + depth(y) z^2 = outline(y)."""
    row, part = _find_rows(y)
    ratio_z = _read_table(depth, row, part).mul_(z)
    excess = torch.addcmul(ratio_z * z, x, x).sub_(_read_table(outline, row, part))
    slope = outline[1].index_select(0, row).mul_(0.5 / _TABLE_STEP)
    gradient2 = torch.addcmul(slope * slope, x, x).addcmul_(ratio_z, ratio_z).add_(0.02)
    return excess.mul_(gradient2.rsqrt_()).mul_(0.5)


def _trace(distance, camera, near, steps, least):
    """March along the rays from depth ``near``: the pixels hit, cover in (0, 1], place in head coordinates, depth."""
    depth = torch.full_like(camera.u, near)
    closest, hit_depth = torch.full_like(depth, 9.0), depth.clone()
    for step in range(steps):
        place = [torch.add(start, depth, alpha=ray) for start, ray in zip(camera.start, camera.ray, strict=True)]
        gap = distance(*place).add_(
            camera.pixel
        )  # a pixel inside, so that the closest approach tells hits from near misses
        torch.where(gap < closest, depth, hit_depth, out=hit_depth)
        torch.minimum(closest, gap, out=closest)
        forward = gap.clamp(min=max(0.0, least * (1 - step / (steps - 5))))  # no crawling along edges
        stride = torch.where(gap > 0, forward, gap)  # a step too far is taken back
        depth.sub_(stride, alpha=0.85)
    hit_depth = torch.where(gap.abs() < 0.5 * camera.pixel, depth, hit_depth)  # reached; else a near miss
    cover = _edge(camera.pixel - closest, camera.pixel)
    hit = cover.nonzero()[:, 0]
    depth = hit_depth.index_select(0, hit)
    place = [
        torch.add(start.index_select(0, hit), depth, alpha=ray)
        for start, ray in zip(camera.start, camera.ray, strict=True)
    ]
    return hit, cover.index_select(0, hit), place, depth


def _select(camera, mask):
    """The camera with only the masked pixels, which remember their index in the frame."""
    index = mask.nonzero()[:, 0]
    u, v, *start = (plane.index_select(0, index) for plane in (camera.u, camera.v, *camera.start))
    return SimpleNamespace(
        **{**vars(camera), "u": u, "v": v, "start": start, "index": camera.index.index_select(0, index)}
    )


def _normal(distance, place, camera, step=0.025):
    """Unit normals in camera axes by forward differences of the distance."""
    x, y, z = place
    here = distance(x, y, z)
    slope = [distance(x + step, y, z) - here, distance(x, y + step, z) - here, distance(x, y, z + step) - here]
    scale = (slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2 + 1e-12).rsqrt_()
    turn = camera.turn
    return [(turn[i][0] * slope[0] + turn[i][1] * slope[1] + turn[i][2] * slope[2]) * scale for i in range(3)]


def _shade(albedo, normal, scene, shine, wrap=0.25, dim=1.0, lit=1.0):
    """Light a surface: wrapped key, fill from the front and the sky, a broad highlight; linear light [3, n]."""
    nx, ny, nz = normal
    lx, ly, lz = (float(value) for value in scene.light)
    spread = torch.tensor([1.35, 1.0, 0.85]).view(3, 1) * wrap  # red light goes deepest into skin
    lambert = ((lx * nx + ly * ny + lz * nz + spread) / (1 + spread)).clamp_(0, 1)
    sky = 0.75 - 0.25 * ny + 0.2 * nz
    half = np.array([lx, ly, lz + 1.0]) / np.linalg.norm([lx, ly, lz + 1.0])
    gloss = (float(half[0]) * nx + float(half[1]) * ny + float(half[2]) * nz).clamp_(0, 1)
    gloss = gloss * gloss
    gloss = (gloss * gloss) ** 2
    gloss = gloss * gloss * gloss
    return albedo * (scene.key * (lambert * dim * lit) + scene.fill * (sky * dim)) + scene.key * (gloss * (shine * lit))


# ----------------------------------------------------------------------------------------------------------------- head


def _build_head(person, scene):
    """The head's tables, relief map and the heights of its features."""
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
    depths = ((-1.2, 1.15), (-0.6, 1.3), (0.0, 1.24), (0.5, 1.22), (mouth_y, 1.22), (chin_y - 0.17, 1.12))
    width_at = np.interp([y for y, _ in depths], *zip(*widths, strict=True))
    ratio = [(y, (width / depth) ** 2) for (y, depth), width in zip(depths, width_at, strict=True)]
    head = SimpleNamespace(mouth_y=mouth_y, chin_y=chin_y, outline=_table(outline), ratio=_table(ratio), widths=widths)
    head.curl = scene.smile + 0.25  # corners turned a little up even at rest: the mouth lies on a bulge
    head.mouth_width = p.mouth_width * (1 + 0.2 * scene.smile)
    head.relief = _relief(person, scene, head)[None, None]
    middle, half = (_RELIEF_TOP + _RELIEF_BOTTOM) / 2, (_RELIEF_BOTTOM - _RELIEF_TOP) / 2

    def distance(x, y, z):
        relief = _look_up(head.relief, x / _RELIEF_X, (y - middle) / half)
        return _lathe(x, y, z, head.outline, head.ratio) - relief * (2 * z).clamp_(0, 1)

    head.distance = distance
    return head


def _relief(person, scene, head):
    """Height of the facial features over the bare head, units: [144, 112] over x and y."""
    p = person
    x = torch.linspace(-_RELIEF_X, _RELIEF_X, 112)[None, :]
    y = torch.linspace(_RELIEF_TOP, _RELIEF_BOTTOM, 144)[:, None]
    side = x.abs()
    old = max(0.0, (p.age - 35) / 40)
    eyes = -p.eye_depth * _bump(side, y, p.eye_distance - 0.03, -0.02, 0.3, 0.2) + 0.07 * _bump(
        side, y, p.eye_distance, 0.01, 0.17, 0.14
    )
    brow = p.brow_ridge * _bump(side, y, 0.36, 0.06 - p.brow_height, 0.4, 0.12)
    cheeks = (p.cheekbones + 0.05 * max(0.0, scene.smile)) * _bump(side, y, 0.62, 0.45, 0.26, 0.22)
    cheeks = cheeks + p.cheek_fat * _bump(side, y, 0.6, 0.9, 0.25, 0.3)
    muzzle = 0.08 * _bump(x, y, 0, head.mouth_y, 0.45, 0.33) + p.chin_bulge * _bump(
        x, y, 0, head.chin_y - 0.17, 0.26, 0.15
    )
    curve = y - head.mouth_y + 0.09 * head.curl * (x / head.mouth_width) ** 2
    lips = 0.06 * torch.exp(-((x / head.mouth_width) ** 4))
    lips = lips * (_bell((curve + 0.06) / 0.06) + _bell((curve - 0.08) / 0.08) - _bell((curve - 0.25) / 0.08))
    fold_x = p.nose_width + 0.06 + 0.5 * (y - p.nose_length + 0.1).clamp(0, 1)
    fold = -(0.025 + 0.03 * old + 0.035 * max(0.0, scene.smile)) * _bell((side - fold_x) / 0.06)
    fold = fold * _bell((y - p.nose_length - 0.12) / 0.22)
    bags = 0.03 * old * _bump(side, y, p.eye_distance, 0.24, 0.16, 0.05) - 0.03 * old * _bump(
        side, y, p.eye_distance, 0.32, 0.2, 0.04
    )
    wrinkles = 0.012 * old * torch.sin(y * 42 + 2 * side**2) * _bump(x, y, 0, -0.72, 0.6, 0.22)
    return eyes + brow + cheeks + muzzle + lips + fold + bags + wrinkles + _nose(person, x, y)


def _nose(person, x, y):
    """Height of the nose: a ridge that widens and rises to the tip, a round tip, two wings."""
    p = person
    tip_y = p.nose_length - 0.14
    along = ((y + 0.25) / (tip_y + 0.25)).clamp(0, 1)
    under = ((p.nose_length + 0.02 - y) / 0.16).clamp(0, 1)
    rise = (0.25 * along + 0.75 * along**2) * under * under * (3 - 2 * under)
    width = p.nose_bridge + (0.75 * p.nose_tip - 0.5 * p.nose_bridge) * along**2
    ridge = (0.72 * p.nose_height * rise + p.nose_hump * _bell((y - 0.45 * tip_y) / 0.16)) * _bell(x / width)
    tip = 0.34 * p.nose_height * _bump(x, y, 0, tip_y + 0.02, p.nose_tip, 0.13)
    wings = 0.4 * p.nose_height * _bump(x.abs(), y, p.nose_width - 0.06, tip_y + 0.06, 0.08, 0.09)
    return ridge + tip + wings


def _draw_head(person, scene, camera, head, hair):
    """Trace, paint and light the head: index, colour [3, n], cover, depth of the pixels that it reaches."""
    camera = _select(camera, (camera.u / 1.4) ** 2 + ((camera.v - 0.15) / 2.2) ** 2 < 1)
    hit, cover, place, depth = _trace(head.distance, camera, near=1.9, steps=12, least=0.05)
    normal = _normal(head.distance, place, camera)
    x, y, z = place
    front = (2 * z).clamp(0, 1)
    skin = _paint_skin(person, x, y)
    if hair:  # a soft line: roots and short hairs on the skin
        roots = _edge(_read_table(hair.line, *_find_rows(x)) - y + 0.12 * (_value_noise(x * 30, y * 9) - 0.2), 0.12)
        skin.lerp_(_hair_colour(person), 0.75 * roots)
    _paint_beard(skin, person, head, x, y, camera.pixel)
    _paint_mouth(skin, person, scene, head, x, y, front, camera.pixel)
    _paint_nose(skin, person, x, y, front, camera.pixel)
    spark = _paint_eyes(skin, person, scene, x, y, front, camera.pixel)
    _paint_brows(skin, person, scene, x, y, front, camera.pixel)
    dim = 1 - 0.35 * _bump(x.abs(), y, person.eye_distance, -0.12, 0.25, 0.12) * person.eye_depth / 0.2
    lit = _cast_shadow(place, scene, camera, head, hair)
    colour = _shade(skin, normal, scene, shine=0.06, dim=dim, lit=lit)
    return camera.index.index_select(0, hit), colour + 0.8 * spark, cover, depth


def _cast_shadow(place, scene, camera, head, hair):
    """Share of the key light that passes the head and the hair: few soft steps from the surface towards the light."""
    toward = camera.turn.T @ scene.light
    lit = torch.ones_like(place[0])
    for reach in (0.1, 0.18, 0.3, 0.5, 0.8):
        x, y, z = (plane + float(part) * reach for plane, part in zip(place, toward, strict=True))
        gap = head.distance(x, y, z)
        if hair:
            gap = torch.minimum(gap, hair.distance(x, y, z))
        lit = torch.minimum(lit, (gap / (0.3 * reach) + 0.7).clamp_(0, 1))
    return lit


def _paint_skin(person, x, y):
    """Skin in linear light [3, n]: tone, undertone, blotches, blush, freckles, a mole."""
    p = person
    warmth = torch.tensor([1 + 0.06 * p.skin_warmth, 1.0 - 0.02 * p.skin_warmth, 1 - 0.06 * p.skin_warmth]).view(3, 1)
    base = _colour(_SKIN, p.skin_tone) * warmth
    blotch = (
        _value_noise(x * 6 + 90 * p.mole_x, y * 6 + 9) - 0.5 + 0.6 * (_value_noise(x * 30, y * 30 + 7 * p.mole_y) - 0.5)
    )
    skin = base * (1 + 0.1 * blotch)
    flush = _bump(x.abs(), y, 0.6, 0.5, 0.28, 0.25) + 0.8 * _bump(x, y, 0, person.nose_length - 0.12, 0.2, 0.15)
    skin = skin * (1 + torch.tensor([0.1, -0.14, -0.12]).view(3, 1) * (p.flush * flush))
    if p.freckles > 0.6:
        spots = (_value_noise(x * 22 + 30 * p.mole_y, y * 22) - 0.8).clamp(0, 1) * 5 * _bump(x, y, 0, 0.4, 0.8, 0.35)
        skin.lerp_(base * 0.5, 0.8 * (p.freckles - 0.4) * spots.clamp(0, 1))
    if p.mole_y < 1.5:
        skin.lerp_(base * 0.25, 0.8 * _edge(0.035 - torch.hypot(x - p.mole_x, y - p.mole_y), 0.03))
    return skin


def _hair_colour(person):
    """Colour [3, 1] of the hair, greying with age."""
    base = _colour(_HAIR, person.hair_dark)
    if person.hair_red > 0.8 and person.hair_dark < 0.7:
        base = base * torch.tensor([1.25, 0.6, 0.4]).view(3, 1)
    grey = min(1.0, max(0.0, (person.age - 48) / 20)) ** 1.5
    return base.lerp(torch.tensor([0.45, 0.44, 0.43]).view(3, 1), 0.85 * grey)


def _paint_eyes(skin, person, scene, x, y, front, pixel):
    """Both eyes at once, mirrored: white, iris, pupil, lids, crease, lashes. Returns their sparks of light [n]."""
    p = person
    outward = x.abs() - p.eye_distance
    drop = y + p.eye_tilt * outward
    inside = 1 - (outward / p.eye_width) ** 2
    upper = drop + 0.62 * p.eye_height * scene.lids * inside * (1 - 0.9 * outward)
    lower = 0.38 * p.eye_height * (1 - 0.3 * max(0.0, scene.smile)) * inside - drop
    shown = _edge(torch.minimum(upper, lower), 1.2 * pixel) * front
    skin.mul_(1 - p.eye_shade * _bump(outward, y, 0.02, 0.02, 0.3, 0.2))
    crease = _bell((upper + 0.05 + 0.03 * p.lid_crease) / 0.025) * (inside > -0.1)
    skin.mul_(1 - 0.5 * p.lid_crease * crease * front)
    white = (
        torch.tensor([0.60, 0.56, 0.53]).view(3, 1)
        * (0.35 + 0.65 * (upper / 0.1).clamp(0, 1))
        * (0.55 + 0.45 * inside.clamp(0, 1))
    )
    iris_x = outward - scene.gaze[0] * x.sign()
    radius = torch.hypot(iris_x, y - 0.005 - scene.gaze[1])
    white.lerp_(
        _colour(_IRIS, p.eye_colour) * (1.3 - (radius / 0.108) ** 2).clamp(0.25, 1), _edge(0.108 - radius, 1.2 * pixel)
    )
    white.mul_(1 - 0.95 * _edge(0.042 - radius, pixel))
    skin.lerp_(white, shown)
    lash = _bell(upper / (0.02 + 0.014 * p.femininity)) * _edge(inside + 0.12, 0.1)
    skin.mul_(1 - (0.75 + 0.2 * p.femininity) * lash * front)
    skin.mul_(1 - 0.3 * _bell(lower / 0.02) * _edge(inside, 0.1) * front)
    light_x, light_y = float(scene.light[0]), float(scene.light[1])
    return _edge(0.028 - torch.hypot(x.sign() * outward - 0.05 * light_x, y - 0.06 * light_y), pixel) * shown


def _paint_brows(skin, person, scene, x, y, front, pixel):
    """Two tapering arcs in the hair's colour, a little darker."""
    p = person
    along = ((x.abs() - p.brow_gap) / (p.eye_distance + p.eye_width + 0.1 - p.brow_gap)).clamp(-0.2, 1.2)
    centre = -p.brow_height - scene.brows - p.brow_slope * along - p.brow_arch * torch.sin(pi * (along * 0.85 + 0.05))
    thickness = p.brow_thickness * (1.05 - 0.75 * along**2)
    hairs = 0.75 + 0.4 * _value_noise(x * 45, y * 14 + x.abs() * 20)
    mask = _edge(thickness - (y - centre).abs(), 1.4 * pixel) * _edge(along, 0.12) * _edge(1 - along, 0.12)
    skin.lerp_(_hair_colour(person) * 0.6, (0.85 * hairs * mask).clamp_(0, 1) * front)


def _paint_nose(skin, person, x, y, front, pixel):
    """Nostrils and the creases beside the wings."""
    p = person
    side = x.abs()
    nostril = _bump(side, y, 0.48 * p.nose_width, p.nose_length - 0.015, 0.24 * p.nose_width, 0.035)
    wing = torch.hypot((side - p.nose_width + 0.05) / 0.09, (y - p.nose_length + 0.08) / 0.1)
    crease = _bell((wing - 1) / 0.25) * _edge(side - p.nose_width + 0.03, 0.05)
    under = _bump(x, y, 0, p.nose_length + 0.05, 0.2, 0.06)
    skin.mul_(1 - (0.75 * nostril + 0.3 * crease + 0.15 * under).clamp_(0, 0.85) * front)


def _paint_mouth(skin, person, scene, head, x, y, front, pixel):
    """Lips, their line, and teeth where the mouth is open."""
    p = person
    across = x / head.mouth_width
    inside = (1 - across**2).clamp(-0.3, 1)
    curve = y - head.mouth_y + 0.09 * head.curl * (across**2)
    gap = 0.22 * scene.open * inside
    bow = 1 - 0.3 * _bell(x / 0.06) + 0.12 * _bell((x.abs() - 0.12) / 0.07)
    upper = torch.minimum(curve + p.upper_lip * inside * bow + 0.4 * gap, inside)
    lower = torch.minimum(p.lower_lip * inside.clamp(0, 1) ** 0.7 + 0.6 * gap - curve, inside)
    red = torch.tensor([0.95, 0.62 - 0.3 * p.lip_colour, 0.62 - 0.26 * p.lip_colour]).view(3, 1)
    lips = _edge(torch.minimum(upper, lower), 1.6 * pixel) * front
    skin.lerp_(skin * red * 0.85, (0.65 + 0.35 * p.lip_colour) * lips)
    if scene.open > 0:
        hollow = _edge(torch.minimum(curve + 0.4 * gap, 0.6 * gap - curve) - 0.006, 1.2 * pixel) * front
        teeth = torch.tensor([0.62, 0.58, 0.52]).view(3, 1) * (1 - across**2).clamp(0.1, 1)
        dark = _edge(curve - 0.25 * gap, 2 * pixel)
        skin.lerp_(teeth * (1 - 0.9 * dark), hollow)
    line = _bell((curve + 0.4 * gap) / 0.02) * _edge(inside, 0.15)
    corner = _bump(x.abs(), y, head.mouth_width, head.mouth_y - 0.09 * head.curl, 0.05, 0.04)
    skin.mul_(1 - (0.6 * line + 0.35 * corner).clamp_(0, 0.8) * front)


def _paint_beard(skin, person, head, x, y, pixel):
    """Stubble, moustache, goatee or full beard."""
    style = _BEARDS[_row(person.beard_style, _BEARDS)]
    if style == "none":
        return
    side = x.abs()
    nose_y, mouth_y = person.nose_length, head.mouth_y
    hairs = _value_noise(x * 40, y * 18)
    moustache = torch.minimum(y - nose_y - 0.07 - 0.25 * side, mouth_y + 0.1 - y)
    moustache = torch.minimum(moustache, head.mouth_width + 0.08 - side)
    if style in ("goatee", "moustache"):
        chin = torch.minimum(0.34 - side, y - mouth_y - 0.2) if style == "goatee" else -9 * torch.ones_like(x)
        area = torch.maximum(moustache, chin)
    else:
        line = mouth_y + 0.05 - 0.9 * ((side - 0.3) / 0.55).clamp(0, 1) ** 1.5 * mouth_y
        area = torch.maximum(moustache, torch.minimum(y - line, y + 0.0))
    strength = 0.3 if style == "stubble" else 0.85
    mask = _edge(area + 0.1 * (hairs - 0.5), 0.08) * (0.7 + 0.5 * hairs) * strength
    skin.lerp_(_hair_colour(person) * 0.8, mask.clamp_(0, 0.95))


def _draw_ear(person, scene, camera, head, side):
    """One ear: an ellipsoid with a dark bowl; index, colour, cover, depth."""
    p = person
    camera = _select(camera, (camera.u.abs() > 0.4) & (camera.u.abs() < 1.6) & ((camera.v - 0.2).abs() < 0.9))
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
    scale = (gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2).rsqrt_()
    normal = [
        (camera.turn[i][0] * gradient[0] + camera.turn[i][1] * gradient[1] + camera.turn[i][2] * gradient[2]) * scale
        for i in range(3)
    ]
    bowl = _bell((inside - 0.55) / 0.3)
    skin = _colour(_SKIN, p.skin_tone) * torch.tensor([1.0, 0.85, 0.83]).view(3, 1) * (1 - 0.45 * bowl)
    cover = _edge(inside, 2.5 * camera.pixel / reach)
    return camera.index, _shade(skin, normal, scene, shine=0.03), cover, depth


# ----------------------------------------------------------------------------------------------------------------- hair


def _build_hair(person, head, camera):
    """The hair as a second solid around the head with a hole for the face; None for a bald head."""
    p = person
    top, side, length, forward, curl, fringe = _HAIR_STYLES[tuple(_HAIR_STYLES)[_row(p.hair_style, _HAIR_STYLES)]]
    if top == 0:
        return None
    top, side, curl = top * p.hair_volume, side * p.hair_volume, curl * p.hair_volume
    crown = -p.skull_height - top
    skull = np.interp((-0.8, -0.6, -0.1, 0.3, 0.7), *zip(*head.widths, strict=True)).tolist()
    widths = [(0.86 * crown, 0.55 * skull[0] + 0.75 * top), (0.7 * crown, 0.8 * skull[0] + 0.5 * top + 0.5 * side)]
    widths += [
        (0.4 * crown, skull[1] + 0.2 * top + 0.8 * side),
        (-0.1, skull[2] + side),
        (0.35, skull[3] + side - 0.02),
    ]
    if length < 1:  # short hair sinks into the head below the ears
        widths += [(length, skull[4] - 0.12)]
        ends = [(crown - 1, -2.5), (crown, 0), (1.2, 0.2), (1.6, -1.0)]
    else:
        widths += [(0.9, p.face_width + 1.1 * side), (length - 0.15, p.face_width + 1.2 * side)]
        ends = [(crown - 1, -2.5), (crown, 0), (length, 0.6), (length + 0.35, -0.8)]
    outline = _table([(y, width**2) for y, width in widths] + ends)
    ratio = _table([(-1.2, 0.5), (-0.5, 0.5), (0.0, 0.6 + 0.1 * side), (1.0, 0.75)])
    line = _hair_line(p, max(0.36, p.hair_line - fringe))
    lean = 0.6 * p.hair_part * top
    down = (camera.turn[1] / camera.turn[1][1]).tolist()  # long hair hangs straight down, whatever the head's pose

    def distance(x, y, z):
        below = (y - 0.6).clamp_(min=0)
        back = (below * (1 / 1.5)).clamp_(max=1)
        x, z = torch.sub(x, below, alpha=down[0]), torch.sub(z, below, alpha=down[2])
        shell = _lathe(torch.add(x, (y + 0.4).clamp_(-1.2, 0), alpha=lean), y, z, outline, ratio)
        if curl > 0.03:
            shell.sub_(_value_noise(x * 3.3 + z * 1.7 + 31, y * 3.3 - z + 17), alpha=curl).add_(0.5 * curl)
        hole = torch.minimum(
            (y - _read_table(line, *_find_rows(x))).mul_(0.7), z - forward + 0.65 * back * back * (3 - 2 * back)
        )
        return torch.maximum(shell, hole)

    reach = max(width for _, width in widths) + 0.35
    return SimpleNamespace(distance=distance, line=line, top=crown, bottom=ends[2][0], reach=reach)


def _hair_line(person, height):
    """Table over x of the hair line's y: it climbs beside the middle, falls at the temples, is a little ragged."""
    x = _TABLE_TOP + _TABLE_STEP * np.arange(_TABLE_ROWS)
    recession = person.hair_recession * np.exp(-(((np.abs(x) - 0.5) / 0.2) ** 2))
    temples = 0.75 * (np.clip(x, -1.4, 1.4) / person.face_width) ** 6
    ragged = 0.12 * (_NOISE[0, 0, 0, :_TABLE_ROWS].double().numpy() - 0.5)
    slant = 0.12 * person.hair_part * np.clip(x, -1, 1)
    return _table(list(zip(x, temples - height - recession + slant + ragged, strict=True)))


def _draw_hair(person, scene, camera, hair):
    """Trace and light the hair, with strands: index, colour, cover, depth."""
    tall = (camera.v > hair.top - 0.4) & (camera.v < hair.bottom + 0.3)
    camera = _select(camera, tall & (camera.u.abs() < hair.reach))
    hit, cover, place, depth = _trace(hair.distance, camera, near=2.0, steps=16, least=0.4)
    normal = _normal(hair.distance, place, camera, step=0.05)
    x, y, z = place
    bend = 0.25 * person.hair_part
    across = x + bend * y
    strand = _value_noise(across * 16 + 5 * z, y * 1.7 - z * 1.5)
    strand.add_(_value_noise(across * 34 + 11 * z + 20, y * 3 - z * 2), alpha=0.6)
    tone = 0.55 + 0.6 * strand
    parting = _bell((x - 0.35 * person.hair_part) / 0.035) * (y < -0.9) * (z > 0)
    tone = tone * (1 - 0.3 * parting)
    colour = _shade(_hair_colour(person) * tone, normal, scene, shine=0.0, wrap=0.4)
    shine = _bell((normal[1] + 0.45 + 0.25 * (strand - 0.8)) / 0.18) * (0.3 + 0.5 * strand)
    return camera.index.index_select(0, hit), colour + 0.05 * scene.key * shine, cover, depth


# ----------------------------------------------------------------------------------------------- clothes, glasses, room


def _draw_torso(person, scene, camera):
    """Neck and shoulders, facing the camera: index, colour, cover, depth."""
    camera = _select(camera, camera.v > 0.6)
    u, v, pixel = camera.u - 0.15 * scene.roll, camera.v, camera.pixel
    side = u.abs()
    shoulders = v - 2.02 - 0.42 * (side - 0.5).clamp(min=0) ** 1.2 + 0.5 * (0.85 - side).clamp(0, 1)
    neck = torch.minimum(person.neck_width - 0.08 + 0.06 * (v - 1.4) ** 2 - side, v - 0.6)
    cover = _edge(torch.maximum(shoulders, neck), pixel)
    round_x = (u / torch.where(shoulders > 0, 2.6, person.neck_width * 1.08)).clamp(-0.97, 0.97)
    normal = [round_x, -0.25 * torch.exp(-shoulders.clamp(0, 9) * 3), (1 - round_x**2).sqrt()]
    scale = (normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2).rsqrt()
    normal = [value * scale for value in normal]
    skin = _colour(_SKIN, person.skin_tone).repeat(1, len(u))
    colour, dressed = _dress(skin, scene, u, v, shoulders, pixel)
    dim = 1 - 0.6 * (1 - (v - 1.3) / 0.7).clamp(0, 1) * (1 - dressed)  # the chin's shadow on the neck
    depth = person.neck_width * normal[2] - torch.where(shoulders > 0.05, 0.5, 0.3)
    return camera.index, _shade(colour, normal, scene, shine=0.01, dim=dim), cover, depth


def _dress(skin, scene, u, v, shoulders, pixel):
    """Put clothes on the torso's skin: round or deep neckline, shirt, tie. Returns colour and where cloth covers."""
    kind, first, second, crease = (float(value) for value in scene.clothes)
    cloth, other = _pick(_CLOTH, first), _pick(_CLOTH, second)
    side = u.abs()
    folds = 0.8 + 0.4 * _value_noise(u * 2.2 + 60 * crease, v * 1.1 + side)
    neckline = v - 2.12 + 0.62 * side * side if kind < 0.45 else 0.5 * (v - 2.75 + 1.3 * side)
    dressed = _edge(torch.minimum(neckline, shoulders + 0.1), 1.5 * pixel)
    colour = skin
    if kind > 0.6:  # a shirt under a jacket or a jumper
        opening = torch.maximum(0.6 * (v - 2.3 + 1.1 * side), neckline)
        shirt = _edge(torch.minimum(opening, shoulders + 0.1), 1.5 * pixel)
        colour = colour.lerp(_colour(_WHITE, 0.0) * folds, shirt)
    if kind > 0.8:
        tie = _edge(0.07 + 0.03 * (v - 2.2) - side, 1.5 * pixel) * (v > 2.28)
        colour = colour.lerp(other * folds, tie)
    hem = 1 - 0.25 * _bell((neckline - 0.05) / 0.03) * dressed
    return colour.lerp(cloth * folds, dressed) * hem, dressed


def _draw_glasses(canvas, person, camera):
    """Rims, bridge and a faint reflection in a plane before the eyes, drawn onto the canvas."""
    p, pixel = person, camera.pixel
    depth = (1.36 - camera.start[2]) / camera.ray[2]
    x, y = (camera.start[i] + depth * camera.ray[i] for i in range(2))
    side = x.abs()
    power = 2 + 4 * p.glasses_shape
    across, down = (side - p.eye_distance - 0.02).abs() / 0.36, (y - 0.05).abs() / (0.34 - 0.08 * p.glasses_shape)
    ring = 0.3 * (across**power + down**power + 1e-6) ** (1 / power) - 0.3  # a superellipse: round to square
    thick = 0.02 + 0.035 * p.glasses_dark
    rim = _edge(thick - ring.abs(), pixel)
    bridge = _edge(torch.minimum(0.025 + 0.3 * thick - (y + 0.06).abs(), p.eye_distance - 0.3 - side), pixel)
    colour = torch.tensor([0.17, 0.14, 0.11]).view(3, 1) * (1.05 - p.glasses_dark)
    lens = _edge(-ring, pixel)
    streak = _edge(0.05 - (x - 0.6 * y - p.eye_distance * x.sign() + 0.1).abs(), 0.06)
    canvas.add_(0.06 * lens * streak)
    canvas.lerp_(colour.expand_as(canvas), torch.maximum(rim, bridge))


def _draw_background(rng, size):
    """A room out of focus in linear light [3, size, size]: a wall's gradient, soft boxes, uneven light."""
    number = int(rng.integers(0, 7))
    picks, boxes = rng.random(9), rng.random((7, 5))
    colours = [_pick(_ROOM, pick)[:, :, None] for pick in picks]
    axis = torch.linspace(0, 1, size)
    canvas = torch.lerp(colours[0], colours[1], 0.5 * axis[:, None]).repeat(1, 1, size)
    for colour, (x, y, width, height, blur) in zip(colours[2:], boxes[:number].tolist(), strict=False):
        soft = 0.04 + 0.12 * blur
        across = _edge(0.05 + 0.2 * width - (axis - x).abs(), soft)
        down = _edge(0.1 + 0.5 * height - (axis - y).abs(), soft)
        canvas.lerp_(colour, 0.8 * down[:, None] * across)
    patches = torch.from_numpy(rng.random((1, 1, 5, 5)).astype(np.float32))
    light = functional.interpolate(patches, (size, size), mode="bicubic", align_corners=True)[0]
    return canvas.mul_(0.6 + 0.7 * light).clamp_(0.005, 1)


def _develop(canvas, scene, rng):
    """Lens blur, sensor grain, gamma: uint8 [3, size, size]."""
    size = canvas.shape[-1]
    grain = torch.from_numpy(rng.standard_normal((1, size, size), dtype=np.float32))
    for axis in (1, 2):
        near = canvas.narrow(axis, 0, size - 2) + canvas.narrow(axis, 2, size - 2)
        canvas.narrow(axis, 1, size - 2).mul_(1 - scene.blur).add_(near, alpha=scene.blur / 2)
    tone = torch.exp(canvas.clamp_(min=0).mul_(-1.6)).mul_(-1.12).add_(1.12)  # a soft shoulder, as film has
    srgb = tone.clamp_(1e-6, 1).log2_().mul_(1 / 2.2).exp2_() + scene.grain * grain
    return (srgb * 255).round().clamp(0, 255).to(torch.uint8)
