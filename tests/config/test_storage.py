"""Arrays that are written and read in parts: the bytes are those of a whole array, and the file is whole or absent."""

import numpy as np
import pytest
import torch

from ppe.config import LazyRows, create_array, load_array, save_array
from ppe.config.storage import read_block, release_pages

VALUES = np.arange(10_000, dtype=np.uint8).reshape(50, 200)


def test_an_array_that_is_written_in_parts_has_the_bytes_of_one_that_is_saved(tmp_path):
    save_array(VALUES, tmp_path / "whole.npy")
    with create_array(tmp_path / "new" / "parts.npy", VALUES.shape) as written:
        assert written.dtype == np.uint8 and not written.any()
        for start in range(0, 50, 20):
            written[start : start + 20] = VALUES[start : start + 20]
            release_pages(written)
        assert not (tmp_path / "new" / "parts.npy").exists(), "a file that is not whole has no name yet"
        assert (read_block(written, 10, 20).numpy() == VALUES[10:30]).all()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["parts.npy"]
    assert (tmp_path / "new" / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_an_error_midway_leaves_what_was_there_and_is_passed_on(tmp_path):
    save_array(VALUES, tmp_path / "faces.npy")
    with pytest.raises(FileNotFoundError, match="^a photo is missing$"), create_array(tmp_path / "faces.npy", (3, 4)) as written:
        written[:] = 1
        raise FileNotFoundError("a photo is missing")
    assert [file.name for file in tmp_path.iterdir()] == ["faces.npy"] and (load_array(tmp_path / "faces.npy") == VALUES).all()


def test_an_array_of_no_rows_is_a_file_too(tmp_path):
    with create_array(tmp_path / "none.npy", (0, 3, 4, 4)):
        pass
    assert load_array(tmp_path / "none.npy").shape == (0, 3, 4, 4)


def test_lazy_rows_are_the_rows_of_a_copy(tmp_path):
    save_array(VALUES, tmp_path / "values.npy")
    index = np.array([7, 3, 3, 49, 0, 12])
    nested = LazyRows(VALUES[::-1], range(49, -1, -1))
    for array in (VALUES, load_array(tmp_path / "values.npy"), torch.from_numpy(VALUES), nested):
        rows, copy = LazyRows(array, index), VALUES[index]
        assert rows.shape == copy.shape and rows.dtype == array.dtype and len(rows) == len(copy)
        for key in (slice(1, 4), slice(4, 9), np.array([5, 0, 0]), 2):
            assert (np.asarray(rows[key]) == copy[key]).all()
        assert (read_block(rows, 2, 3).numpy() == copy[2:5]).all()
    assert len(LazyRows(VALUES, [])) == 0 and LazyRows(VALUES, [])[:5].shape == (0, 200)
