"""The look of every figure, how a figure is saved, and a table of params."""

import json

import matplotlib.pyplot as plt
import pandas as pd

from ppe.config.storage import write_whole

MEMBER, OTHER = "#D55E00", "#0072B2"
"""Members and non-members; same-person and other-person pairs."""
MARK, NEUTRAL, PALE = "#009E73", "#666666", "#F2F2F2"
"""Ceilings and what else is pointed at, controls and what else stands beside it, and the ground behind both."""
IMAGE, PHOTO, PART = "#882255", "#332288", "#E69F00"
"""Training photos; photos whose person is known; a part of the picture."""
GENERATORS = {"a": ("generator A", "#56B4E9"), "b": ("generator B", "#CC79A7"), "c": ("reference generator", NEUTRAL)}
"""Group -> the name of its generator in a figure, and a colour that stands neither for members nor for non-members."""


FAMILIES = {"fastgan": ("o", "#332288"), "stylegan2": ("s", "#882255"), "edm": ("D", "#999933")}
"""Kind of generator -> its marker, and its colour."""


def use_style(path):
    """Read the study's style sheet (a path) for every figure that follows; without it a figure has matplotlib's own look.

    A figure needs no sheet: the layout, on which its legends and distances depend, is named where it is made.
    """
    plt.style.use(path)


def save_figure(figure, path):
    """Write a figure as PNG, by a temporary name; the same figure gives the same bytes."""
    with write_whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def tabulate_params(settings):
    """A mapping, or its JSON text, as a one-column table: what a notebook, or a file that was made earlier, uses."""
    settings = json.loads(settings) if isinstance(settings, str) else settings
    return pd.DataFrame({"value": {name: str(value) for name, value in settings.items()}})
