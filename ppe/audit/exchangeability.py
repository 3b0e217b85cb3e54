"""Are the photos of the people like those of the controls? If they are not, a p-value may speak of the photos, not of a leak."""

import numpy as np
import pandas as pd
from scipy import stats

from ppe.audit.attributes import ATTRIBUTES

RELIABLE = 10
"""People a side from which the comparison can be expected to find a difference."""


def compare_attributes(people, controls, level):
    """Compare each attribute of people and controls: Kolmogorov and Smirnov's test over people, corrected as by Holm (1979).

    Parameters
    ----------
    people, controls : DataFrame, one row a person (``average_attributes``).
    level : float. p-value below which an attribute differs.

    Returns
    -------
    DataFrame: ``attribute``, ``people``, ``controls`` (medians), ``distance`` (in [0, 1], 0: alike), ``p_value`` (corrected),
    ``differs`` (bool).
    """
    rows = []
    for name in ATTRIBUTES:
        own, other = people[name].dropna(), controls[name].dropna()
        if len(own) and len(other):
            found = stats.ks_2samp(own, other)
            rows.append((name, own.median(), other.median(), found.statistic, found.pvalue))
    table = pd.DataFrame(rows, columns=["attribute", "people", "controls", "distance", "p_value"])
    table["p_value"] = correct_holm(table.p_value.to_numpy())
    return table.assign(differs=table.p_value < level)


def average_attributes(faces):
    """Mean attributes of each person: DataFrame by name. faces : ppe.audit.face_sets.FaceSet."""
    return faces.attributes.groupby(faces.identity.astype(str)).mean()


def correct_holm(p_values):
    """Correct p-values as by Holm (1979): ndarray [n] -> ndarray [n]."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def match_controls(people, controls, count):
    """Choose the controls that are most like the people.

    Parameters
    ----------
    people, controls : DataFrame, one row a person.
    count : int. Controls of each person; one control may serve several people.

    Returns
    -------
    list of str, names of controls, sorted.
    """
    names = [name for name in ATTRIBUTES if people[name].notna().all() and controls[name].notna().all()]
    pool = pd.concat([people, controls])[names]
    scaled = (pool - pool.mean()) / pool.std(ddof=0).replace(0, 1)
    own, other = scaled.iloc[: len(people)].to_numpy(), scaled.iloc[len(people) :].to_numpy()
    chosen = set()
    for row in own:
        nearest = np.argsort(((other - row) ** 2).sum(1), kind="stable")[:count]
        chosen |= set(controls.index[nearest])
    return sorted(chosen)
