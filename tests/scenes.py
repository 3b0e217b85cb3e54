"""Pictures made by code for the detector: synthetic identities somewhere in a larger scene, and scenes without any face."""

from functools import lru_cache
from io import BytesIO
from types import SimpleNamespace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw

from ppe.datasets import synthetic
from ppe.datasets.synthetic.scene import draw_background, sample_scene
from ppe.faces import LANDMARK_COLUMNS, detect_faces

CUT_OUT = 256
"""Side in pixels at which a person is cut out; a head takes about 45 % of it."""
HEAD = 0.45
NUM_PEOPLE = 53
"""People who may stand in a scene. A prime number, so that all occur in scenes of each kind."""
SURE = 0.995
"""Probability of a close-up from which its landmarks are taken for the truth."""
LETTERS = "Exit Open Sale 24 km Platform 7 No smoking 1 234,50 lorem ipsum dolor sit amet"


class Face(NamedTuple):
    """Where a face stands in a scene."""

    landmarks: np.ndarray  # [5, 2], pixels of the scene, in the order of ``LANDMARKS``
    width: float  # of the head, in pixels of the scene


class Scene(NamedTuple):
    """A picture and the faces in it, the largest first."""

    photo: np.ndarray  # uint8 [H, W, 3]
    faces: list


@lru_cache(maxsize=512)
def cut_out(person, photo):
    """A person without background: premultiplied colour [S, S, 3] and cover [S, S, 1] in [0, 1], and the landmarks [5, 2]."""
    vectors = synthetic.sample_identities(1, seed=77, first=person)
    numbers = SimpleNamespace(**dict(zip(synthetic.PARAMETERS, vectors[0].tolist(), strict=True)))
    rng = np.random.default_rng([person, photo])
    scene = sample_scene(rng)
    still = SimpleNamespace(**{**vars(scene), "blur": 0.0, "grain": 0.0, "quality": 95})
    with torch.inference_mode():
        dark, bright = (
            synthetic._draw_photo(numbers, still, torch.full((3, CUT_OUT, CUT_OUT), level), np.random.default_rng(0))
            for level in (0.0, 20.0)
        )
    dark, bright = (part.permute(1, 2, 0).numpy().astype(np.float32) for part in (dark, bright))
    through = (bright - dark).mean(2, keepdims=True)
    cover = 1 - through / through.max()
    wall = (dark + (1 - cover) * 150).clip(0, 255).astype(np.uint8)
    row = detect_faces([wall]).iloc[0]
    is_sure = row.probability > SURE  # else the landmarks of this close-up may be wrong, and the person is not used
    return dark, cover, row[LANDMARK_COLUMNS].to_numpy(float).reshape(5, 2) if is_sure else None


def draw_backdrop(rng, height, width, kind=None):
    """A picture without a face, uint8 [height, width, 3]: a room, noise, stripes, shapes, text, or a grid of windows."""
    kind = rng.choice(["room", "noise", "stripes", "shapes", "text", "windows"]) if kind is None else kind
    side = max(height, width)
    room = draw_background(rng, 128)
    room = (room.clamp(0, 1) ** (1 / 2.2) * 255).byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(room).resize((side, side), Image.Resampling.BICUBIC).crop((0, 0, width, height))
    draw = ImageDraw.Draw(picture)
    colour = lambda: tuple(rng.integers(0, 256, 3).tolist())  # noqa: E731
    if kind == "noise":
        total = np.zeros((height, width, 3), np.float32)
        for octave in range(2, 8):
            grid = Image.fromarray(rng.integers(0, 256, (2**octave, 2**octave, 3), np.uint8))
            total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 2 ** (0.7 * octave)
        picture = Image.fromarray(((total - total.min()) / np.ptp(total) * 255).astype(np.uint8))
    elif kind == "stripes":
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        wave = np.sin((x * rng.normal() + y * rng.normal()) / side * rng.uniform(20, 200))
        wave = wave * np.sin((x * rng.normal() + y * rng.normal()) / side * rng.uniform(5, 60))
        low, high = np.array(colour()), np.array(colour())
        picture = Image.fromarray((low + (high - low) * (wave[..., None] / 2 + 0.5)).astype(np.uint8))
    elif kind == "shapes":
        for _ in range(int(rng.integers(10, 80))):
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            a, b = rng.uniform(0.01, 0.15, 2) * side
            shape = draw.ellipse if rng.random() < 0.6 else draw.rectangle
            shape((x - a, y - b, x + a, y + b), fill=colour(), outline=colour(), width=int(rng.integers(1, 6)))
    elif kind == "text":
        for _ in range(int(rng.integers(5, 40))):
            size = float(rng.uniform(0.02, 0.12) * side)
            start = int(rng.integers(0, len(LETTERS) - 12))
            place = (rng.uniform(-0.1, 0.9) * width, rng.uniform(0, 0.95) * height)
            draw.text(place, LETTERS[start : start + int(rng.integers(2, 12))], fill=colour(), font_size=size)
    elif kind == "windows":
        step, frame = rng.uniform(0.04, 0.2) * side, colour()
        inside = rng.uniform(0.4, 0.9)
        for x in np.arange(0, width, step):
            for y in np.arange(0, height, step * rng.uniform(0.9, 1.4)):
                draw.rectangle((x, y, x + inside * step, y + inside * step), fill=colour(), outline=frame, width=2)
    return np.array(picture)


def paste(photo, person, number, width, centre, roll=0.0):
    """Paste a person with a head ``width`` px wide, its face's middle at ``centre``, turned by ``roll`` degrees: a ``Face``."""
    dark, cover, landmarks = cut_out(person, number)
    scale = width / (HEAD * CUT_OUT)
    angle = np.deg2rad(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    middle = landmarks.mean(0)
    shift = np.asarray(centre) - turn @ middle
    # Reduced first where the scene is coarser, so that nothing aliases; then one affine map.
    factor = min(1.0, scale)
    side = max(8, round(CUT_OUT * factor))
    layers = np.concatenate([dark, cover * 255], 2)
    if side < CUT_OUT:
        layers = np.stack([np.asarray(Image.fromarray(layers[..., k]).resize((side, side), Image.Resampling.BOX))
                           for k in range(4)], 2)  # fmt: skip
    factor = side / CUT_OUT
    edges = turn / factor  # positions count from pixel edges here, and from centres in warpAffine
    affine = np.column_stack([edges, shift + 0.5 * (edges - turn).sum(1)])
    size = photo.shape[1::-1]
    placed = cv2.warpAffine(layers, affine, size, flags=cv2.INTER_LINEAR)
    alpha = placed[..., 3:] / 255
    photo[:] = (placed[..., :3] + (1 - alpha) * photo).clip(0, 255).astype(np.uint8)
    return Face(landmarks @ turn.T + shift, width)


def compress(photo, quality):
    file = BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


KINDS = ("plain", "edge", "two", "rolled", "turned-90", "turned-180", "turned-270", "dark", "bright", "compressed")


def draw_scene(number, kind=None, width=None):
    """Scene ``number``: a function of its arguments alone.

    kind : one of ``KINDS``, or None for the number's own.
    width : of the head in pixels, or None: 4 to 60 % of the longer side, at least 32 px.
    """
    rng = np.random.default_rng([7, number])
    kind = KINDS[number % len(KINDS)] if kind is None else kind
    long = int(rng.integers(300, 1025))
    short = int(long * rng.uniform(0.6, 1))
    height, wide = (long, short) if rng.random() < 0.5 else (short, long)
    photo = draw_backdrop(rng, height, wide)
    if width is None:
        width = max(32.0, long * float(np.exp(rng.uniform(np.log(0.04), np.log(0.6)))), 0.04 * long)
    width = min(width, 0.75 * short)
    persons, faces = iter((number * 7 + k) % NUM_PEOPLE for k in range(NUM_PEOPLE)), []

    def pick():
        while True:
            person = next(persons)
            if cut_out(person, 0)[2] is not None:
                return person

    at_edge = 0.62 if kind == "edge" else 0.75
    low, high = at_edge * width, np.array([wide, height]) - at_edge * width
    centre = [rng.uniform(low, max(low + 1, limit)) for limit in high]
    if kind == "edge":
        axis = int(rng.integers(0, 2))
        centre[axis] = low if rng.random() < 0.5 else max(low, high[axis])
    roll = {"rolled": float(rng.uniform(-30, 30))}.get(kind, float(rng.normal() * 4))
    if kind == "two":
        width = min(width, 0.3 * long, 0.45 * short)
        other = width / 2
        half = wide >= height
        span = (wide if half else height)
        a, b = 0.25 * span, 0.78 * span
        first, second = (a, b) if rng.random() < 0.5 else (b, a)
        across = rng.uniform(0.35, 0.65) * (height if half else wide)
        faces.append(paste(photo, pick(), 0, other, (second, across) if half else (across, second)))
        centre = (first, across) if half else (across, first)
    faces.insert(0, paste(photo, pick(), 0, width, centre, roll))
    if kind.startswith("turned"):
        times = int(kind.split("-")[1]) // 90
        for _ in range(times):  # anticlockwise: (x, y) -> (y, W - 1 - x)
            last = photo.shape[1] - 1
            photo = np.rot90(photo)
            faces = [Face(np.column_stack([face.landmarks[:, 1], last - face.landmarks[:, 0]]), face.width) for face in faces]
    elif kind == "dark":
        photo = (photo * rng.uniform(0.15, 0.4)).astype(np.uint8)
    elif kind == "bright":
        photo = (photo * rng.uniform(1.3, 1.7)).clip(0, 255).astype(np.uint8)
    elif kind == "compressed":
        photo = compress(photo, int(rng.integers(8, 20)))
    return Scene(np.ascontiguousarray(photo), faces)


def draw_faceless(number):
    """Picture ``number`` without any face: a function of the number alone."""
    rng = np.random.default_rng([8, number])
    long = int(rng.integers(200, 1025))
    short = int(long * rng.uniform(0.6, 1))
    photo = draw_backdrop(rng, *((long, short) if rng.random() < 0.5 else (short, long)))
    return compress(photo, int(rng.integers(10, 95)))


def measure_error(landmarks, face):
    """Mean distance of landmarks [5, 2] from those of a face, as a share of its distance between the eyes."""
    eyes = np.linalg.norm(face.landmarks[0] - face.landmarks[1])
    return float(np.linalg.norm(np.asarray(landmarks) - face.landmarks, axis=1).mean() / eyes)
