"""Splits of a data set by identity: group A, group B, the reference group, and the parts of the auxiliary identities.

In an identity membership attack the unit is the identity, never the photo: a member is recognised by photos that were not
used to train the generator (Webster et al., arXiv 2107.06018).
"""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

GROUPS = "abc"
"""Labels of group A, group B and the reference group."""
AUXILIARY_PARTS = {"embedder": 0.6, "cohort": 0.2, "threshold": 0.2}
"""Shares of the auxiliary identities that train embedders, calibrate scores and set thresholds."""


def split_identities(table, *, num_identities, train_photos, query_photos, seed, max_train_photos=None, cap=None):
    """Draw the identities of the three groups, and the training and query photos of each identity.

    Identities, and the photos of each, are ordered by a hash of (seed, name). The order therefore depends neither on the
    order of the rows nor on other identities of the table. Sizes are nested: the split with n identities a group consists
    of the first rows of the split with n + 1.

    Parameters
    ----------
    table : DataFrame
        One row a usable photo: ``image_id`` (unique), ``identity``, ``role`` (``attacked``, ``auxiliary`` or ``background``;
        one for each identity), ``duplicate_of`` (image_id of a photo that is the same picture; missing or empty: none).
        Only identities with the role ``attacked`` are drawn.
    num_identities : int
        Identities in each of the three groups.
    train_photos, query_photos : int
        Photos of each identity that train its group's generator, and photos that do not. All are different pictures.
    seed : int
    max_train_photos : int or None
        Largest number of training photos of identities that have more photos than the two numbers need; None:
        ``train_photos``. The query photos and the first training photos do not depend on it.
    cap : int or None
        Most training photos of an identity that are used, a defence: the first ones. Query photos do not depend on it.

    Returns
    -------
    split : DataFrame
        One row a used photo: ``image_id``, ``identity``, ``group`` (a, b or c), ``role`` (train or query).
        ``split.attrs["num_replaced"]`` counts query photos that were replaced because they repeat a training picture of
        their identity. ``split.attrs["num_two_names"]`` counts attacked photos that were left out because the same picture
        also occurs under another identity.

    Raises
    ------
    ValueError
        If a number is below 1, an image_id is not unique, an identity has two roles, or there are too few identities.
    """
    max_train_photos = train_photos if max_train_photos is None else max_train_photos
    _check_split(table, num_identities, train_photos, query_photos, max_train_photos)
    photos, num_two_names = _select_attacked(table)
    drawn = _draw_identities(photos, num_identities, train_photos, query_photos, seed)

    rows, num_replaced = [], 0
    of_identity = dict(list(photos[photos["identity"].isin(drawn)].groupby("identity")))
    for rank, identity in enumerate(drawn):
        own = of_identity[identity]
        order = own["image_id"].map(lambda image_id, identity=identity: hash_names(seed, identity, image_id))
        used, replaced = _pick_photos(own.loc[order.sort_values().index], train_photos, query_photos, max_train_photos)
        rows += [(image_id, identity, GROUPS[rank % len(GROUPS)], role) for image_id, role in used]
        num_replaced += replaced
    split = pd.DataFrame(rows, columns=["image_id", "identity", "group", "role"])
    if cap is not None:
        rank = split.groupby(["identity", "role"]).cumcount()
        split = split[(split.role == "query") | (rank < cap)].reset_index(drop=True)
    split.attrs.update(num_replaced=num_replaced, num_two_names=num_two_names)
    return split


def _select_attacked(table):
    """Attacked photos with the number of their ``picture``, and how many were left out because of two names."""
    photos = table[["image_id", "identity", "role"]].assign(picture=find_pictures(table)).reset_index(drop=True)
    # One of the two names is wrong, and a non-member's photo could be a training photo under the other name.
    has_two_names = photos.groupby("picture")["identity"].transform("nunique") > 1
    is_attacked = photos["role"] == "attacked"
    return photos[is_attacked & ~has_two_names], int((is_attacked & has_two_names).sum())


def _draw_identities(photos, num_identities, train_photos, query_photos, seed):
    """Identities of all groups, list of str, in the order in which they are dealt to the groups."""
    num_pictures = photos.groupby("identity")["picture"].nunique()
    able = num_pictures.index[num_pictures >= train_photos + query_photos]
    if len(able) < len(GROUPS) * num_identities:
        raise ValueError(
            f"the table has {len(able)} identities with at least {train_photos} + {query_photos} photos, but "
            f"{len(GROUPS)} x {num_identities} are asked for: lower num_identities, train_photos or query_photos "
            "(params.yaml: runs)"
        )
    return sorted(able, key=lambda identity: hash_names(seed, identity))[: len(GROUPS) * num_identities]


def _pick_photos(photos, train_photos, query_photos, max_train_photos):
    """Assign an identity's photos in order, each picture once: first train, then query, then more train.

    Returns a list of (image_id, role), and the number of query photos that were skipped as repeated training pictures.
    """
    train, query, num_replaced = {}, {}, 0
    for image_id, picture in zip(photos["image_id"], photos["picture"], strict=True):
        if len(train) < train_photos:
            train.setdefault(picture, image_id)
        elif len(query) < query_photos and picture not in train:
            query.setdefault(picture, image_id)
        elif len(query) < query_photos:
            num_replaced += 1
        elif len(train) < max_train_photos and picture not in query:
            train.setdefault(picture, image_id)
    return [(i, "train") for i in train.values()] + [(i, "query") for i in query.values()], num_replaced


def find_pictures(table):
    """Number the sets of near-duplicates: photos that ``duplicate_of`` links directly or through other photos.

    table : DataFrame with ``image_id`` and ``duplicate_of``. Returns ndarray [N], int; equal = the same picture.
    """
    own = table["image_id"].astype(str)
    other = table["duplicate_of"].astype(object).where(table["duplicate_of"].notna(), "").astype(str)
    other = other.where(other != "", own)
    codes, names = pd.factorize(pd.concat([own, other]))  # a photo outside the table may link two photos of it
    links = coo_array(([True] * len(own), (codes[: len(own)], codes[len(own) :])), shape=(len(names), len(names)))
    return connected_components(links, directed=False)[1][codes[: len(own)]]


def hash_names(seed, *names):
    """Hash (seed, names) to 32 bytes, whose order is that in which identities and photos are drawn."""
    return hashlib.sha256("\0".join(map(str, (seed, *names))).encode()).digest()


def _check_split(table, num_identities, train_photos, query_photos, max_train_photos):
    sizes = {"num_identities": num_identities, "train_photos": train_photos, "query_photos": query_photos}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name}={value} is not at least 1 (params.yaml: runs)")
    if max_train_photos < train_photos:
        raise ValueError(f"max_train_photos={max_train_photos} is below train_photos={train_photos} (params.yaml: runs)")
    twice = table["image_id"].duplicated()
    if twice.any():
        first = table.loc[twice, "image_id"].iloc[0]
        raise ValueError(f"image_id {first!r} stands in more than one row, but one row a photo is needed")
    num_roles = table.groupby("identity")["role"].nunique()
    if (num_roles > 1).any():
        raise ValueError(f"identity {num_roles.idxmax()!r} has more than one role, but all photos of an identity must be "
                         "attacked, auxiliary or background")


def choose_identities(identities, part):
    """Choose the photos of all identities, or of every other one in sorted order, so that two embedders share none.

    Parameters
    ----------
    identities : sequence of str, one a photo.
    part : str
        ``all``, ``first half`` (ranks 0, 2, ...) or ``second half`` (ranks 1, 3, ...).

    Returns
    -------
    ndarray [N], bool.
    """
    if part not in ("all", "first half", "second half"):
        raise ValueError(f"identities={part!r} is not one of ['all', 'first half', 'second half'] (params.yaml: embedders)")
    rank = pd.factorize(pd.Series(list(identities), dtype=str), sort=True)[0]
    return (rank % 2 == (part == "second half")) | (part == "all")


def mark_auxiliary(index, *, photos=None, last=None, usable=None):
    """Give each photo the role of its identity: attacked, auxiliary (never attacked) or background.

    Roles depend on the data set alone, so that all runs on it share their embedders.

    Parameters
    ----------
    index : DataFrame with ``identity`` and ``readable``, one row a photo.
    photos : (int, int) or None
        ``(lo, hi)``: identities with lo to hi usable photos are auxiliary, with more attacked, with fewer background.
    last : int or None
        Number of auxiliary identities, the last in sorted order; the others are attacked. Give either ``photos`` or ``last``.
    usable : bool [N] or None
        Photos that count; None: those that are ``readable``.

    Returns
    -------
    Series of str, index of ``index``: "attacked", "auxiliary" or "background".

    Raises
    ------
    ValueError
        If not exactly one of ``photos`` and ``last`` is given, or it is out of range.
    """
    if (photos is None) == (last is None):
        raise ValueError(f"photos={photos}, last={last}: give exactly one of the two (params.yaml: datasets, auxiliary)")
    if last is not None:
        names = sorted(index["identity"].unique())
        if not 0 <= last <= len(names):
            raise ValueError(f"last={last} is not in 0 to {len(names)}, the number of identities "
                             "(params.yaml: datasets, auxiliary)")
        auxiliary = index["identity"].isin(names[len(names) - last:])
        return pd.Series(np.where(auxiliary, "auxiliary", "attacked"), index=index.index)
    low, high = photos
    if not 1 <= low <= high:
        raise ValueError(f"photos={photos} are not two numbers with 1 <= lo <= hi (params.yaml: datasets, auxiliary)")
    usable = pd.Series(np.asarray(index["readable"] if usable is None else usable, dtype=bool), index=index.index)
    count = usable.groupby(index["identity"]).transform("sum")
    return pd.Series(np.select([count > high, count >= low], ["attacked", "auxiliary"], "background"), index=index.index)


def split_auxiliary(identities, seed):
    """Split a data set's auxiliary identities into those that train embedders, calibrate scores and set thresholds.

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
        If there are one or two identities, since three parts need three.
    """
    names = sorted(set(identities))
    if 0 < len(names) < len(AUXILIARY_PARTS):
        raise ValueError(f"{len(names)} auxiliary identities cannot be split into {list(AUXILIARY_PARTS)}: "
                         "none or at least three are needed (params.yaml: datasets, auxiliary)")
    order = np.random.default_rng(seed).permutation(len(names))
    counts = {part: max(1, round(share * len(names))) for part, share in AUXILIARY_PARTS.items()}
    counts["embedder"] = len(names) - counts["cohort"] - counts["threshold"]
    parts = np.repeat(list(counts), list(counts.values())) if names else []
    return {names[i]: str(part) for i, part in sorted(zip(order, parts, strict=True))}
