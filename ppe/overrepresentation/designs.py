"""Do the two designs agree? The effect of a data share with one target a generator, against that of a Latin square.

A Latin square needs fewer generators, but each of them has several over-represented identities, so it is no test of an identity
among others that are all diverse. Both designs have the same targets. So the effects are compared target by target.
"""

import numpy as np
import pandas as pd

from ppe.overrepresentation.data_share import KEYS
from ppe.statistics.intervals import bound_mean

DESIGNS = ("single", "square")
EFFECT = ["value", "low", "high"]
COLUMNS = [
    *(*DESIGNS, "kind", *KEYS, "data_share"),
    *(f"{name}_{design}" for design in DESIGNS for name in EFFECT),
    *("difference", "low", "high", "num_identities", "agrees"),
]


def fill_design(rows):
    """Say ``square`` where rows of experiments name no design: rows of an earlier version of the code have no such column."""
    design = rows.design if "design" in rows else pd.Series("", index=rows.index)
    return rows.assign(design=design.replace("", np.nan).fillna("square"))


def compare_designs(rows, confidence=0.95):
    """Compare experiments of the design ``single`` with Latin squares of the same baseline and kind.

    The interval of the difference is Student's, over the targets that both experiments have. It takes in how much a target's
    effect differs from one training to the next, and it does not fail with five targets, as a bootstrap would.

    Parameters
    ----------
    rows : DataFrame of ``ppe.overrepresentation.data_share.list_rows``, of all experiments of a study.
    confidence : float, in (0, 1)

    Returns
    -------
    DataFrame, one row a pair of experiments, embedder, measure, calibration and data share above 0 that both have:

        - ``single``, ``square`` (str, the experiments), ``kind``, ``KEYS``, ``data_share``;
        - ``value_single``, ``low_single``, ``high_single``, and the same of ``square``: the rows ``effect``, of all targets; NaN
          for a measure that has none;
        - ``difference``, single minus square, with ``low`` and ``high`` (NaN with fewer than two targets) and
          ``num_identities``;
        - ``agrees`` (bool): the interval includes 0. With few targets it is wide, so look at it.
    """
    rows = fill_design(rows[rows.kind != "none"])
    parts = [pd.DataFrame(columns=COLUMNS)]
    for (_, kind), part in rows.groupby(["baseline", "kind"], sort=False):
        names = {design: part.experiment[part.design == design].unique() for design in DESIGNS}
        for single in names["single"]:
            for square in names["square"]:
                pair = [part[part.experiment == name] for name in (single, square)]
                parts.append(_compare_pair(*pair, confidence).assign(single=single, square=square, kind=kind)[COLUMNS])
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def _compare_pair(single, square, confidence):
    """The rows of two experiments."""
    effects = [_list_effects(part) for part in (single, square)]
    shared = effects[0].to_frame("single").join(effects[1].rename("square"), how="inner")
    known = [part[part.statistic == "effect"].set_index([*KEYS, "data_share"])[EFFECT] for part in (single, square)]
    rows = []
    for key, part in shared.groupby([*KEYS, "data_share"], sort=False):
        named = dict(zip([*KEYS, "data_share"], key, strict=True))
        for design, table in zip(DESIGNS, known, strict=True):
            named |= {f"{name}_{design}": table[name].get(key, np.nan) for name in EFFECT}
        difference = (part.single - part.square).to_numpy()
        low, high = bound_mean(difference, confidence)
        named |= {"difference": difference.mean(), "low": low, "high": high, "num_identities": len(difference)}
        rows.append({**named, "agrees": not (low > 0 or high < 0)})
    return pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in (*DESIGNS, "kind")])


def _list_effects(rows):
    """Each target's value at each data share above 0 minus that at 0: a Series, index ``KEYS``, data_share and pseudonym."""
    own = rows[rows.statistic == "identity"]
    values = own.groupby([*KEYS, "data_share", "pseudonym"], sort=False).value.mean()
    none = values.xs(0, level="data_share") if 0 in values.index.unique("data_share") else values.iloc[:0].droplevel("data_share")
    effects = values - none.reindex(values.index.droplevel("data_share")).to_numpy()
    return effects[effects.index.get_level_values("data_share") > 0].dropna()
