"""Read a face data set, one photo a row, into an index table, and the photos themselves lazily, a batch at a time.

The data sets are those of Webster et al. (arXiv 2107.06018) where a folder of them is at hand, LFW (Huang et al.
2007), the Olivetti faces (Samaria and Harter 1994) and the drawn people of ``ppe.datasets.synthetic``. A photo that cannot be
used stays a row and says why; only a whole data set that cannot be used is an error.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from ppe.datasets.olivetti import OLIVETTI_FILE, OLIVETTI_SHA256, OLIVETTI_URL, find_olivetti_row, load_olivetti
from ppe.datasets.photos import describe_file, load_photo, say_error
from ppe.datasets.readers import READERS, choose_photos
from ppe.datasets.synthetic_reader import describe_drawn, draw_batches


def read_index(reader, *, root=None, min_photos=1, max_photos=None, seed=0, num_identities=None, num_auxiliary=0,
               photos_per_identity=None, num_prominent=0, photos_per_prominent=None, download_dir=None):
    """List a data set's photos, with a hash of the bytes and, where a photo cannot be used, the reason.

    The table is a function of the files' names and bytes and of the arguments: no time, no absolute path, no order of
    creation is in it. Names that are not UTF-8 are written with backslash escapes, and such files are not readable.

    Parameters
    ----------
    reader : str
        A key of ``READERS``.
    root : path or None
        Folder of the data set. None downloads (``lfw``, ``olivetti``); ``synthetic`` needs none.
    min_photos : int
        People with fewer files are left out.
    max_photos : int or None
        At most so many files a person, chosen by a shuffle that depends on (seed, identity) alone.
    seed : int, >= 0
        Seed of that shuffle; for ``synthetic`` also of the people and their photos.
    num_identities, num_auxiliary, photos_per_identity : int
        ``synthetic`` only: people to attack, auxiliary people after them, photos of each.
    num_prominent, photos_per_prominent : int
        ``synthetic`` only: so many of the people to attack, the first, have so many photos.
    download_dir : path or None
        Where ``lfw`` and ``olivetti`` are downloaded to; None is scikit-learn's data folder.

    Returns
    -------
    DataFrame, sorted by (identity, image_id) in code point order, with the columns
        image_id : str, unique; identity : str; path : str, relative to the root, forward slashes, "" if drawn;
        bytes : int64, size (0 if drawn); sha256 : str, of the file's bytes (of the pixels in Olivetti, of the identity
        vector and the photo's seed if drawn, "" if it could not be opened); readable : bool; reason : str, why not.
        ``readable`` comes from the header alone: a truncated file shows when it is decoded.
        ``synthetic`` adds ``attribute_*``, what is known of each drawn person.

    Raises
    ------
    FileNotFoundError
        If the root is missing.
    ValueError
        If the reader is unknown, a number is out of range, or no person is left.
    """
    root = find_root(reader, root, download_dir)
    if min_photos < 1 or (max_photos is not None and max_photos < 1):
        raise ValueError(f"min_photos={min_photos}, max_photos={max_photos}: both must be at least 1 "
                         "(params.yaml: datasets)")
    files = READERS[reader](root, num_identities=num_identities, num_auxiliary=num_auxiliary,
                            photos_per_identity=photos_per_identity, num_prominent=num_prominent,
                            photos_per_prominent=photos_per_prominent)
    files = choose_photos(files, min_photos, max_photos, seed)
    if reader == "synthetic":
        return describe_drawn(files, seed)
    if reader == "olivetti":
        faces = load_olivetti(root)
        details = [(photo.nbytes, hashlib.sha256(photo.tobytes()).hexdigest(), "")
                   for photo in (faces[find_olivetti_row(image_id)] for _, image_id, _, _ in files)]
    else:
        details = [(0, "", reason) if reason else describe_file(root, path) for _, _, path, reason in files]
    return pd.DataFrame({
        "image_id": [file[1] for file in files], "identity": [file[0] for file in files],
        "path": [file[2] for file in files], "bytes": np.array([detail[0] for detail in details], dtype=np.int64),
        "sha256": [detail[1] for detail in details], "readable": [detail[2] == "" for detail in details],
        "reason": [detail[2] for detail in details]})


def find_root(reader, root=None, download_dir=None):
    """Return the folder that holds a reader's photos, downloading LFW or Olivetti if ``root`` is None.

    Raises
    ------
    FileNotFoundError
        If the root does not exist.
    ValueError
        If the reader is unknown, or needs a root and got none.
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
        raise ValueError(f"{reader} cannot be downloaded: name the folder that holds it (params.yaml: datasets, root)")
    from sklearn.datasets import fetch_file, fetch_lfw_people, get_data_home  # half a second, and only needed here

    home = Path(get_data_home(download_dir))
    try:
        if reader == "olivetti":
            fetch_file(OLIVETTI_URL, folder=home, local_filename=OLIVETTI_FILE, sha256=OLIVETTI_SHA256)
            return home
        # The public function downloads, checks and unpacks; its private part would do only that. With this minimum it
        # decodes one person's photos and no more. What is used is the folder of original frames that it leaves.
        fetch_lfw_people(data_home=home, funneled=False, min_faces_per_person=500)
        return home / "lfw_home" / "lfw"
    except OSError as error:
        raise ConnectionError(f"{reader} could not be downloaded ({say_error(error)}): put it in a folder and name that "
                              "(params.yaml: datasets, root)") from error


def iter_photos(index, reader, *, root=None, seed=0, size=128, batch_size=64, download_dir=None):
    """Read the photos of an index, in its order, a batch at a time.

    Parameters
    ----------
    index : DataFrame of ``read_index``
    reader, root, seed, download_dir
        As they were given to ``read_index``.
    size : int
        Side in pixels of drawn photos; the others come as large as they are, at most ``LONG_SIDE``.
    batch_size : int
        Rows a batch; what is read does not depend on it.

    Returns
    -------
    iterator of (positions, photos)
        positions : int64 [B], rows of the index; photos : list of B, each uint8 [H, W, 3] RGB, or a str that says why
        the photo could not be read.
    """
    root = find_root(reader, root, download_dir)
    if reader == "synthetic":
        return draw_batches(list(index["image_id"]), seed, size, batch_size)
    if reader == "olivetti":
        faces = load_olivetti(root)

        def read(rows):
            return [np.repeat(faces[find_olivetti_row(image_id)][:, :, None], 3, axis=2) for image_id in rows["image_id"]]
    else:
        def read(rows):
            return [load_photo(root, path) if readable else reason
                    for path, readable, reason in zip(rows["path"], rows["readable"], rows["reason"], strict=True)]
    return ((np.arange(start, min(start + batch_size, len(index))), read(index.iloc[start:start + batch_size]))
            for start in range(0, len(index), batch_size))
