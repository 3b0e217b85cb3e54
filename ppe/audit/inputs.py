"""What goes into an audit: generated faces from a folder, an archive, an array or a run, and folders of people's photos.

A ``Source`` reads photos block by block, so that millions of faces need no memory. A photo that cannot be read has a reason.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppe.audit.archives import open_archive
from ppe.config import load_params
from ppe.config.storage import release_pages
from ppe.datasets.index import read_index
from ppe.datasets.photos import Photo, load_photo, walk_photos
from ppe.datasets.readers import NO_IDENTITY

MIN_FACES, MAX_FACES = 100, 10_000_000
"""Generated faces that an audit takes."""
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


@dataclass
class Source:
    """Photos in a fixed order.

    description : str, what it is, for the report.
    names : sequence of str, the path or number of each photo.
    read : callable (start, stop) -> list of ``ppe.datasets.photos.Photo``.
    digest : callable (start, stop) -> str, a hash of the bytes of these photos and of their names.
    identity : sequence of str, or None for generated faces.
    """

    description: str
    names: Sequence
    read: Callable
    digest: Callable
    identity: Sequence | None = None

    def __len__(self):
        return len(self.names)


class Numbers:
    """The names of an array's rows, made when they are used."""

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def __getitem__(self, row):
        return f"row {range(self._count)[row]}"


def names_run(where):
    """Whether ``--generated`` names a run, ``<run>:<group>``, and no file or folder: bool."""
    return ":" in str(where) and not Path(where).exists()


def refuse_absent(where):
    """Raise FileNotFoundError if ``--generated`` is no folder and no regular file, and names no run."""
    if not (Path(where).is_dir() or Path(where).is_file() or names_run(where)):
        raise FileNotFoundError(f"--generated {where} is not there: give a folder, a zip, tar or .npy file, or <run>:<group>")


def open_generated(where, root):
    """Open generated faces.

    Parameters
    ----------
    where : str
        A folder (searched at any depth), a zip or tar file, a ``.npy`` file of uint8 [M, 3, H, W] or [M, H, W, 3], or
        ``<run>:<group>`` of this study.
    root : path. The project, in which runs are looked for.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If it is none of these, or holds fewer than ``MIN_FACES`` or more than ``MAX_FACES`` pictures.
    FileNotFoundError
        If nothing is there.
    """
    path = Path(where)
    if path.is_dir():
        source = _open_folder(path)
    elif path.is_file() and path.name.lower().endswith(ARCHIVES):
        source = _open_archive(path)
    elif path.is_file() and path.suffix == ".npy":
        source = _open_array(path, f"the array {path.name}")
    elif path.is_file():
        raise ValueError(f"--generated {path} is a file, but not one of {', '.join(ARCHIVES)} or .npy")
    elif names_run(where):
        source = _open_run(where, root)
    else:
        refuse_absent(where)
    if not MIN_FACES <= len(source) <= MAX_FACES:
        raise ValueError(f"--generated {where} holds {len(source)} pictures, but {MIN_FACES} to {MAX_FACES} are needed")
    return source


def open_people(root, option):
    """Open a folder of ``<person>/<photo>`` by the study's reader.

    Parameters
    ----------
    root : path
    option : str, ``--people``, ``--controls`` or ``--training``, for messages.

    Returns
    -------
    Source
        Photos outside a person's folder are listed, with a reason.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is missing, or holds no folder of a person.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"{option} {root} is not a folder")
    try:
        index = read_index("folder", root=root)
    except (ValueError, FileNotFoundError) as mistake:
        sentence = str(mistake).partition(" (params.yaml")[0].partition(", or set reader")[0]
        raise type(mistake)(f"{option}: {sentence}") from None
    index["reason"] = np.where(index.identity == NO_IDENTITY, "it is not in the folder of a person", index.reason)
    readable, reasons, paths = (index.readable & (index.reason == "")).to_numpy(), list(index.reason), list(index.path)
    if not readable.any():
        raise ValueError(f"{option} {root}: none of {len(index)} entries can be used. The first one: {reasons[0]}")

    def read(start, stop):
        return [load_photo(root, paths[i]) if readable[i] else Photo(None, reasons[i]) for i in range(start, stop)]

    def digest(start, stop):
        part = index.iloc[start:stop]
        return hashlib.sha256("\n".join(part.image_id + " " + part.sha256 + part.reason).encode()).hexdigest()

    num_people = index.identity[index.identity != NO_IDENTITY].nunique()
    return Source(f"{len(index)} photos of {num_people} people", list(index.image_id), read, digest, list(index.identity))


def _open_folder(root):
    entries = walk_photos(root)
    entries.sort()

    def read(start, stop):
        return [Photo(None, reason) if reason else load_photo(root, path) for path, reason in entries[start:stop]]

    def digest(start, stop):
        total = hashlib.sha256()
        for path, reason in entries[start:stop]:
            total.update(f"{path}\0{reason}\0".encode())
            if not reason:
                _add_file(total, root / path)
        return total.hexdigest()

    return Source(f"{len(entries)} pictures in a folder", [path for path, _ in entries], read, digest)


def _add_file(total, path):
    """Add a file's bytes to a hash; one that cannot be read is told where it is opened."""
    try:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        total.update(b"unreadable")


def _open_archive(path):
    names, read, digest = open_archive(path)
    return Source(f"{len(names)} pictures in the archive {path.name}", names, read, digest)


def _open_array(path, what):
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path} is not a whole .npy array of numbers") from None
    if array.dtype != np.uint8 or array.ndim != 4 or 3 not in (array.shape[1], array.shape[3]):
        raise ValueError(f"{path} is {array.dtype} {list(array.shape)}, but uint8 [M, 3, H, W] or [M, H, W, 3] is needed")
    is_last = array.shape[1] != 3

    def take(start, stop):
        block = np.array(array[start:stop])
        release_pages(array)
        return np.ascontiguousarray(block if is_last else block.transpose(0, 2, 3, 1))

    def read(start, stop):
        return [Photo(pixels) for pixels in take(start, stop)]

    def digest(start, stop):
        return hashlib.sha256(take(start, stop).tobytes()).hexdigest()

    return Source(f"{len(array)} faces of {what}", Numbers(len(array)), read, digest)


def find_run(where, root):
    """The run and group that ``<run>:<group>`` names: (params of its study, str, str).

    Raises
    ------
    ValueError
        If there is no such run or group.
    """
    run, _, group = where.partition(":")
    params = load_params(run, root) if run.split("-")[0] == "tiny" else load_params(root=root)
    if run not in params.runs or group not in ("a", "b", "c"):
        raise ValueError(
            f"--generated {where} is neither a file nor a run of this study: write <run>:<group>, with a run of "
            f"{list(params.runs)} and the group a, b or c. Faces of a run of another study are in "
            ".studies/<study>/data/generated/<run>/<group>.npy, which can be given"
        )
    return params, run, group


def _open_run(where, root):
    """Generated faces of a run of this study, ``<run>:<group>``."""
    params, run, group = find_run(where, root)
    path = params.generated_folder(run) / f"{group}.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there yet: `make study` makes the faces of {run}")
    return _open_array(path, f"run {run}, group {group.upper()}")
