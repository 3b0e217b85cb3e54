"""Two drawings that explain the study: its stages, and who trains which generator. Places in both are inches."""

import matplotlib.pyplot as plt
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle, Wedge

from ppe.plots.style import MARK, MEMBER, NEUTRAL, OTHER, PALE

WIDTH = 8.0
BOX = (0.86, 0.38)
STAGES = {
    "faces": (0.5, 0.95),
    "embed": (2.0, 1.6),
    "train": (2.0, 0.3),
    "generate": (3.5, 0.3),
    "attack": (4.4, 0.95),
    "evaluate": (5.45, 0.95),
    "sensitivity": (6.5, 0.95),
    "claims": (7.55, 0.95),
}
"""Stage -> the centre of its box. Three strands lead from the faces to the attack."""
COLUMNS = {"A": 2.95, "B": 4.9, "the reference": 6.85}
"""Whose generator -> the middle of its column."""


def plot_pipeline(stage=None):
    """Draw the stages as boxes, and what flows between them as arrows.

    Parameters
    ----------
    stage : str or None
        A name in ``STAGES``, whose box is marked; None marks none.

    Returns
    -------
    matplotlib Figure, 8 inches wide.

    Raises
    ------
    ValueError
        If there is no such stage.
    """
    if stage is not None and stage not in STAGES:
        raise ValueError(f"stage={stage!r} is not one of {list(STAGES)}")
    figure, axis = _open_canvas(1.95)
    for name, place in STAGES.items():
        _draw_box(axis, place, BOX, name, MARK if name == stage else PALE)
    (left, middle), (embed, top), (train, bottom), (generate, _), (attack, _) = list(STAGES.values())[:5]
    half, high = BOX[0] / 2, BOX[1] / 2
    _draw_arrow(axis, (left, middle + high), (embed - half, top), "angle,angleA=90,angleB=0,rad=4")
    _draw_arrow(axis, (left, middle - high), (train - half, bottom), "angle,angleA=90,angleB=0,rad=4")
    _draw_arrow(axis, (left + half, middle), (attack - half, middle))
    _draw_arrow(axis, (embed + half, top), (attack, middle + high), "angle,angleA=0,angleB=90,rad=4")
    _draw_arrow(axis, (train + half, bottom), (generate - half, bottom))
    _draw_arrow(axis, (generate + half, bottom), (attack, middle - high), "angle,angleA=0,angleB=90,rad=4")
    _write(axis, (left + 0.1, top + 0.09), "auxiliary photos", ha="left")
    _write(axis, ((left + attack) / 2, middle + 0.09), "query photos (never used in training)")
    _write(axis, (left + 0.1, bottom + 0.09), "training photos", ha="left")
    _write(axis, ((embed + half + attack) / 2, top + 0.09), "face recognition models")
    _write(axis, ((train + generate) / 2, bottom + 0.09), "snapshots")
    _write(axis, (attack + 0.09, bottom + 0.09), "generated faces", ha="left")
    row = list(STAGES)[4:]
    for start, end, label in zip(row, row[1:], ("scores", "intervals,\ncontrols", "all\nresults"), strict=False):
        one, two = STAGES[start][0] + half, STAGES[end][0] - half
        _draw_arrow(axis, (one, middle), (two, middle))
        _write(axis, ((one + two) / 2, middle + high + 0.05), label)
    return figure


def plot_groups(num_identities=None, train_photos=None, query_photos=None):
    """Draw who trains which generator, and who is a member of its training set.

    Parameters
    ----------
    num_identities, train_photos, query_photos : int or None
        Identities a group, and photos of each, as in a run of ``params.yaml``; None leaves the number out.

    Returns
    -------
    matplotlib Figure, 8 inches wide.
    """
    figure, axis = _open_canvas(3.95)
    for name, x in COLUMNS.items():
        _draw_group(axis, x, name, num_identities, train_photos, query_photos)
    for y, text in ((3.2, "People, split at random"), (2.68, "Photos of each person"), (1.76, "Three generators")):
        _write(axis, (0.05, y), text, size=9, ha="left")
    axis.plot([0.05, WIDTH - 0.05], [1.42, 1.42], color="#BBBBBB", linewidth=0.8)
    _write(axis, (0.05, 1.2), "Who is a member?", size=10, weight="bold", ha="left")
    for group, y in (("A", 0.83), ("B", 0.43)):
        _draw_photo(axis, (0.05, y - 0.09), is_query=True)
        _write(axis, (0.3, y), f"query photos of group {group}", ha="left", va="center", size=9)
        for name, x in COLUMNS.items():
            word, colour = ("member", MEMBER) if name == group else ("non-member", OTHER)
            _draw_box(axis, (x, y), (1.6, 0.34), word, colour)
    for name, x in COLUMNS.items():
        _write(axis, (x, 0.02), "negative control" if name == "the reference" else "attacked", color=NEUTRAL)
    return figure


def _draw_group(axis, x, name, num_identities, train_photos, query_photos):
    """A column: a group's people, their photos, and the generator that they train."""
    is_reference = name not in ("A", "B")
    _write(axis, (x, 3.68), "Group C" if is_reference else f"Group {name}", size=11, weight="bold")
    for offset in (-0.3, 0, 0.3):
        _draw_person(axis, (x + offset, 3.3))
    _write(axis, (x, 2.98), _count(num_identities, "identities"))
    shift = 0 if is_reference else -0.45
    _draw_photos(axis, x + shift, _count(train_photos, "training"), is_query=False)
    if not is_reference:
        _draw_photos(axis, x + 0.45, _count(query_photos, "query"), is_query=True)
    _draw_arrow(axis, (x + shift, 2.42), (x + shift, 2.03))
    _write(axis, (x + shift + 0.08, 2.15), "train", ha="left")
    _draw_box(axis, (x, 1.82), (1.6, 0.38), "reference generator" if is_reference else f"generator {name}", PALE)


def _draw_photos(axis, x, label, is_query):
    """Three small squares: filled if the photos train a generator, empty if they are kept for the attack."""
    for offset in (-0.295, -0.085, 0.125):
        _draw_photo(axis, (x + offset, 2.66), is_query)
    _write(axis, (x, 2.48), label)


def _count(number, unit):
    return unit if number is None else f"{number} {unit}"


def _open_canvas(height):
    """A figure and axes whose unit is the inch, without frame or margin."""
    figure = plt.figure(figsize=(WIDTH, height), layout="none")  # every place is given
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, WIDTH), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def _write(axis, place, text, **options):
    axis.text(*place, text, **{"size": 8, "ha": "center", "va": "bottom", "color": "black", **options})


def _draw_box(axis, centre, size, text, colour):
    (x, y), (width, height) = centre, size
    corner, is_pale = (x - width / 2, y - height / 2), colour == PALE
    look = {"facecolor": colour, "edgecolor": NEUTRAL if is_pale else colour}
    axis.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.07", **look))
    axis.text(x, y, text, size=9.5, ha="center", va="center_baseline", weight="normal" if is_pale else "bold",
              color="black" if is_pale else "white")


def _draw_arrow(axis, start, end, path="arc3"):
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", connectionstyle=path, shrinkA=0, shrinkB=0, mutation_scale=9,
                                   color=NEUTRAL, linewidth=1.1))


def _draw_person(axis, centre):
    x, y = centre
    axis.add_patch(Circle((x, y + 0.14), 0.075, color=NEUTRAL, linewidth=0))
    axis.add_patch(Wedge((x, y - 0.08), 0.125, 0, 180, color=NEUTRAL, linewidth=0))


def _draw_photo(axis, corner, is_query):
    colour = "white" if is_query else NEUTRAL
    axis.add_patch(Rectangle(corner, 0.17, 0.17, facecolor=colour, edgecolor=NEUTRAL, linewidth=1.1))
