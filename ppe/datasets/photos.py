"""Photo files under a root: list and decode them. An unusable file gets a reason and never raises an error.

Listing and decoding share this module, because they must agree on names, links and reasons.
"""

import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

MAX_SIDE = 10_000
"""Longest side in pixels; a larger photo is refused as a scan, a panorama or a decompression bomb."""
LONG_SIDE = 1_024
"""Longest side in pixels after reading; larger photos are reduced, so that memory is bounded."""
PHOTO_SUFFIXES = {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
OTHER_SUFFIXES = {".avif", ".cr2", ".dng", ".heic", ".heif", ".jp2", ".jxl", ".nef", ".psd", ".svg"}  # listed, but not read
JPEG_END, FILLING = b"\xff\xd9", b"\x55" * 2**16
ORIENTATION = 0x0112  # the EXIF tag
MIN_ROWS = 0.5
"""Least share of its rows that a truncated photo must have."""


class Photo(NamedTuple):
    """A photo as it was read.

    pixels : uint8 [H, W, 3], RGB, upright, sides at most ``LONG_SIDE``; None if it cannot be read.
    reason : str, why it cannot be read.
    note : str, what is particular about it.
    whole : function without arguments that reads it again in its full size, or None if ``pixels`` has that.
    """

    pixels: np.ndarray | None
    reason: str = ""
    note: str = ""
    whole: Callable | None = None


def walk_photos(root):
    """List the photos under a folder: (path with forward slashes, reason why it is unusable or "").

    A folder that is not searched, because it is a link or not accessible, is one entry that ends with a slash.
    """
    found, locked = [], []
    for folder, folders, names in os.walk(root, onerror=locked.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [(Path(folder, name), "/", "a link to a folder, which is not followed")
                  for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in PHOTO_SUFFIXES | OTHER_SUFFIXES and not name.startswith("."):
                reason = f"{suffix} is not read: save it as .jpg or .png" if suffix in OTHER_SUFFIXES else ""
                found.append((Path(folder, name), "", reason))
    found += [(Path(error.filename), "/", f"a folder that cannot be listed: {describe_error(error)}") for error in locked]
    if not found:
        raise ValueError(f"{root} holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))}): give the right folder "
                         "(params.yaml: datasets, root)")
    entries, taken = [], {location.relative_to(root).as_posix() for location, _, _ in found}
    for location, slash, reason in found:
        path = location.relative_to(root).as_posix() + slash
        # A line break in a name would break every table that contains the name.
        name = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda found: ascii(found[0])[1:-1],
                      os.fsencode(path).decode("utf-8", "backslashreplace"))
        wrong = "" if name == path else "its name is not UTF-8, or holds a control character: rename it"
        while wrong and name in taken:  # another file may have the escaped name
            name += "?"
        taken.add(name)
        entries.append((name, reason or wrong))
    return entries


def load_photo(root, path, long_side=LONG_SIDE):
    """Decode a photo to a ``Photo`` whose sides are at most ``long_side``.

    Transparent photos are composited over white, 16-bit grey is scaled to 8 bits, an animation yields its first frame,
    and colour profiles are ignored. A truncated JPEG gives the rows that are there.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it; a truncated photo must not count as read
    location, reason = _locate(root, path)
    if reason:
        return Photo(None, reason)
    read = partial(_read_photo, long_side=long_side)
    photo = _open_photo(location, read)
    if isinstance(photo, str) and "truncated" in photo:
        photo = _read_truncated(location, read, photo)
    if isinstance(photo, str):
        return Photo(None, photo)
    return photo._replace(whole=partial(load_photo, root, path, MAX_SIDE) if photo.whole else None)


def _read_photo(image, long_side):
    """The Photo of an opened file; ``whole`` is not None if it was reduced."""
    size = max(image.size)
    pixels = np.array(_shrink(_convert_to_rgb(_load_upright(image, long_side)), long_side))
    return Photo(pixels, whole=load_photo if size > max(pixels.shape) else None)


def _read_truncated(location, read, reason):
    """The Photo of a JPEG that ends early, down to its last row, or the reason (str) if too little is there.

    Two continuations of the file are decoded: rows in which they agree do not depend on what is lost.
    """
    data = Path(location).read_bytes().rstrip(b"\xff")  # half a marker
    try:
        ends = (io.BytesIO(data + JPEG_END), io.BytesIO(data + FILLING + JPEG_END))
        with Image.open(ends[0]) as image, Image.open(ends[1]) as other:
            can_be_cut = image.format == "JPEG" and "progressive" not in image.info and image.getexif().get(ORIENTATION, 1) == 1
            photo, pixels = read(image), read(other).pixels
    except Exception:  # as in _open_photo
        return reason
    differing = np.flatnonzero((photo.pixels != pixels).any((1, 2)))
    if not len(differing):
        return photo._replace(note="the file ends early, but no row is lost")
    kept, num_rows = differing[0] - 2, len(pixels)  # colours are interpolated over two rows
    if kept < MIN_ROWS * num_rows or not can_be_cut:
        return reason
    note = f"the file ends early: the lowest {1 - kept / num_rows:.0%} of its rows are lost"
    # Another size would be cut at another share of its height: such a face is cut out of these pixels.
    return photo._replace(pixels=photo.pixels[:kept], note=note, whole=None)


def describe_file(root, path):
    """Size in bytes, sha256 and reason (str, "" if usable) of a file, without decoding its pixels."""
    location, reason = _locate(root, path)
    if reason:
        return 0, "", reason
    try:
        with open(location, "rb") as file:
            size, digest = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return 0, "", describe_error(error)
    return size, digest, _open_photo(location, lambda image: "")


def _open_photo(location, read):
    """Open a photo, check its size, and return ``read(image)``, or the reason (str) why it cannot be read."""
    try:
        if not os.path.getsize(location):
            return "the file is empty"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mostly about metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(location) as image:
                if max(image.size) > MAX_SIDE:
                    return f"{image.width} x {image.height} pixels: more than {MAX_SIDE} on a side"
                return read(image)
    except UnidentifiedImageError:  # its message contains the absolute path
        return "the file is not a picture of a known format"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels: refused as a decompression bomb"
    except Exception as error:  # Pillow's decoders raise many types, and one bad file is never fatal
        return describe_error(error)


def _locate(root, path):
    """(absolute path, "") of a photo, or (None, reason); links out of the root are not followed."""
    try:
        location = os.path.realpath(os.path.join(root, path), strict=True)
    except (OSError, ValueError) as error:
        return None, describe_error(error)
    if not Path(location).is_relative_to(os.path.realpath(root)):
        return None, "a link out of the root, which is not followed"
    return (location, "") if os.path.isfile(location) else (None, "not a regular file")


def describe_error(error):
    """Message of an error without the file's name, so that it is the same on all machines."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _load_upright(image, long_side):
    image.draft(None, (long_side, long_side))  # a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the EXIF block is damaged, but the pixels are not
        return image


def _convert_to_rgb(image):
    if image.mode.startswith(("I", "F")):  # Pillow's conversion would clip 16 bits at 255 instead of scaling them
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"a picture of 32 bits a pixel (mode {image.mode}) with an unknown white level")
        image = Image.fromarray(((values.astype(np.int32) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _shrink(image, long_side):
    # A box filter to twice the size, then an antialiasing filter; smaller photos keep their size.
    image.thumbnail((long_side, long_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image
