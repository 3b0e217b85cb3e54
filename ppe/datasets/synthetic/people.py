"""The population of synthetic identities: the distribution of identity vectors, and the visible attributes of each identity.

Half the width of a head is about 1 unit; x points right, y down, z towards the viewer; the eyes lie at y = 0.
"""

import numpy as np
import torch

# name: (low, high, meaning). Uniform within the range, except where _sample_identity changes the distribution.
RANGES = {
    "femininity": (0.0, 1.0, "shifts jaw, brows, lips, hair length; no beard above 0.5"),
    "age": (20.0, 75.0, "years: wrinkles, folds, grey hair, bags under the eyes"),
    "skin_tone": (0.0, 1.0, "0 pale to 1 dark, along the ramp SKIN"),
    "skin_warmth": (-1.0, 1.0, "-1 olive to 1 ruddy"),
    "flush": (-0.5, 1.6, "redness of cheeks and nose; negative is sallow"),
    "freckles": (0.0, 1.0, "density; visible above 0.6"),
    "mole_x": (-0.7, 0.7, "position of a mole, units"),
    "mole_y": (0.2, 2.4, "position of a mole, units; no mole from 1.5 on"),
    "face_width": (0.84, 1.14, "half width at the cheekbones, units"),
    "forehead_width": (0.86, 1.02, "half width at the temples, share of face_width"),
    "jaw_width": (0.66, 0.97, "half width at the mouth, share of face_width"),
    "chin_width": (0.38, 0.68, "half width just above the chin, share of face_width"),
    "chin_length": (0.4, 0.72, "mouth to chin, units"),
    "chin_bulge": (0.0, 0.14, "height of the chin's relief, units"),
    "skull_height": (1.42, 1.68, "eyes to crown, units"),
    "cheekbones": (0.0, 0.16, "height of the cheekbones' relief, units"),
    "cheek_fat": (-0.12, 0.12, "height of the lower cheeks' relief, units; negative is gaunt"),
    "brow_ridge": (0.0, 0.15, "height of the brow ridge's relief, units"),
    "eye_distance": (0.36, 0.51, "middle of the face to a pupil, units"),
    "eye_width": (0.18, 0.28, "half width of the eye's opening, units"),
    "eye_height": (0.11, 0.24, "height of the eye's opening, units"),
    "eye_tilt": (-0.2, 0.28, "rise of the outer corner over the inner, slope"),
    "eye_depth": (0.03, 0.23, "depth of the sockets, units"),
    "eye_colour": (0.0, 1.0, "along the ramp IRIS: brown, hazel, green, blue, grey"),
    "lid_crease": (0.0, 1.0, "strength of the upper lid's crease; 0 is a monolid"),
    "eye_shade": (0.0, 0.75, "darkness of the skin around the eyes, share"),
    "brow_height": (0.22, 0.43, "pupil to brow, units"),
    "brow_thickness": (0.02, 0.115, "half thickness at the inner end, units"),
    "brow_arch": (0.0, 0.16, "height of the arch, units"),
    "brow_slope": (-0.13, 0.13, "rise of the outer end, units"),
    "brow_gap": (0.07, 0.24, "middle of the face to the inner end, units"),
    "nose_length": (0.56, 0.88, "eyes to the base of the nose, units"),
    "nose_width": (0.16, 0.34, "middle to the outside of a nostril, units"),
    "nose_height": (0.2, 0.52, "relief of the tip, units"),
    "nose_bridge": (0.06, 0.18, "half width of the bridge, units"),
    "nose_hump": (-0.05, 0.07, "relief of the ridge's middle; negative is concave, units"),
    "nose_tip": (0.09, 0.22, "radius of the tip, units"),
    "mouth_gap": (0.22, 0.42, "base of the nose to the line between the lips, units"),
    "mouth_width": (0.27, 0.47, "half width at rest, units"),
    "upper_lip": (0.03, 0.15, "thickness, units"),
    "lower_lip": (0.05, 0.2, "thickness, units"),
    "lip_colour": (0.0, 1.0, "0 skin colour to 1 red"),
    "ear_size": (0.26, 0.42, "half height, units"),
    "ear_angle": (0.0, 1.0, "0 flat to the head, 1 standing out"),
    "neck_width": (0.56, 0.8, "half width, units"),
    "hair_style": (0.0, 13.0, "row of HAIR_STYLES, rounded down"),
    "hair_volume": (0.7, 1.4, "factor on the style's thickness"),
    "hair_line": (0.78, 1.12, "eyes to the hair line at the middle, units"),
    "hair_recession": (0.0, 0.26, "rise of the hair line beside the middle, units"),
    "hair_part": (-1.0, 1.0, "side of the parting"),
    "hair_dark": (0.0, 1.0, "0 blond to 1 black, along the ramp HAIR"),
    "hair_red": (0.0, 1.0, "red above 0.8"),
    "beard_style": (0.0, 6.0, "row of BEARDS, rounded down"),
    "glasses_habit": (0.0, 1.0, "share of the photos with glasses; low for most identities"),
    "glasses_shape": (0.0, 1.0, "0 round to 1 square"),
    "glasses_dark": (0.0, 1.0, "0 metal to 1 black frame"),
    "nose_bend": (-0.05, 0.05, "distance of the nose from the middle, units"),
    "eye_level": (-0.05, 0.05, "rise of one eye over the other, slope"),
    "mouth_slant": (-0.05, 0.05, "rise of one corner of the mouth over the other, slope"),
}
PARAMETERS = tuple(RANGES)

# (top, side, length, front, curl, fringe) in units: thickness on top and at the side, lower end (y), front end (z),
# height of the curls, lowering of the hair line.
HAIR_STYLES = {
    "bald": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "buzz": (0.05, 0.03, 0.75, 0.05, 0.01, 0.0),
    "short": (0.14, 0.07, 0.8, 0.1, 0.02, 0.0),
    "side part": (0.22, 0.1, 0.8, 0.15, 0.02, 0.05),
    "quiff": (0.32, 0.05, 0.75, 0.1, 0.03, -0.02),
    "fringe": (0.2, 0.13, 0.8, 0.25, 0.03, 0.45),
    "curly": (0.3, 0.22, 0.8, 0.2, 0.16, 0.08),
    "afro": (0.5, 0.5, 0.9, 0.15, 0.14, 0.0),
    "bob": (0.2, 0.24, 1.35, 0.45, 0.02, 0.0),
    "bob with fringe": (0.2, 0.22, 1.3, 0.45, 0.02, 0.5),
    "long": (0.17, 0.2, 3.5, 0.45, 0.02, 0.0),
    "wavy": (0.25, 0.34, 2.6, 0.5, 0.12, 0.0),
    "tied back": (0.09, 0.05, 0.7, 0.1, 0.01, 0.0),
}
BEARDS = ("none", "none", "stubble", "moustache", "goatee", "full")
PERSON_STREAM = 11  # separates the random numbers of identities from those of photos (PHOTO_STREAM)


def sample_identities(num_identities, seed, first=0):
    """Draw identity vectors: row p is a function of (seed, first + p) alone, so a larger population starts with a smaller one.

    Parameters
    ----------
    num_identities : int, at least 0.
    seed : int, at least 0. Selects the population.
    first : int, at least 0. Number of the first identity drawn.

    Returns
    -------
    Tensor [P, K], float32. One identity a row; columns are ``PARAMETERS``, in the units and ranges of ``RANGES``.

    Raises
    ------
    ValueError
        If a number is negative.
    """
    for name, value in (("num_identities", num_identities), ("seed", seed), ("first", first)):
        if value < 0:
            raise ValueError(f"{name} is {value}, but must be at least 0")
    rows = [_sample_identity(np.random.default_rng([PERSON_STREAM, seed, first + p])) for p in range(num_identities)]
    return torch.tensor(np.array(rows, dtype=np.float32).reshape(num_identities, len(PARAMETERS)))


def _sample_identity(rng):
    """Draw one row of ``PARAMETERS``: uniform numbers, with dependences such as hair on skin tone and beard on femininity."""
    draw = dict(zip(PARAMETERS, rng.random(len(PARAMETERS)), strict=True))
    bald = draw["hair_style"] < 0.08 and draw["femininity"] < 0.5
    first, last = (6, 13) if draw["femininity"] > 0.5 else (1, 8)  # rows of HAIR_STYLES: curly to tied, buzz to afro
    draw["hair_style"] = 0.0 if bald else (first + draw["hair_style"] * (last - first)) / len(HAIR_STYLES)
    draw["hair_dark"] = max(draw["hair_dark"], 0.9 * min(1.0, 2 * draw["skin_tone"] - 0.3))
    draw["age"] **= 1.5
    draw["eye_colour"] *= 0.25 if draw["skin_tone"] > 0.45 else 1.0
    draw["beard_style"] *= draw["femininity"] < 0.5
    draw["glasses_habit"] = 0.95 if draw["glasses_habit"] > 0.85 else 0.06 * draw["glasses_habit"]
    draw["jaw_width"] = 0.75 * draw["jaw_width"] + 0.25 * (1 - draw["femininity"])
    draw["brow_thickness"] = 0.6 * draw["brow_thickness"] + 0.4 * (1 - draw["femininity"])
    draw["hair_recession"] *= 1 - draw["femininity"]
    return [low + (high - low) * draw[name] for name, (low, high, _) in RANGES.items()]


def read_attributes(identities):
    """Name the visible attributes of each identity.

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
    check_identities(identities)
    column = {name: identities[:, index].numpy().copy() for index, name in enumerate(PARAMETERS)}
    styles = tuple(HAIR_STYLES)
    return {
        "skin_tone": column["skin_tone"],
        "age": column["age"],
        "femininity": column["femininity"],
        "hair": np.array([styles[find_category(value, styles)] for value in column["hair_style"]], dtype=object),
        "hair_dark": column["hair_dark"],
        "beard": np.array([BEARDS[find_category(value, BEARDS)] for value in column["beard_style"]], dtype=object),
        "eye_colour": column["eye_colour"],
        "glasses": column["glasses_habit"],
    }


def find_category(value, table):
    """Index (int) in its table of a category that is stored as a float."""
    return min(int(value), len(table) - 1)


def check_identities(identities):
    """Raise ValueError if the shape is not [P, K]."""
    if identities.ndim != 2 or identities.shape[1] != len(PARAMETERS):
        raise ValueError(
            f"identities has shape {list(identities.shape)}, but must be [P, {len(PARAMETERS)}]: use "
            "rows of sample_identities"
        )
