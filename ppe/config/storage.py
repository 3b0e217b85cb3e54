"""Read and write tables, arrays and JSON. A file is written whole or not at all, and reading one never runs code."""

import json
import mmap
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

TEXT_COLUMNS = (
    *("image_id", "identity", "path", "sha256", "reason", "duplicate_of", "role", "part", "group", "pseudonym", "face_set"),
    *("run", "dataset", "generator", "member_group", "embedder", "attack", "membership", "level", "aggregate", "control"),
    *("slice", "metric", "versus", "calibration", "experiment", "kind", "design", "baseline", "measure"),
)
"""Columns of the study's tables that are read as text, even if every cell is empty."""

MAKERS = {
    "data/faces": "1_faces", "models/embedders": "2_embed", "models/generators": "3_train", "data/generated": "4_generate",
    "data/attacks": "5_attack", "models/experiments": "train-experiment", "data/experiments": "train-experiment",
    "data/experiment_embeddings": "embed-experiment", "rows/experiments": "8_overrepresentation",
    "rows/sensitivity": "7_sensitivity", "rows": "6_evaluate", "scores": "6_evaluate", "results": "collect",
}  # fmt: skip
"""Folder -> the notebook, or the command of ``python -m ppe``, that makes its files. The first folder found in a path counts."""


@contextmanager
def write_whole(path):
    """Yield a temporary path to write to. It replaces ``path`` when the ``with`` block ends without an error.

    Raises
    ------
    OSError
        If writing fails, for instance on a full disk. The file at ``path`` is then unchanged, and no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with _explain_failure(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _explain_failure(path):
    """Replace an OSError of the system by a sentence that names the file and says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        is_forbidden = isinstance(error, (PermissionError, IsADirectoryError, NotADirectoryError))
        cure = "see that it can be" if is_forbidden else "make room"
        raise OSError(f"{path} could not be written ({reason}) and is as it was: {cure}, then run it again") from None


@contextmanager
def hold_lock(file, waiting):
    """Let one process at a time do what follows. file : path of the lock; waiting : str, printed if another process holds it."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(waiting, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def copy_whole(source, path):
    """Copy a file, whole or not at all (``write_whole``)."""
    with write_whole(path) as partial:
        shutil.copyfile(source, partial)


def save_table(table, path, digits=6):
    """Write a DataFrame as CSV without its index.

    digits : int or None
        Significant digits of floats. None: enough for ``load_table`` to return the same float64 numbers.
    """
    with write_whole(path) as partial:
        table.to_csv(partial, index=False, float_format=digits and f"%.{digits}g", lineterminator="\n")


def load_table(path):
    """Read a table of the study: a DataFrame.

    Text stays text, since an identity may be called NA. Empty cells are "" in the columns ``TEXT_COLUMNS`` and NaN in all others.
    Raises ValueError if the file is not a whole table, FileNotFoundError if it is missing.
    """
    try:
        table = pd.read_csv(require_file(path), dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""],
                            float_precision="round_trip")
    except ValueError as error:  # the message of pandas does not name the file
        raise ValueError(f"{path} is not a whole table ({' '.join(str(error).split())}): delete it and make it again with "
                         "`make study`") from None
    text = [name for name in TEXT_COLUMNS if name in table]
    return table.assign(**{name: table[name].fillna("") for name in text})


def save_array(array, path):
    """Write an array as .npy, whole or not at all (``write_whole``)."""
    with write_whole(path) as partial, open(partial, "wb") as file:
        np.save(file, array)


@contextmanager
def create_array(path, shape, dtype=np.uint8):
    """Yield a new array of zeros that lies in a file, not in memory. The file is whole or absent, as with ``write_whole``.

    The array is a writable memory map of ``<path>.partial``, which replaces ``path`` when the ``with`` block ends without an
    error. Its bytes are those of ``save_array``. Call ``release_pages`` after each block that is written, or the written pages
    count as memory of the process.

    Parameters
    ----------
    path : path. Ends in ``.npy``.
    shape : tuple of int
    dtype : numpy dtype

    Yields
    ------
    memmap of this shape and dtype.

    Raises
    ------
    OSError
        If the file cannot be written. Its room on the disk is reserved first: on a full disk, a write to a memory map is no
        error but the end of the process. An error of the ``with`` block itself is passed on as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with _explain_failure(path):
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
            if hasattr(os, "posix_fallocate"):
                with open(partial, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
        yield array
        with _explain_failure(path):
            array.flush()
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_array(path):
    """Open a .npy array of the study as a read-only memory map: its bytes are read when they are used.

    Raises ValueError if the file is not a whole array, FileNotFoundError if it is missing.
    """
    try:
        return np.load(require_file(path), mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):  # numpy's own message names neither the file nor what to do
        raise ValueError(f"{path} is not a whole .npy array: delete it and make it again with `make study`") from None


def require_file(path):
    """Return ``path`` if it exists. Otherwise raise FileNotFoundError, whose message says what makes the file."""
    if not Path(path).exists():
        text = Path(path).as_posix()
        maker = next((maker for folder, maker in MAKERS.items() if f"/{folder}/" in text), "")
        if not maker:
            how = "run the notebooks before this one, in order, or `make study`"
        elif "/scratch/" in text:
            command = f"`python -m ppe {maker} {'tiny' if maker == 'collect' else Path(path).parent.name}`"
            how = f"run {f'notebooks/{maker}.ipynb' if maker[0].isdigit() else command}, which makes it"
        else:
            how = "`make study` or `dvc repro` makes it"
        raise FileNotFoundError(f"{path} is not there yet: {how}")
    return path


def save_json(content, path):
    """Write JSON with sorted keys, whole or not at all (``write_whole``)."""
    with write_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def to_tensor(rows):
    """Return rows as a Tensor. An array is copied, since torch cannot share a read-only one."""
    import torch  # here, because commands that only read tables start without it

    return torch.from_numpy(np.array(rows)) if isinstance(rows, np.ndarray) else rows


def read_block(rows, start, block_size):
    """Copy ``block_size`` rows, from row ``start`` on, into a Tensor.

    If the rows are a memory map, the pages that were read are released at once (``release_pages``).
    """
    block = to_tensor(rows[start : start + block_size])
    release_pages(rows)
    return block


def release_pages(rows):
    """Give the pages of a memory map back to the system, after writing changed ones to the file.

    Otherwise all pages that were read or written count as memory of the process, and a set of a million faces would fill two
    gigabytes. Arrays in memory are left alone.
    """
    if isinstance(rows, np.memmap) and rows.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        if rows.mode != "r":
            rows.flush()
        rows._mmap.madvise(mmap.MADV_DONTNEED)


class LazyRows:
    """Chosen rows of an array, read when they are used: ``array[index]`` would copy all of them into memory.

    It has the shape, dtype and length of that copy. ``rows[key]``, with a slice or with row numbers, reads these rows alone.

    Parameters
    ----------
    array : array, memmap, Tensor or LazyRows [M, ...].
    index : array, Series or Index [N], int. Row i is ``array[index[i]]``.
    """

    def __init__(self, array, index):
        self._array, self._index = array, np.asarray(index, np.int64)
        self.shape, self.dtype = (len(self._index), *array.shape[1:]), array.dtype

    def __len__(self):
        return len(self._index)

    def __getitem__(self, key):
        rows = self._array[self._index[key]]
        release_pages(self._array)
        return rows
