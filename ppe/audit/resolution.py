"""How generated faces lie in their pictures, and how much detail they hold: both are measured on a sample of them.

The study's own generators draw crops that are aligned to the template of ``ppe.faces.alignment``; others draw photos in which a
face must be found first. Real photos are brought down to the generator's resolution before any model sees them.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from ppe.faces import LANDMARK_COLUMNS, TEMPLATE, detect_faces, resize_faces
from ppe.faces.alignment import align_faces, measure_scale

CROP = 112
"""Side of an aligned face of a photo, in pixels."""
SIZES = (16, 24, 32, 48, 64, 96, 112)
"""Resolutions to which photos are reduced; an aligned crop keeps its own."""
SAMPLE = 128
"""Pictures of a sample."""
MAX_OFFSET, MAX_SCATTER = 0.1, 0.25
"""Largest distance from the template of a sample's median landmarks, and largest median distance of a picture's landmarks, in
distances of the eyes, of crops that count as aligned. FastGAN at 32 px has 0.07 and 0.12, much of it the detector's error."""
MIN_FOUND = 0.1
"""Least share of sampled pictures with a face."""
SQUARE = 0.9
"""Least share of square pictures among aligned crops."""


class Form(NamedTuple):
    """What was measured of the generated faces.

    is_aligned : bool, crops aligned to the template, which need no detection.
    resolution : int, pixels of an aligned face; real photos are reduced to it.
    side : int, median side of a picture in pixels.
    num_sampled, num_found : int, pictures that were read, and those with a face.
    offset : float, distance of their median landmarks from the template, in distances of the eyes.
    is_coarse : bool, the faces hold less detail than their pixels could.
    """

    is_aligned: bool
    resolution: int
    side: int
    num_sampled: int
    num_found: int
    offset: float
    is_coarse: bool


def measure_form(generated, real, *, rules, detector, detail_error, seed=0):
    """Measure how generated faces lie in their pictures, and their resolution.

    Parameters
    ----------
    generated, real : ppe.audit.inputs.Source. Generated pictures, and photos of people.
    rules : the section ``detection`` of params, for the photos.
    detector : MTCNN of ``ppe.faces.build_detector``.
    detail_error : float
        Relative difference up to which generated faces count as holding as much detail as photos.
    seed : int, of the samples.

    Returns
    -------
    Form

    Raises
    ------
    ValueError
        If no picture can be read, or hardly any of them shows a face.
    """
    pictures = read_sample(generated, seed)
    if not pictures:
        raise ValueError(f"none of {min(SAMPLE, len(generated))} sampled pictures of --generated can be read")
    found = detect_faces(pictures, rules=None, detector=detector)
    marks = found.loc[found.detected, LANDMARK_COLUMNS].to_numpy().reshape(-1, 5, 2)
    shown = [pictures[i] for i in np.flatnonzero(found.detected)]
    if len(shown) < MIN_FOUND * len(pictures):
        raise ValueError(
            f"a face was found in {len(shown)} of {len(pictures)} sampled pictures of --generated: an audit needs "
            "pictures of one face each, upright, and as large as the picture allows"
        )
    side = int(np.median([min(picture.shape[:2]) for picture in pictures]))
    scaled = np.array([_scale_marks(*pair) for pair in zip(shown, marks, strict=True)])
    offset, scatter = _measure_offset(np.median(scaled, axis=0)), np.median([_measure_offset(points) for points in scaled])
    is_square = np.mean([picture.shape[0] == picture.shape[1] for picture in pictures]) >= SQUARE
    is_aligned = bool(is_square and offset <= MAX_OFFSET and scatter <= MAX_SCATTER)
    if is_aligned:
        largest = min(side, CROP)
        crops = np.stack([cut_square(picture, largest) for picture in pictures if picture.shape[0] == picture.shape[1]])
    else:
        pixels = np.median([CROP / measure_scale(points) for points in marks])
        largest = max(size for size in SIZES if size <= max(pixels, SIZES[0]))
        crops = resize_faces(align_faces(shown, marks, CROP), largest).numpy()
    resolution = _find_detail(crops, _crop_photos(real, rules, detector, seed, largest), largest, detail_error)
    return Form(is_aligned, resolution, side, len(pictures), len(shown), offset, resolution < largest)


def read_sample(source, seed, count=SAMPLE):
    """Pixels of ``count`` pictures, drawn without repetition, in their order; fewer where some cannot be read."""
    rows = np.random.default_rng(seed).permutation(len(source))[:count]
    photos = (source.read(int(row), int(row) + 1)[0] for row in np.sort(rows))
    return [photo.pixels for photo in photos if photo.pixels is not None]


def cut_square(picture, resolution):
    """An aligned crop at another resolution: uint8 [H, H, 3] -> uint8 [3, resolution, resolution], by area averaging."""
    if picture.shape[0] >= resolution:
        return resize_faces(picture.transpose(2, 0, 1)[None], resolution)[0].numpy()
    enlarged = Image.fromarray(picture).resize((resolution, resolution), Image.Resampling.BICUBIC)
    return np.asarray(enlarged).transpose(2, 0, 1)


def _scale_marks(picture, marks):
    """Landmarks [5, 2] in pixels of a picture -> in pixels of the template's crop."""
    return (marks + 0.5) * (CROP / np.array(picture.shape[1::-1])) - 0.5


def _measure_offset(marks):
    """Root mean square distance of landmarks [5, 2] from the template, in distances of the template's eyes."""
    return float(np.sqrt(((marks - TEMPLATE) ** 2).sum(1).mean()) / np.linalg.norm(TEMPLATE[0] - TEMPLATE[1]))


def _crop_photos(source, rules, detector, seed, size):
    """Aligned faces of a sample of photos, uint8 [n, 3, size, size]."""
    photos = read_sample(source, seed, SAMPLE // 2)
    found = detect_faces(photos, rules=rules, detector=detector)
    rows = np.flatnonzero(found.detected)
    marks = found.loc[found.detected, LANDMARK_COLUMNS].to_numpy().reshape(-1, 5, 2)
    return resize_faces(align_faces([photos[i] for i in rows], marks, CROP), size).numpy()


def _find_detail(generated, real, largest, detail_error):
    """The resolution at which photos hold as much detail as generated faces; enlarged pictures look finer than they are.

    Photos are reduced to each resolution and enlarged again, as somebody may have enlarged the faces. The resolution whose photos
    are most like the faces is taken, but the full one where that is alike enough.
    """
    sizes = [size for size in SIZES if size < largest]
    if not sizes or not len(real):
        return largest
    wanted = np.array([measure_detail(real, size) for size in sizes])
    held = np.array([measure_detail(generated, size) for size in sizes])
    errors = {largest: np.linalg.norm(wanted - held) / np.linalg.norm(wanted)}
    for resolution in sizes:
        photos = np.stack([_enlarge(face, resolution, largest) for face in real])
        left = np.array([measure_detail(photos, size) for size in sizes])
        errors[resolution] = np.linalg.norm(left - held) / np.linalg.norm(wanted)
    return largest if errors[largest] <= detail_error else min(errors, key=errors.get)


def _enlarge(face, resolution, size):
    """Reduce a face, uint8 [3, H, H], to a resolution, and enlarge it to another: uint8 [3, size, size]."""
    return cut_square(cut_square(face.transpose(1, 2, 0), resolution).transpose(1, 2, 0), size)


def measure_detail(faces, size):
    """Measure how much of a face is finer than a resolution can show: float in [0, 1], the median over faces.

    The amplitude of the grey levels above the Nyquist frequency of ``size`` pixels, as a share of all amplitude. A Hann window
    hides the border.

    Parameters
    ----------
    faces : ndarray uint8 [n, 3, H, H]
    size : int, pixels, below H.
    """
    grey = np.asarray(faces, np.float64).mean(1)
    side = grey.shape[-1]
    window = np.hanning(side)[:, None] * np.hanning(side)
    grey = grey - (grey * window).sum((1, 2), keepdims=True) / window.sum()
    power = np.abs(np.fft.fft2(grey * window)) ** 2
    cycles = np.abs(np.fft.fftfreq(side, 1 / side))
    is_finer = np.maximum(cycles[:, None], cycles) > size / 2
    total = np.maximum(power.sum((1, 2)), 1e-9)
    return max(float(np.median(np.sqrt(power[:, is_finer].sum(1) / total))), 1e-6)
