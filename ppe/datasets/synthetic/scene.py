"""Properties of a photo, independent of the identity: pose, expression, one to three lights, background, camera."""

from io import BytesIO
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from ppe.datasets.synthetic.shapes import edge, pick_colour

PHOTO_STREAM = 12  # separates the random numbers of photos from those of identities (PERSON_STREAM)
ROOM = "c9c4ba a3a8ab d8d9d8 3a3c42 465063 73655a 66735f a3b4c2 80675c 6b7f84 b3a488 7d7883"  # sRGB
MAX_YAW, MAX_PITCH, MAX_ROLL = 0.785, 0.3, 0.25  # radians
SECOND_LIGHT, THIRD_LIGHT = 0.5, 0.8  # a uniform number above adds a second, a third light
BLINK, LOCK = 0.04, 0.12  # chances of closed eyes, and of a lock over the face
EXPOSED_FOR = 1.25  # total strength of the lights at which the exposure is 1
SCATTER = (1.35, 1.0, 0.85)  # relative subsurface scattering of red, green, blue: red light penetrates skin deepest


def sample_scene(rng):
    """Draw a photo's scene; the number of random numbers is constant."""
    normal, uniform = rng.standard_normal(24), rng.random(24)
    fill, lights = _expose(_tint(0.36 + 0.22 * uniform[2], -0.06 * normal[1]), _sample_lights(normal, uniform))
    return SimpleNamespace(
        yaw=float(np.clip(0.22 * normal[2], -MAX_YAW, MAX_YAW)),
        pitch=float(np.clip(0.1 * normal[3], -MAX_PITCH, MAX_PITCH)),
        roll=float(np.clip(0.08 * normal[4], -MAX_ROLL, MAX_ROLL)),
        zoom=float(1 + 0.05 * np.clip(normal[5], -2, 2)),
        shift=(0.09 * float(np.clip(normal[6], -2, 2)), 0.07 * float(np.clip(normal[7], -2, 2))),
        lights=lights,
        fill=fill,
        smile=float(np.clip(0.1 + 0.6 * uniform[3] + 0.15 * normal[8], -0.05, 1)),
        open=float(max(0.0, uniform[4] - 0.45)),
        gaze=(0.025 * float(np.clip(normal[9], -2, 2)), 0.012 * float(np.clip(normal[10], -2, 2))),
        lids=0.1 if uniform[15] < BLINK else float(1 + 0.1 * np.clip(normal[11], -2, 1)),
        brows=float(0.025 * normal[12]),
        lock=float(np.sign(normal[13]) * (0.5 + 0.7 * uniform[17])) if uniform[16] < LOCK else 0.0,
        glasses=float(uniform[5]),
        clothes=uniform[6:10],
        blur=float(0.15 + 0.35 * uniform[13]),
        grain=float(0.003 + 0.008 * uniform[14]),
        quality=int(70 + 25 * uniform[18]),
    )


def make_plain_scene():
    """Scene of a passport photo, for `draw_steps`: frontal, at rest, one soft light, no grain."""
    scene = sample_scene(np.random.default_rng(0))
    pose = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "zoom": 1.0, "shift": (0.0, 0.0), "gaze": (0.0, 0.0)}
    rest = {"smile": 0.1, "open": 0.0, "lids": 1.0, "brows": 0.0, "lock": 0.0, "glasses": 1.0}
    camera = {"lights": [(_aim(0.5, -0.6, 1.0), _tint(0.75, 0.0))], "fill": _tint(0.45, 0.0), "blur": 0.0, "grain": 0.0}
    return SimpleNamespace(**{**vars(scene), **pose, **rest, **camera, "quality": 95})


def _sample_lights(normal, uniform):
    """Draw one to three lights (direction, colour): a key light from above and in front, the others weaker and more coloured."""
    lights = [(_aim(0.75 * normal[0], -0.5 - 0.5 * uniform[0], 1.0), _tint(0.58 + 0.28 * uniform[1], 0.12 * normal[1]))]
    if uniform[19] > SECOND_LIGHT:
        side = -np.sign(normal[0]) * (0.6 + 0.8 * uniform[20])
        lights.append((_aim(side, 0.4 * normal[14], 0.5 * uniform[21] - 0.1), _tint(0.15 + 0.3 * uniform[22], 0.25 * normal[15])))
    if uniform[19] > THIRD_LIGHT:
        lights.append((_aim(normal[16], -1.0, -0.2), _tint(0.1 + 0.3 * uniform[23], 0.25 * normal[17])))
    return lights


def _expose(fill, lights):
    """Reduce the exposure in bright light and raise it in dim light, as a camera does, but incompletely."""
    total = sum((float(colour.mean()) for _, colour in lights), start=float(fill.mean()))
    exposure = (EXPOSED_FOR / total) ** 0.6
    return fill * exposure, [(direction, colour * exposure) for direction, colour in lights]


def _aim(x, y, z):
    """Unit vector towards a light, in camera axes."""
    return np.array([x, y, z]) / np.linalg.norm([x, y, z])


def _tint(strength, warm):
    """Colour [3, 1] of a light; ``warm`` above 0 gives more red and less blue."""
    return torch.tensor(strength * np.array([1 + warm, 1.0, 1 - warm]), dtype=torch.float32).view(3, 1)


def shade(albedo, normal, scene, shine, wrap=0.25, dim=1.0, lit=1.0):
    """Illuminate a surface by wrapped diffuse lights, the sky and a broad highlight of the key light: linear light [3, n].

    ``lit`` is the unblocked share of the key light; ``dim`` is a factor on every light.
    """
    nx, ny, nz = normal
    spread = torch.tensor(SCATTER).view(3, 1) * wrap
    light = scene.fill * ((0.75 - 0.25 * ny + 0.2 * nz) * dim)
    for number, (direction, colour) in enumerate(scene.lights):
        x, y, z = direction.tolist()
        lambert = ((x * nx + y * ny + z * nz + spread) / (1 + spread)).clamp_(0, 1)
        light.addcmul_(colour, lambert.mul_(dim * lit if number == 0 else dim))
    (x, y, z), key = scene.lights[0]
    x, y, z = _aim(x, y, z + 1.0).tolist()
    gloss = (x * nx + y * ny + z * nz).clamp_(0, 1)
    for _ in range(4):  # to the 16th power: squaring is much faster than pow
        gloss.square_()
    return albedo * light + key * (gloss * (shine * lit))


def draw_background(rng, size):
    """Draw a blurred room in linear light [3, size, size]: a wall with a gradient, soft boxes, uneven light."""
    number = int(rng.integers(0, 7))
    picks, boxes = rng.random(9), rng.random((7, 5))
    colours = [pick_colour(ROOM, pick)[:, :, None] for pick in picks]
    axis = torch.linspace(0, 1, size)
    canvas = torch.lerp(colours[0], colours[1], 0.5 * axis[:, None]).repeat(1, 1, size)
    for colour, (x, y, width, height, blur) in zip(colours[2:], boxes[:number].tolist(), strict=False):
        soft = 0.1 + 0.25 * blur
        across = edge(0.05 + 0.2 * width - (axis - x).abs(), soft)
        down = edge(0.1 + 0.5 * height - (axis - y).abs(), soft)
        canvas.lerp_(colour, 0.8 * down[:, None] * across)
    patches = torch.from_numpy(rng.random((1, 1, 5, 5)).astype(np.float32))
    light = functional.interpolate(patches, (size, size), mode="bicubic", align_corners=True)[0]
    return canvas.mul_(0.6 + 0.7 * light).clamp_(0.005, 1)


def develop(canvas, scene, rng):
    """Apply lens blur, sensor noise, tone curve and JPEG to linear light [3, size, size]: uint8 of the same shape."""
    size = canvas.shape[-1]
    grain = torch.from_numpy(rng.standard_normal((1, size, size), dtype=np.float32))
    for axis in (1, 2):
        near = canvas.narrow(axis, 0, size - 2) + canvas.narrow(axis, 2, size - 2)
        canvas.narrow(axis, 1, size - 2).mul_(1 - scene.blur).add_(near, alpha=scene.blur / 2)
    tone = torch.exp(canvas.clamp_(min=0).mul_(-1.5)).mul_(-1.12).add_(1.12)  # a soft shoulder, as of film
    srgb = tone.clamp_(1e-6, 1).log2_().mul_(1 / 2.2).exp2_() + scene.grain * grain
    pixels = (srgb * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()
    file = BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "JPEG", quality=scene.quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
