"""Grids of faces: each face whole, in its place, below its title."""

import numpy as np

from ppe.plots.faces import plot_faces


def test_faces_stand_in_rows_below_their_titles():
    faces = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    figure = plot_faces(faces, ["a", "b", "", "", ""], columns=2, row_titles=["one", "two", "three"], title="whole")
    axis = figure.axes[0]
    assert all((image.get_array() == face.transpose(1, 2, 0)).all() for image, face in zip(axis.images, faces, strict=True))
    left, _, bottom, top = np.array([image.get_extent() for image in axis.images]).T
    assert (np.floor(left) == [0, 1, 0, 1, 0]).all() and (top < bottom).all(), "y grows downwards"
    assert np.allclose(np.diff(top[::2]), 1) and top[0] > 0.1, "room for the titles of the first row"
    names = {text.get_text(): text.get_position() for text in axis.texts if text.get_text()}
    assert set(names) == {"a", "b", "one", "two", "three"} and names["a"][0] < names["b"][0] and names["one"][0] < 0
    assert figure.get_suptitle() == "whole"
