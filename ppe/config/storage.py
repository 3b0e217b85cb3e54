"""Tables, arrays and JSON of the study on disk: written whole or not at all, and read without running code."""

import json
import mmap
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

TEXT_COLUMNS = (
    *("image_id", "identity", "path", "sha256", "reason", "duplicate_of", "role", "part", "group", "pseudonym", "face_set"),
    *("run", "dataset", "generator", "member_group", "embedder", "attack", "membership", "level", "aggregate", "control"),
    *("slice", "metric", "versus", "calibration", "experiment", "kind", "baseline", "measure"),
)
"""Columns of the study's tables that hold text, also where every cell is empty."""

MAKERS = {
    "data/faces": "1_faces", "models/embedders": "2_embed", "models/generators": "3_train", "data/generated": "4_generate",
    "data/attacks": "5_attack", "models/experiments": "train-experiment", "data/experiments": "train-experiment",
    "data/experiment_embeddings": "embed-experiment", "rows/experiments": "8_overrepresentation",
    "rows/sensitivity": "7_sensitivity", "rows": "6_evaluate", "scores": "6_evaluate", "results": "collect",
}  # fmt: skip
"""Folder -> what makes its files: a notebook, or a command of ``python -m ppe``; the first that is in a path counts."""


@contextmanager
def write_whole(path):
    """Give a temporary name to write to, which takes the place of ``path`` once all is written.

    Raises
    ------
    OSError
        If writing fails, for instance on a full disk. The file at ``path`` is then as it was, and no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or str(error)
        is_forbidden = isinstance(error, (PermissionError, IsADirectoryError, NotADirectoryError))
        cure = "see that it can be" if is_forbidden else "make room"
        raise OSError(f"{path} could not be written ({reason}) and is as it was: {cure}, then run it again") from None
    finally:
        partial.unlink(missing_ok=True)


def copy_whole(source, path):
    """Copy a file by a temporary name."""
    with write_whole(path) as partial:
        shutil.copyfile(source, partial)


def save_table(table, path, digits=6):
    """Write a DataFrame as CSV without its index; floats to so many significant digits, or, with None, so that reading gives
    back the same float64 numbers.
    """
    with write_whole(path) as partial:
        table.to_csv(partial, index=False, float_format=digits and f"%.{digits}g", lineterminator="\n")


def load_table(path):
    """Read a table of the study. Text stays text (an identity may be called NA), and empty text is ""; other gaps are NaN."""
    try:
        table = pd.read_csv(require_file(path), dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""],
                            float_precision="round_trip")
    except ValueError as error:  # of pandas, whose words name no file
        raise ValueError(f"{path} is not a whole table ({' '.join(str(error).split())}): delete it and make it again with "
                         "`make study`") from None
    text = [name for name in TEXT_COLUMNS if name in table]
    return table.assign(**{name: table[name].fillna("") for name in text})


def save_array(array, path):
    """Write an array as .npy by a temporary name."""
    with write_whole(path) as partial, open(partial, "wb") as file:
        np.save(file, array)


def load_array(path):
    """Map a .npy array of the study into memory, read-only: bytes are read when they are used."""
    try:
        return np.load(require_file(path), mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):  # numpy's own message names neither the file nor what to do
        raise ValueError(f"{path} is not a whole .npy array: delete it and make it again with `make study`") from None


def require_file(path):
    """The path, if it is there; a sentence that says what makes it if not."""
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
    """Write JSON with sorted keys, by a temporary name."""
    with write_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def to_tensor(rows):
    """Rows as a Tensor: a copy of an array, since torch cannot share one that is read-only."""
    import torch  # here, because commands that only read tables start without it

    return torch.tensor(rows) if isinstance(rows, np.ndarray) else rows


def read_block(rows, start, block_size):
    """Copy ``block_size`` rows from ``start`` on into a Tensor.

    The pages of a file that is mapped read-only are given back at once: they count as the process's memory, and a set of a
    million faces would fill two gigabytes.
    """
    block = to_tensor(rows[start : start + block_size])
    if isinstance(rows, np.memmap) and rows.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        rows._mmap.madvise(mmap.MADV_DONTNEED)
    return block
