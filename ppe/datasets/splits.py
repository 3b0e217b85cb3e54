"""Split people, never photos, into half a, half b and reference c: in an identity membership attack the person is the
unit, and a member is recognised by photos that the GAN was never shown (Webster et al., arXiv 2107.06018).
"""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

GROUPS = "abc"
AUXILIARY_PARTS = {"embedder": 0.6, "cohort": 0.2, "threshold": 0.2}  # shares of the auxiliary people


def split_identities(table, *, num_identities, train_photos, query_photos, seed, max_train_photos=None):
    """Draw three groups of people, and each person's train and query photos.

    The order of people, and of each person's photos, is that of a hash of (seed, name). So it depends neither on the
    order of rows nor on who else is in the table, and sizes are nested: the split of n people a group is the first rows
    of the split of n + 1.

    Parameters
    ----------
    table : DataFrame
        One row a usable photo: ``image_id`` (unique), ``identity``, ``role`` (``attacked``, ``auxiliary`` or ``background``;
        one a person), ``duplicate_of`` (the image_id of a photo that shows the same picture; missing or empty: none).
        Only attacked people are drawn.
    num_identities : int
        People in each of the three groups.
    train_photos, query_photos : int
        Photos of each person that its group's GAN is shown, and that it never sees. No two of them are one picture.
    seed : int
    max_train_photos : int or None
        Show up to so many photos of a person, where the person has more than the two numbers ask for; None: no more than
        ``train_photos``. The queries, and the first train photos, are the same either way.

    Returns
    -------
    split : DataFrame
        One row a used photo: ``image_id``, ``identity``, ``group`` (a, b or c), ``role`` (train or query).
        ``split.attrs["num_replaced"]`` counts the queries that were replaced since they show the same picture as a
        train photo of their person; ``split.attrs["num_two_names"]`` the attacked photos left out since the same
        picture also stands under another person's name.

    Raises
    ------
    ValueError
        If a number is not at least 1, an image_id stands twice, a person has two roles, or there are too few people.
    """
    max_train_photos = train_photos if max_train_photos is None else max_train_photos
    _check_split(table, num_identities, train_photos, query_photos, max_train_photos)
    photos = table[["image_id", "identity", "role"]].assign(picture=find_pictures(table)).reset_index(drop=True)

    # One of the two names is wrong, and a non-member's photo might have been trained on under the other.
    has_two_names = photos.groupby("picture")["identity"].transform("nunique") > 1
    is_attacked = photos["role"] == "attacked"
    photos, num_two_names = photos[is_attacked & ~has_two_names], int((is_attacked & has_two_names).sum())

    num_pictures = photos.groupby("identity")["picture"].nunique()
    able = num_pictures.index[num_pictures >= train_photos + query_photos]
    if len(able) < len(GROUPS) * num_identities:
        raise ValueError(
            f"the table has {len(able)} identities with at least {train_photos} + {query_photos} photos, but "
            f"{len(GROUPS)} x {num_identities} are asked for: lower num_identities, train_photos or query_photos "
            "(params.yaml: runs)"
        )
    drawn = sorted(able, key=lambda identity: hash_names(seed, identity))[: len(GROUPS) * num_identities]

    rows, num_replaced = [], 0
    of_person = dict(list(photos[photos["identity"].isin(drawn)].groupby("identity")))
    for rank, identity in enumerate(drawn):
        person = of_person[identity]
        order = person["image_id"].map(lambda image_id, identity=identity: hash_names(seed, identity, image_id))
        used, replaced = _pick_photos(person.loc[order.sort_values().index], train_photos, query_photos, max_train_photos)
        rows += [(image_id, identity, GROUPS[rank % len(GROUPS)], role) for image_id, role in used]
        num_replaced += replaced
    split = pd.DataFrame(rows, columns=["image_id", "identity", "group", "role"])
    split.attrs.update(num_replaced=num_replaced, num_two_names=num_two_names)
    return split


def choose_identities(identities, people):
    """Which photos are of the wanted people: every other one of the sorted names, so that two nets share nobody.

    identities : sequence of str, one a photo. people : ``all``, ``first half`` or ``second half``.
    Returns a boolean ndarray, one a photo.
    """
    if people not in ("all", "first half", "second half"):
        raise ValueError(f"people={people!r} is not one of ['all', 'first half', 'second half'] (params.yaml: embedders)")
    rank = pd.factorize(pd.Series(list(identities), dtype=str), sort=True)[0]
    return (rank % 2 == (people == "second half")) | (people == "all")


def _pick_photos(person, train_photos, query_photos, max_train_photos):
    """Take photos in order, each picture once: first train, then query, then more train; count queries that repeat a
    train picture.
    """
    train, query, num_replaced = {}, {}, 0
    for image_id, picture in zip(person["image_id"], person["picture"], strict=True):
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
    """Number the sets of near-duplicates: photos that are linked by ``duplicate_of``, directly or through others: int [N]."""
    own = table["image_id"].astype(str)
    other = table["duplicate_of"].astype(object).where(table["duplicate_of"].notna(), "").astype(str)
    other = other.where(other != "", own)
    codes, names = pd.factorize(pd.concat([own, other]))  # also a photo that only duplicate_of names links two others
    links = coo_array(([True] * len(own), (codes[: len(own)], codes[len(own) :])), shape=(len(names), len(names)))
    return connected_components(links, directed=False)[1][codes[: len(own)]]


def hash_names(seed, *names):
    """Bytes by whose order people and photos are drawn: a function of the seed and of names alone."""
    return hashlib.sha256("\0".join(map(str, (seed, *names))).encode()).digest()


def _check_split(table, num_identities, train_photos, query_photos, max_train_photos):
    sizes = {"num_identities": num_identities, "train_photos": train_photos, "query_photos": query_photos}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name}={value} is not at least 1")
    if max_train_photos < train_photos:
        raise ValueError(f"max_train_photos={max_train_photos} is below train_photos={train_photos}")
    twice = table["image_id"].duplicated()
    if twice.any():
        first = table.loc[twice, "image_id"].iloc[0]
        raise ValueError(f"image_id {first!r} stands in more than one row, but one row a photo is needed")
    num_roles = table.groupby("identity")["role"].nunique()
    if (num_roles > 1).any():
        raise ValueError(f"identity {num_roles.idxmax()!r} has more than one role, but a whole person is attacked, "
                         "auxiliary or crowd")


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
