"""The design of an experiment: which photos each generator is trained on, one target at a time or laid out as a Latin square.

An experiment tests the fourth claim of Webster et al. (arXiv 2107.06018), that one over-represented identity leaks. It is a set
of generators of one recipe. Each is trained on equally many photos: those of *targets*, and those of *background* identities, a
few photos each. The share of a target among a generator's training photos is its *data share*. *Control* identities are in no
training set.

The design ``single`` is what the claim is about. Each generator has one target, at one data share above 0; there is a generator
for each pair of them. A target has a data share of 0 in the generators of all other targets. All generators take their background
from one list. So two generators with one data share have the same background photos, and differ in their target and in chance.

The design ``square`` is the cheaper one. Rotation r gives target i the data share number (i + r) modulo the number of data
shares. So each target has each data share in some generator, and each generator has each data share for some target: five
generators do the work of twenty-five. Where there are more targets than data shares, the next targets turn by another step, for
example (i + 2 r). Two targets with one data share in one generator then differ in the others, so that a target is not mistaken
for its look-alike in every generator. These are orthogonal Latin squares, if the number of data shares is prime.
"""

import math

import pandas as pd

from ppe.datasets.splits import find_pictures, hash_names

PARTS = ("target", "background", "control")
BACKGROUND_STREAM = "crowd"
"""Hashed into the order of background photos: another word would draw others, and committed rows could not be reproduced."""
SPLIT_SETTINGS = {
    *("kind", "design", "num_overrepresented", "num_rotations", "data_shares", "num_photos", "max_background_photos"),
    *("query_photos", "num_controls", "seed"),
}
"""The settings of an experiment that decide who is used for training: the keywords of ``split_experiment``."""


def plan_data_shares(*, kind, num_overrepresented, num_rotations, data_shares, num_photos, design="square"):
    """Lay out which target has which data share in which generator.

    Parameters
    ----------
    kind : str
        ``many`` photos of a target, one photo ``repeated``, or ``none``: no generator has an over-represented identity.
    num_overrepresented, num_rotations : int
        Targets, and generators.
    data_shares : sequence of float, in [0, 1)
        Shares of a generator's training photos, rising from 0.
    num_photos : int
        Training photos of each generator.
    design : str
        ``square``, or ``single``: a target's generators follow each other, from its smallest data share above 0 to its largest.

    Returns
    -------
    DataFrame, one row a generator and target: ``group`` (str; r0, r1, ..., the generator), ``target`` (int),
    ``data_share`` (float), ``num_photos`` (int; the data share of all photos, rounded).

    Raises
    ------
    ValueError
        If a generator's targets leave no photo for background identities, or a data share is less than half a photo.
    """
    least = min((data_share for data_share in data_shares if data_share > 0), default=1)
    if round(least * num_photos) < 1:
        raise ValueError(f"a data share of {least} of {num_photos} photos is no photo: raise num_photos or the smallest data "
                         "share (params.yaml: experiments)")
    width = len(str(num_rotations - 1))
    rows = []
    for rotation in range(num_rotations):
        for target in range(num_overrepresented):
            place = _place_single if design == "single" else _place_square
            number = 0 if kind == "none" else place(rotation, target, len(data_shares))
            data_share = float(data_shares[number])
            rows.append((f"r{rotation:0{width}d}", target, data_share, round(data_share * num_photos)))
    plan = pd.DataFrame(rows, columns=["group", "target", "data_share", "num_photos"])
    most = int(plan.groupby("group").num_photos.sum().max())
    if most >= num_photos:
        raise ValueError(f"{num_overrepresented} targets at the data shares {list(data_shares)} fill {most} of {num_photos} "
                         "photos and leave none for background identities: lower num_overrepresented or data_shares "
                         "(params.yaml: experiments)")
    return plan


def split_experiment(
    table, *, num_overrepresented, num_photos, max_background_photos, query_photos, num_controls, seed, **layout
):  # fmt: skip
    """Draw targets, control identities and background identities, and choose the photos of each generator.

    All orders are those of a hash of (seed, name), as in ``ppe.datasets.splits.split_identities``. Three things follow:

    - All kinds and designs have the same targets, with the same query photos. An experiment of one target has the first of five.
    - A smaller data share has the first photos of a larger one.
    - In the kinds ``many`` and ``repeated`` all generators have the same background identities, and more of them where the
      targets have fewer photos. In the kind ``none`` each generator has others, and the identities that would be targets are
      left out.

    Parameters
    ----------
    table : DataFrame
        As in ``split_identities``. Targets and control identities have the role ``attacked``; background identities are all
        others that are not ``auxiliary``.
    num_overrepresented, num_photos : int
        As in ``plan_data_shares``; so are ``layout``: ``kind``, ``design``, ``num_rotations`` and ``data_shares``.
    max_background_photos : int
        Photos of a background identity, at most.
    query_photos : int
        Photos of each target and control identity that train no generator.
    num_controls, seed : int

    Returns
    -------
    split : DataFrame
        One row a query photo, and one row a training photo for each time that it is used: ``image_id``, ``identity``, ``group``
        (the generator; "" for a query), ``part`` (one of ``PARTS``), ``role`` (train or query).
    plan : DataFrame of ``plan_data_shares``, with the ``identity`` of each target.

    Raises
    ------
    ValueError
        If there are too few identities or photos, or an image_id is in two rows.
    """
    plan = plan_data_shares(num_overrepresented=num_overrepresented, num_photos=num_photos, **layout)
    photos = _list_pictures(table, seed)
    largest = max(layout["data_shares"])
    most = round(largest * num_photos)
    able = photos[photos.role == "attacked"].identity.value_counts()
    whom = f"targets, with {most} training photos (a data share of {largest:.3g} of {num_photos}) and {query_photos} query photos"
    targets = _draw(able, num_overrepresented, most + query_photos, (), seed, whom)
    controls = _draw(able, num_controls, query_photos, targets, seed, "control identities")
    own = photos[photos.identity.isin([*targets, *controls])].groupby("identity")
    chosen = {identity: list(part.image_id) for identity, part in own}

    rows = [(image_id, identity, "", "target" if identity in targets else "control", "query")
            for identity in (*targets, *controls) for image_id in chosen[identity][:query_photos]]  # fmt: skip
    plan = plan.assign(identity=[targets[number] for number in plan.target])
    background = photos[(photos.role != "auxiliary") & ~photos.identity.isin([*targets, *controls])]
    for number, (group, cells) in enumerate(plan.groupby("group", sort=True)):
        for cell in cells.itertuples():
            unused = chosen[cell.identity][query_photos:]
            used = unused[:1] * cell.num_photos if layout["kind"] == "repeated" else unused[: cell.num_photos]
            rows += [(image_id, cell.identity, group, "target", "train") for image_id in used]
        names = (seed, BACKGROUND_STREAM, number) if layout["kind"] == "none" else (seed, BACKGROUND_STREAM)
        others = _draw_background(background, num_photos - int(cells.num_photos.sum()), max_background_photos, names)
        rows += [(image_id, identity, group, "background", "train") for identity, image_id in others]
    return pd.DataFrame(rows, columns=["image_id", "identity", "group", "part", "role"]), plan


def count_training_photos(members, plan):
    """Count each target's photos in each generator's training set, as the trainers wrote them down.

    Parameters
    ----------
    members : DataFrame, one row a training photo: group, identity.
    plan : DataFrame of ``split_experiment``.

    Returns
    -------
    ``plan`` with ``num_photos`` (int) and ``share`` (float, in [0, 1]) as counted.
    """
    counts = members.groupby(["group", "identity"]).size()
    total = members.groupby("group").size()
    cells = pd.MultiIndex.from_frame(plan[["group", "identity"]])
    num_photos = counts.reindex(cells, fill_value=0).to_numpy()
    return plan.assign(num_photos=num_photos, share=num_photos / plan.group.map(total).to_numpy())


def count_parts(split):
    """Count the identities and photos of targets, background and control identities, by role.

    split : DataFrame of ``split_experiment``.

    Returns a DataFrame, one row a part and role: ``identities`` and ``photos`` (different ones) and ``uses``, in which a training
    photo counts once for each generator and each time that it is repeated.
    """
    counts = {"identities": ("identity", "nunique"), "photos": ("image_id", "nunique"), "uses": ("image_id", "size")}
    return split.groupby(["part", "role"]).agg(**counts)


def _place_square(rotation, target, num_data_shares):
    """The number of the data share that a target has in a rotation of the Latin square."""
    steps = [step for step in range(1, num_data_shares + 1) if math.gcd(step, num_data_shares) == 1]
    return (target + steps[target // num_data_shares % len(steps)] * rotation) % num_data_shares


def _place_single(rotation, target, num_data_shares):
    """The number of the data share that a target has in a generator of the design ``single``: 0 in those of other targets."""
    own, number = divmod(rotation, num_data_shares - 1)
    return 1 + number if own == target else 0


def _list_pictures(table, seed):
    """One row a picture that belongs to one identity, in the order in which the pictures of each identity are taken."""
    twice = table["image_id"].duplicated()
    if twice.any():
        raise ValueError(f"image_id {table.loc[twice, 'image_id'].iloc[0]!r} is in more than one row, but one row a photo is "
                         "needed")
    photos = table[["image_id", "identity", "role"]].assign(picture=find_pictures(table)).reset_index(drop=True)
    photos = photos[photos.groupby("picture")["identity"].transform("nunique") == 1]
    order = [hash_names(seed, identity, image_id) for identity, image_id in zip(photos.identity, photos.image_id, strict=True)]
    return photos.assign(order=order).sort_values("order").drop_duplicates("picture").drop(columns="order")


def _draw(able, count, num_photos, taken, seed, what):
    """The first ``count`` identities, in the order of the hash, that have ``num_photos`` pictures and are not taken."""
    identities = [identity for identity in able.index[able >= num_photos] if identity not in taken]
    if len(identities) < count:
        raise ValueError(f"the table has {len(identities)} identities with at least {num_photos} photos, but {count} are needed "
                         f"as {what}: lower num_overrepresented, num_controls, data_shares or query_photos (params.yaml: "
                         "experiments), or keep more photos of each identity (params.yaml: datasets)")
    return tuple(sorted(identities, key=lambda identity: hash_names(seed, identity))[:count])


def _draw_background(photos, count, most, names):
    """(identity, image_id) of ``count`` photos, identity after identity in the order of the hash, at most ``most`` of each."""
    order = {identity: hash_names(*names, identity) for identity in photos.identity.unique()}
    kept = photos.assign(first=photos.identity.map(order))
    kept["second"] = [hash_names(*names, image_id) for image_id in kept.image_id]
    kept = kept.sort_values(["first", "second"]).groupby("first", sort=False).head(most)
    if len(kept) < count:
        raise ValueError(f"the {len(order)} background identities have {len(kept)} photos, at most {most} of each, but {count} "
                         "are needed: lower num_photos or raise max_background_photos (params.yaml: experiments)")
    return list(zip(kept.identity[:count], kept.image_id[:count], strict=True))
