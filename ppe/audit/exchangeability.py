"""Are the photos of the people like those of the controls? If they are not, a p-value may speak of the photos, not of a leak.

Where they differ, the tests are repeated with the controls whose photos are most like those of the people, and count only if they
stand there, too.
"""

import numpy as np
import pandas as pd
from scipy import stats

from ppe.audit import p_values
from ppe.audit.attributes import ATTRIBUTES

RELIABLE = 10
"""People a side from which the comparison can be expected to find a difference."""


def compare_attributes(people, controls, level):
    """Compare each attribute of people and controls: Kolmogorov and Smirnov's test over people, corrected as by Holm (1979).

    Parameters
    ----------
    people, controls : DataFrame, one row a person (``average_attributes``), all of as many photos. The mean of few photos
        spreads more than that of many, and would differ for that alone.
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


def average_attributes(people, controls, photo_share, seed):
    """Mean attributes of equally many photos of each person, drawn as for the scores.

    Parameters
    ----------
    people, controls : ppe.audit.face_sets.FaceSet
    photo_share : float. Share of the people on each side who must have as many photos.
    seed : int, of the photos that are used.

    Returns
    -------
    dict, ``people`` and ``controls`` -> DataFrame by name: the attributes, and ``num_photos``, of which they are the mean.
    """
    names = [faces.identity.astype(str) for faces in (people, controls)]
    sizes = [np.unique(own, return_counts=True)[1] for own in names]
    count = min(p_values.choose_count(int(size.max()), size, photo_share) for size in sizes)
    averaged = {}
    for side, own, faces in zip(("people", "controls"), names, (people, controls), strict=True):
        used = p_values.order_photos(own, seed) < count
        grouped = faces.attributes[used].groupby(own[used])
        averaged[side] = grouped.mean().assign(num_photos=grouped.size())
    return averaged


def keep_full(averaged):
    """Those of whom as many photos are averaged as of anybody: DataFrame of ``average_attributes``."""
    return averaged[averaged.num_photos == averaged.num_photos.max()]


def correct_holm(p_values):
    """Correct p-values as by Holm (1979): ndarray [n] -> ndarray [n]."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def compare_matched(own, others, attributes, options, rules):
    """The tests of people and group once more, with matched controls.

    Parameters
    ----------
    own, others : scores of the people's and of the comparison people's photos, as in ``ppe.audit.p_values.score_people``.
    attributes : dict of ``average_attributes``; controls with fewer photos are left out.
    options : as in ``ppe.audit.p_values.compare_group``.
    rules : the section ``audit`` of params.

    Returns
    -------
    dict
        ``controls`` (list of str), ``still_differs`` (list of str, attributes), and where there are enough controls ``group``
        (row of ``compare_group``), ``flagged`` (list of str), ``people`` (DataFrame of ``score_people``).
    """
    names = match_controls(**attributes, count=rules.num_matched)
    found = compare_attributes(keep_full(attributes["people"]), attributes["controls"].loc[names], rules.exchange_p)
    matched = {"controls": names, "still_differs": list(found.attribute[found.differs])}
    if len(names) < p_values.MIN_COMPARED:
        return matched
    kept = np.isin(others[1].astype(str), names)
    others = {name: value[kept] for name, value in others[0].items()}, others[1][kept]
    row, _ = p_values.compare_group(own, others, photo_share=rules.photo_share, options=options, name="matched")
    people = p_values.score_people(own, others, photo_share=rules.photo_share, seed=rules.seed)
    people = p_values.flag_people(people, rules.false_discovery_rate)
    return matched | {"group": row, "flagged": list(people.identity[people.is_flagged]), "people": people}


def match_controls(people, controls, count):
    """Choose the controls that are most like the people.

    Few, so that they are alike: with five people, the test above does not see that controls further away differ.

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
