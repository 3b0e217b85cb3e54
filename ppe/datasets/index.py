"""Index of a face data set, one row a photo, and its photos, read in batches.

Supported are folders of the data sets of Webster et al. (arXiv 2107.06018), LFW (Huang et al. 2007), the Olivetti faces
(Samaria and Harter 1994) and the synthetic identities of ``ppe.datasets.synthetic``. An unusable photo stays in the index with
a reason; only a data set that is unusable as a whole is an error.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from ppe.datasets.olivetti import OLIVETTI_FILE, OLIVETTI_SHA256, OLIVETTI_URL, find_olivetti_row, load_olivetti
from ppe.datasets.photos import Photo, describe_error, describe_file, load_photo
from ppe.datasets.readers import READERS, choose_photos


def read_index(reader, *, root=None, min_photos=1, max_photos=None, seed=0, num_identities=None, num_auxiliary=0,
               photos_per_identity=None, photos_per_auxiliary=None, num_prominent=0, photos_per_prominent=None,
               download_dir=None):
    """List a data set's photos, each with a hash of its bytes and, if it is unusable, the reason.

    The table depends on the arguments and on the names and bytes of the files alone: not on times, absolute paths or the
    order of creation. Names that are not UTF-8 are escaped with backslashes, and such files are not readable.

    Parameters
    ----------
    reader : str
        A key of ``READERS``.
    root : path or None
        Folder of the data set. None downloads ``lfw`` and ``olivetti``; ``synthetic`` needs none.
    min_photos : int
        Identities with fewer files are left out.
    max_photos : int or None
        Largest number of files of an identity, chosen by a shuffle that depends on (seed, identity) alone.
    seed : int, at least 0
        Seed of that shuffle; for ``synthetic`` also of the identities and their photos.
    num_identities, num_auxiliary, photos_per_identity : int
        ``synthetic`` only: identities to attack, auxiliary identities after them, photos of each.
    photos_per_auxiliary : int or None
        ``synthetic`` only: photos of each auxiliary identity; None: ``photos_per_identity``.
    num_prominent, photos_per_prominent : int
        ``synthetic`` only: number of first identities with another number of photos, and that number.
    download_dir : path or None
        Folder for downloads of ``lfw`` and ``olivetti``; None: scikit-learn's data folder.

    Returns
    -------
    DataFrame, one row a photo, sorted by (identity, image_id) in code point order
        image_id : str, unique; identity : str; path : str, relative to the root, with forward slashes ("" for synthetic
        photos); bytes : int64, size of the file (0 for synthetic photos); sha256 : str, hash of the file's bytes
        (Olivetti: of the pixels; synthetic: of the identity vector and the photo's seed; "" if it cannot be opened);
        readable : bool, from the header alone, so that a truncated file is noticed only when it is decoded; reason :
        str, why a photo is not readable.
        ``synthetic`` adds ``attribute_*`` and ``vector_*``, the known properties of each identity.

    Raises
    ------
    FileNotFoundError
        If the root is missing.
    ValueError
        If the reader is unknown, a number is out of range, or no identity is left.
    """
    root = find_root(reader, root, download_dir)
    if min_photos < 1 or (max_photos is not None and max_photos < 1):
        raise ValueError(f"min_photos={min_photos}, max_photos={max_photos}: both must be at least 1 "
                         "(params.yaml: datasets)")
    files = READERS[reader](root, num_identities=num_identities, num_auxiliary=num_auxiliary,
                            photos_per_identity=photos_per_identity, num_prominent=num_prominent,
                            photos_per_prominent=photos_per_prominent, photos_per_auxiliary=photos_per_auxiliary)
    files = choose_photos(files, min_photos, max_photos, seed)
    if reader == "synthetic":
        from ppe.datasets.synthetic_reader import describe_synthetic  # here, because folders of photos are listed without torch

        return describe_synthetic(files, seed)
    if reader == "olivetti":
        faces = load_olivetti(root)
        pixels = (faces[find_olivetti_row(image_id)] for _, image_id, _, _ in files)
        details = [(photo.nbytes, hashlib.sha256(photo.tobytes()).hexdigest(), "") for photo in pixels]
    else:
        details = [(0, "", reason) if reason else describe_file(root, path) for _, _, path, reason in files]
    rows = [(image_id, identity, path, size, digest, reason == "", reason)
            for (identity, image_id, path, _), (size, digest, reason) in zip(files, details, strict=True)]
    index = pd.DataFrame(rows, columns=["image_id", "identity", "path", "bytes", "sha256", "readable", "reason"])
    return index.astype({"bytes": np.int64})


def find_root(reader, root=None, download_dir=None):
    """Find the folder with a reader's photos, or download LFW or Olivetti if ``root`` is None.

    reader, root, download_dir : as in ``read_index``. Returns a Path, or None for ``synthetic``.

    Raises
    ------
    FileNotFoundError
        If the root does not exist.
    ValueError
        If the reader is unknown, or it needs a root and none is given.
    ConnectionError
        If the download fails.
    """
    if reader not in READERS:
        raise ValueError(f"reader={reader!r} is not one of {sorted(READERS)} (params.yaml: datasets)")
    if reader == "synthetic":
        return None
    if root is not None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"the root of {reader}, {root}, is not a folder (params.yaml: datasets, root)")
        return Path(root)
    if reader not in ("lfw", "olivetti"):
        raise ValueError(f"{reader} cannot be downloaded: give the path of its folder (params.yaml: datasets, root)")
    from sklearn.datasets import fetch_file, fetch_lfw_people, get_data_home  # takes half a second, and only this branch needs it

    home = Path(get_data_home(download_dir))
    try:
        if reader == "olivetti":
            fetch_file(OLIVETTI_URL, folder=home, local_filename=OLIVETTI_FILE, sha256=OLIVETTI_SHA256)
            return home
        # Called for its download and its check; only the folder of original frames is used. With this minimum it decodes
        # the photos of no more than one identity.
        fetch_lfw_people(data_home=home, funneled=False, min_faces_per_person=500)
        return home / "lfw_home" / "lfw"
    except OSError as error:
        raise ConnectionError(f"{reader} could not be downloaded ({describe_error(error)}): place it in a folder and give "
                              "its path (params.yaml: datasets, root)") from error


def iter_photos(index, reader, *, root=None, seed=0, size=128, batch_size=64, download_dir=None):
    """Read the photos of an index, in its order and in batches.

    Parameters
    ----------
    index : DataFrame of ``read_index``
    reader, root, seed, download_dir
        As given to ``read_index``.
    size : int
        Side in pixels of synthetic photos. Other photos keep their size, up to ``ppe.datasets.photos.LONG_SIDE``.
    batch_size : int
        Rows in a batch; the photos do not depend on it.

    Returns
    -------
    iterator of (positions, photos)
        positions : int64 [B], rows of the index; photos : list of B ``ppe.datasets.photos.Photo``.
    """
    root = find_root(reader, root, download_dir)
    if reader == "synthetic":
        from ppe.datasets.synthetic_reader import draw_batches

        batches = draw_batches(list(index["image_id"]), seed, size, batch_size)
        return ((positions, [Photo(pixels) for pixels in block]) for positions, block in batches)
    if reader == "olivetti":
        faces = load_olivetti(root)

        def read(rows):
            grey = [faces[find_olivetti_row(image_id)][:, :, None] for image_id in rows["image_id"]]
            return [Photo(np.repeat(pixels, 3, axis=2)) for pixels in grey]
    else:
        def read(rows):
            return [load_photo(root, path) if readable else Photo(None, reason)
                    for path, readable, reason in zip(rows["path"], rows["readable"], rows["reason"], strict=True)]
    return ((np.arange(start, min(start + batch_size, len(index))), read(index.iloc[start:start + batch_size]))
            for start in range(0, len(index), batch_size))
