"""Who stands in which training set how often: a Latin square of people and doses, so that five GANs do the work of
twenty-five (the fourth claim of Webster et al., arXiv 2107.06018: one over-represented person).

A *dose* is a person's share of all photos that a GAN is shown. Every GAN of a square is shown equally many photos: its
*subjects*, each at its dose, and a *crowd*, a few photos a person. Rotation r gives subject i dose number (i + r) modulo the
number of doses, so each subject passes through each dose, and each GAN holds each dose. Where there are more subjects than
doses, the next ones turn by another step, (i + 2 r) say: two subjects at one dose in one GAN are at two in the next (orthogonal
Latin squares, where the doses are a prime number of), so that a subject is not taken for its look-alike in every GAN.
*Null* people are in no set at all.
"""

import math

import pandas as pd

from ppe.datasets.splits import find_pictures, hash_names

PARTS = ("target", "background", "control")
BACKGROUND_STREAM = "crowd"
"""Hashed into the order of background photos: another word would draw others, and committed rows would not be made again."""
SPLIT_SETTINGS = {
    *("kind", "num_overrepresented", "num_rotations", "data_shares", "num_photos", "max_background_photos", "query_photos", "num_controls", "seed"),
}
"""What of a square's settings says who is shown to whom: the keywords of ``split_experiment``."""


def plan_data_shares(*, kind, num_overrepresented, num_rotations, data_shares, num_photos):
    """Lay out the square.

    Parameters
    ----------
    kind : str. ``many`` photos of a person, one photo ``repeated``, or ``none``: nobody stands out in any GAN.
    num_overrepresented, num_rotations : int
    doses : sequence of float, in [0, 1). Shares of the photos that a GAN is shown.
    num_photos : int. Photos that a GAN is shown.

    Returns
    -------
    DataFrame, a row a GAN and subject: ``group`` (r0, r1, ...; the GAN), ``target`` (int), ``data_share``, ``num_photos`` (int, the
    dose times all photos, rounded).

    Raises
    ------
    ValueError
        If a GAN's doses leave no photo for a crowd, or a dose is less than half a photo.
    """
    least = min((data_share for data_share in data_shares if data_share > 0), default=1)
    if round(least * num_photos) < 1:
        raise ValueError(f"dose {least} of {num_photos} photos is no photo: raise num_photos or the smallest dose "
                         "(params.yaml: squares)")
    width = len(str(num_rotations - 1))
    steps = [step for step in range(1, len(data_shares) + 1) if math.gcd(step, len(data_shares)) == 1]
    rows = []
    for rotation in range(num_rotations):
        for target in range(num_overrepresented):
            step = steps[target // len(data_shares) % len(steps)]
            data_share = 0.0 if kind == "none" else float(data_shares[(target + step * rotation) % len(data_shares)])
            rows.append((f"r{rotation:0{width}d}", target, data_share, round(data_share * num_photos)))
    plan = pd.DataFrame(rows, columns=["group", "target", "data_share", "num_photos"])
    most = int(plan.groupby("group").num_photos.sum().max())
    if most >= num_photos:
        raise ValueError(f"{num_overrepresented} people at doses {list(data_shares)} fill {most} of {num_photos} photos and leave no crowd: "
                         "lower num_overrepresented or doses (params.yaml: squares)")
    return plan


def split_experiment(table, *, kind, num_overrepresented, num_rotations, data_shares, num_photos, max_background_photos, query_photos, num_controls, seed):
    """Draw subjects, null people and the crowd, and say which photos each GAN is shown.

    All orders are those of a hash of (seed, name), as in ``ppe.datasets.splits.split_identities``. So the subjects are the same, with
    the same unseen photos, in all kinds; a smaller dose shows the first photos of a larger one; and a square of one subject
    has the first of five. In the kinds ``many`` and ``repeated`` each GAN has the same crowd, longer where fewer photos are
    the subjects'; in the kind ``none`` each has another one, from which the people are left out who would be subjects.

    Parameters
    ----------
    table : DataFrame, as in ``split_identities``. Subjects and null people are ``attacked`` ones; the crowd is everybody else who
        is not ``auxiliary``.
    kind, num_overrepresented, num_rotations, doses, num_photos : as in ``plan_data_shares``.
    max_background_photos : int. Photos of a person of the crowd, at most.
    query_photos : int. Photos of each subject and null person that no GAN is shown.
    num_controls, seed : int

    Returns
    -------
    split : DataFrame
        One row a shown photo, once for every time that it is shown, and one an unseen photo: ``image_id``, ``identity``,
        ``group`` (the GAN; "" if unseen), ``part`` (subject, crowd or null), ``role`` (train or query).
    plan : DataFrame of ``plan_data_shares``, with the ``identity`` of each subject.

    Raises
    ------
    ValueError
        If people or photos are too few, or an image_id stands twice.
    """
    plan = plan_data_shares(kind=kind, num_overrepresented=num_overrepresented, num_rotations=num_rotations, data_shares=data_shares, num_photos=num_photos)
    photos = _list_pictures(table, seed)
    most = round(max(data_shares) * num_photos)
    able = photos[photos.role == "attacked"].identity.value_counts()
    targets = _draw(able, num_overrepresented, most + query_photos, (), seed, "subjects")
    null = _draw(able, num_controls, query_photos, targets, seed, "null people")
    own = photos[photos.identity.isin([*targets, *null])].groupby("identity")
    chosen = {identity: list(part.image_id) for identity, part in own}

    rows = [(image_id, identity, "", "target" if identity in targets else "control", "query")
            for identity in (*targets, *null) for image_id in chosen[identity][:query_photos]]  # fmt: skip
    plan = plan.assign(identity=[targets[number] for number in plan.target])
    background = photos[(photos.role != "auxiliary") & ~photos.identity.isin([*targets, *null])]
    for number, (group, cells) in enumerate(plan.groupby("group", sort=True)):
        for cell in cells.itertuples():
            unseen = chosen[cell.identity][query_photos:]
            shown = unseen[:1] * cell.num_photos if kind == "repeated" else unseen[: cell.num_photos]
            rows += [(image_id, cell.identity, group, "target", "train") for image_id in shown]
        names = (seed, BACKGROUND_STREAM, number) if kind == "none" else (seed, BACKGROUND_STREAM)
        people = _draw_background(background, num_photos - int(cells.num_photos.sum()), max_background_photos, names)
        rows += [(image_id, identity, group, "background", "train") for identity, image_id in people]
    return pd.DataFrame(rows, columns=["image_id", "identity", "group", "part", "role"]), plan


def count_shown(members, plan):
    """The dose that each subject really had: counted in what the trainers wrote down, never recomputed.

    members : DataFrame, one row a photo shown: group, identity. Returns ``plan`` with ``num_photos`` and ``share`` counted.
    """
    counts = members.groupby(["group", "identity"]).size()
    total = members.groupby("group").size()
    cells = pd.MultiIndex.from_frame(plan[["group", "identity"]])
    num_photos = counts.reindex(cells, fill_value=0).to_numpy()
    return plan.assign(num_photos=num_photos, share=num_photos / plan.group.map(total).to_numpy())


def _list_pictures(table, seed):
    """One row a picture that stands under one name, in the order in which each person's are taken."""
    twice = table["image_id"].duplicated()
    if twice.any():
        raise ValueError(f"image_id {table.loc[twice, 'image_id'].iloc[0]!r} stands in more than one row, but one row a photo is "
                         "needed")
    photos = table[["image_id", "identity", "role"]].assign(picture=find_pictures(table)).reset_index(drop=True)
    photos = photos[photos.groupby("picture")["identity"].transform("nunique") == 1]
    order = [hash_names(seed, identity, image_id) for identity, image_id in zip(photos.identity, photos.image_id, strict=True)]
    return photos.assign(order=order).sort_values("order").drop_duplicates("picture").drop(columns="order")


def _draw(able, count, num_photos, taken, seed, what):
    """The first ``count`` people, in the order of the hash, who have ``num_photos`` pictures and are not taken."""
    people = [identity for identity in able.index[able >= num_photos] if identity not in taken]
    if len(people) < count:
        raise ValueError(f"the table has {len(people)} identities with at least {num_photos} photos, but {count} are asked for "
                         f"as {what}: lower num_overrepresented, num_controls, doses or query_photos (params.yaml: squares), or keep more "
                         "photos a person (params.yaml: datasets)")
    return tuple(sorted(people, key=lambda identity: hash_names(seed, identity))[:count])


def _draw_background(photos, count, most, names):
    """(identity, image_id) of ``count`` photos, person after person in the order of the hash, at most ``most`` each."""
    order = {identity: hash_names(*names, identity) for identity in photos.identity.unique()}
    kept = photos.assign(person=photos.identity.map(order))
    kept["photo"] = [hash_names(*names, image_id) for image_id in kept.image_id]
    kept = kept.sort_values(["person", "photo"]).groupby("person", sort=False).head(most)
    if len(kept) < count:
        raise ValueError(f"the crowd of {len(order)} people holds {len(kept)} photos at {most} a person at most, but {count} are "
                         "asked for: lower num_photos or raise max_background_photos (params.yaml: squares)")
    return list(zip(kept.identity[:count], kept.image_id[:count], strict=True))
