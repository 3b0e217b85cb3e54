"""The face recognition model beside the attacks that see no identity, or only a part of the picture; only layout."""

import numpy as np
from IPython.display import HTML

from ppe.plots.attacks import plot_intervals
from ppe.plots.faces import plot_faces
from ppe.plots.style import MEMBER, NEUTRAL, PART

PARTS = {
    "nearest_surroundings": "the model, inner face blanked", "nearest_inner_face": "the model, inner face alone",
    "inner_face": "grey levels, inner face alone",
}  # fmt: skip
RIVALS = {
    "pixel": "grey levels", "surroundings": "grey levels, inner face blanked", "colour_histogram": "colour histogram",
    "general": "general network",
}  # fmt: skip
NAMES = {"nearest": "the face recognition model", **PARTS, **RIVALS}
"""Attack -> what it sees, from top to bottom of the figure."""


def plot_parts(views, title=""):
    """Draw what is seen of some faces, a row a part: dict, name of the part -> uint8 [N, 3, H, H]."""
    faces = np.concatenate([np.asarray(part) for part in views.values()])
    return plot_faces(faces, columns=len(faces) // len(views), title=title, row_titles=list(views))


def plot_baselines(rows, title=""):
    """Draw the AUC of ``nearest`` (orange), of attacks on a part of the picture (yellow), and of rivals (grey).

    rows : DataFrame, pooled AUC rows per photo of one run and one embedder: attack, value, low, high.
    """
    rows = rows[rows.attack.isin(list(NAMES))].sort_values("attack", key=lambda attack: attack.map(list(NAMES).index))
    colours = [MEMBER if name == "nearest" else PART if name in PARTS else NEUTRAL for name in rows.attack]
    return plot_intervals(rows, [NAMES[name] for name in rows.attack], title, colours)


def show_appearance(rival, difference, low, high, is_identity):
    """Show the verdict of ``ppe.evaluation.appearance.judge_appearance`` in a sentence: green for identity, else grey."""
    verdict = "Identity: the face recognition model beats every rival" if is_identity else "Appearance: not every rival is beaten"
    interval = f"[{low:+.3f}, {high:+.3f}]" if np.isfinite(low) else "(no interval)"
    text = f"{verdict}. The best rival: {NAMES[rival]}. AUC of the model minus that of this rival: {difference:+.3f} {interval}."
    return HTML(f'<p style="color:{"#00693E" if is_identity else NEUTRAL};font-weight:bold">{text}</p>')
