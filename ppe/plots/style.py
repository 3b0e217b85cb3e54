"""The look of every figure, how a figure is saved, and a table of params."""

import matplotlib.pyplot as plt
import pandas as pd

from ppe.config.storage import write_whole

MEMBER, OTHER = "#D55E00", "#0072B2"


def use_style(path):
    """Read the study's style sheet (a path) for every figure that follows."""
    plt.style.use(path)


def save_figure(figure, path):
    """Write a figure as PNG, by a temporary name; the same figure gives the same bytes."""
    with write_whole(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def tabulate_params(settings):
    """A mapping as a one-column table, for the cell that shows what is used."""
    return pd.DataFrame({"value": {name: str(value) for name, value in settings.items()}})
