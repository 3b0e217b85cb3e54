"""Readers list a data set's files as (identity, image_id, path, reason); one function selects the files of each identity.

LFW (Huang et al. 2007), CASIA-WebFace and VGGFace2 have a folder for each identity, CelebA has a table, FFHQ no identities.
"""

import hashlib

import numpy as np

from ppe.datasets.olivetti import list_olivetti
from ppe.datasets.photos import walk_photos

NO_IDENTITY = "(no identity)"  # identity of files without one: they are listed but never readable


def choose_photos(files, min_photos, max_photos, seed):
    """Sort the listed files and keep ``min_photos`` to ``max_photos`` files of each identity.

    Parameters
    ----------
    files : list of (identity, image_id, path, reason)
    min_photos : int
        Identities with fewer files are left out.
    max_photos : int or None
        Largest number of files kept; a random choice that depends on (seed, identity) alone.
    seed : int

    Returns
    -------
    list of (identity, image_id, path, reason), sorted; files without an identity are all kept.

    Raises
    ------
    ValueError
        If no identity has ``min_photos`` files.
    """
    files_of = {}
    for file in sorted(files):
        files_of.setdefault(file[0], []).append(file)
    most = max((len(photos) for identity, photos in files_of.items() if identity != NO_IDENTITY), default=0)
    if most < min_photos:
        raise ValueError(f"no identity has {min_photos} photos, the largest number is {most}: lower min_photos "
                         "(params.yaml: datasets)")
    kept = []
    for identity, photos in files_of.items():
        if identity == NO_IDENTITY:  # all are listed, so that no file disappears unnoticed
            kept.extend(photos)
            continue
        if len(photos) < min_photos:
            continue
        if max_photos is not None and len(photos) > max_photos:
            digest = hashlib.sha256(f"{seed}/{identity}".encode()).digest()
            order = np.random.default_rng(int.from_bytes(digest[:16], "little")).permutation(len(photos))
            photos = [photos[i] for i in sorted(order[:max_photos])]
        kept.extend(photos)
    return kept


def list_folder(root, **_):
    """List ``<root>/<identity>/.../<image>`` (LFW, CASIA-WebFace, VGGFace2); image_id is the path."""
    files = [(path.split("/")[0], path, path, reason) if "/" in path
             else (NO_IDENTITY, path, path, "it is not in the folder of an identity")
             for path, reason in walk_photos(root)]
    if all(identity == NO_IDENTITY for identity, *_ in files):
        raise ValueError(f"{root} holds photos, but no folder of an identity: give a folder of <identity>/<image>, or "
                         "set reader: background (params.yaml: datasets)")
    return files


def list_background(root, **_):
    """List a folder of photos without identities (FFHQ): every photo counts as an identity of its own."""
    return [(path, path, path, reason) for path, reason in walk_photos(root)]


def list_celeba(root, **_):
    """List the files of ``identity_CelebA.txt`` (a name and an identity a line) and of the image folder; image_id is the name."""
    folder = next((name for name in ("img_align_celeba", "img_celeba") if (root / name).is_dir()), None)
    table = root / "identity_CelebA.txt"
    if folder is None or not table.is_file():
        raise FileNotFoundError(f"{root} does not hold identity_CelebA.txt and a folder img_align_celeba or img_celeba: give the "
                                "folder of CelebA (params.yaml: datasets, root)")
    identities = {}
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{table} is not UTF-8 ({error}): save it as UTF-8") from None
    for number, line in enumerate(lines, start=1):
        fields = line.rsplit(maxsplit=1)
        if len(fields) == 1:
            raise ValueError(f"{table}, line {number}: {line!r} is not a file name and an identity: correct the line")
        if fields and identities.setdefault(fields[0].strip(), fields[1]) != fields[1]:
            raise ValueError(f"{table}, line {number}: {fields[0].strip()!r} is identity {fields[1]} here and "
                             f"{identities[fields[0].strip()]} above: keep one of the two lines")
    on_disk = {path: reason for path, reason in walk_photos(root / folder)}
    # A name without a file is reported when it is opened; a file without a name has no identity.
    files = [(identity, name, f"{folder}/{name}", on_disk.get(name, "")) for name, identity in identities.items()]
    return files + [(NO_IDENTITY, name, f"{folder}/{name}", reason or "it is not named in identity_CelebA.txt")
                    for name, reason in on_disk.items() if name not in identities]


def list_synthetic(root, *, num_identities, num_auxiliary, photos_per_identity, photos_per_auxiliary=None,
                   num_prominent=0, photos_per_prominent=None):
    """List synthetic photos, person-0001/0001 and so on: (identity, image_id, "", "").

    Identities to attack come first, then the auxiliary identities, with ``photos_per_auxiliary`` photos each (None:
    ``photos_per_identity``). The first ``num_prominent`` identities have ``photos_per_prominent`` photos each.
    """
    if not num_identities or num_identities < 1 or num_auxiliary < 0 or not photos_per_identity \
            or photos_per_identity < 1:
        raise ValueError(f"num_identities={num_identities}, num_auxiliary={num_auxiliary}, photos_per_identity="
                         f"{photos_per_identity}: at least 1, 0 and 1 are needed (params.yaml: datasets)")
    if not 0 <= num_prominent <= num_identities or (num_prominent and not photos_per_prominent):
        raise ValueError(f"num_prominent={num_prominent}, photos_per_prominent={photos_per_prominent}: give at most "
                         f"num_identities={num_identities} identities, and their number of photos (params.yaml: datasets)")
    # All numbers have the same width, so that sorting by name sorts by number.
    total = num_identities + num_auxiliary
    photos = [photos_per_prominent] * num_prominent + [photos_per_identity] * (num_identities - num_prominent)
    photos += [photos_per_auxiliary or photos_per_identity] * num_auxiliary
    width, photo_width = max(4, len(str(total))), max(4, len(str(max(photos))))
    return [(f"person-{i:0{width}d}", f"person-{i:0{width}d}/{p:0{photo_width}d}", "", "")
            for i, count in enumerate(photos, start=1) for p in range(1, count + 1)]


READERS = {"synthetic": list_synthetic, "lfw": list_folder, "olivetti": list_olivetti, "celeba": list_celeba,
           "folder": list_folder, "background": list_background}
