"""Who is never attacked: auxiliary people are a function of the data set alone, so that all its runs share embedders."""

import numpy as np
import pandas as pd

AUXILIARY_PARTS = {"embedder": 0.6, "cohort": 0.2, "threshold": 0.2}  # shares of the auxiliary people


def mark_auxiliary(index, *, photos=None, last=None, usable=None):
    """Say of each photo whether its person may be attacked, is auxiliary (never attacked), or belongs to the crowd.

    It depends on the data set alone, so that all runs on it share their embedders.

    Parameters
    ----------
    photos : (int, int) or None
        ``(lo, hi)``: people with lo to hi usable photos are auxiliary, with more attacked, with fewer crowd.
    last : int or None
        The last so many people in sorted order are auxiliary, the others attacked. One of the two is given.
    usable : bool [N] or None
        Which photos count; None is the index's ``readable``.

    Returns
    -------
    Series of str, index of ``index``: "attacked", "auxiliary" or "crowd".
    """
    if (photos is None) == (last is None):
        raise ValueError(f"photos={photos}, last={last}: exactly one says who is auxiliary (params.yaml: datasets)")
    if last is not None:
        people = sorted(index["identity"].unique())
        if not 0 <= last <= len(people):
            raise ValueError(f"last={last} is not in 0 to {len(people)}, the number of people (params.yaml: datasets)")
        auxiliary = index["identity"].isin(people[len(people) - last:])
        return pd.Series(np.where(auxiliary, "auxiliary", "attacked"), index=index.index)
    low, high = photos
    if not 1 <= low <= high:
        raise ValueError(f"photos={photos}: 1 <= lo <= hi is needed (params.yaml: datasets)")
    usable = pd.Series(np.asarray(index["readable"] if usable is None else usable, dtype=bool), index=index.index)
    count = usable.groupby(index["identity"]).transform("sum")
    return pd.Series(np.select([count > high, count >= low], ["attacked", "auxiliary"], "background"), index=index.index)


def split_auxiliary(identities, seed):
    """Split auxiliary people, once a data set, into those who train an embedder, serve as reference and set thresholds.

    Parameters
    ----------
    identities : iterable of str
        Repetitions and order do not matter.
    seed : int

    Returns
    -------
    dict identity -> "embedder" (60 %), "cohort" (20 %) or "threshold" (20 %); no part is empty.

    Raises
    ------
    ValueError
        If there are one or two people: three parts need three.
    """
    people = sorted(set(identities))
    if 0 < len(people) < len(AUXILIARY_PARTS):
        raise ValueError(f"{len(people)} auxiliary people cannot be split into {list(AUXILIARY_PARTS)}: "
                         "none or at least three are needed (params.yaml: datasets)")
    order = np.random.default_rng(seed).permutation(len(people))
    counts = {part: max(1, round(share * len(people))) for part, share in AUXILIARY_PARTS.items()}
    counts["embedder"] = len(people) - counts["cohort"] - counts["threshold"]
    parts = np.repeat(list(counts), list(counts.values())) if people else []
    return {people[i]: str(part) for i, part in sorted(zip(order, parts, strict=True))}
