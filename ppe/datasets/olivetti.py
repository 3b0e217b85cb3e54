"""The Olivetti faces (Samaria and Harter 1994): 400 photos inside one MATLAB file."""

from pathlib import Path

import numpy as np

# Address and checksum are those of scikit-learn's ``fetch_olivetti_faces``, whose own cache is a pickle: not read here.
OLIVETTI_FILE = "olivettifaces.mat"
OLIVETTI_URL = "https://ndownloader.figshare.com/files/5976027"
OLIVETTI_SHA256 = "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"


def list_olivetti(root, **_):
    """List the 40 people x 10 photos inside ``olivettifaces.mat``: subject-01/01 and so on."""
    if not (root / OLIVETTI_FILE).is_file():
        raise FileNotFoundError(f"{root} holds no {OLIVETTI_FILE} (params.yaml: datasets, root)")
    return [(f"subject-{i + 1:02d}", f"subject-{i + 1:02d}/{p + 1:02d}", OLIVETTI_FILE, "")
            for i in range(40) for p in range(10)]


def load_olivetti(root):
    """Load the Olivetti faces: uint8 [400, 64, 64] grey, ten of a person in a row."""
    from scipy.io import loadmat

    path = Path(root) / OLIVETTI_FILE
    try:
        faces = loadmat(path).get("faces")
    except Exception as error:  # SciPy's reader raises whatever the bytes lead it to
        raise ValueError(f"{path} is no MATLAB file, or not whole ({error}): fetch it again (params.yaml: datasets, "
                         "root)") from None
    if faces is None or faces.shape != (4096, 400) or faces.dtype != np.uint8:
        raise ValueError(f"{path} holds no 'faces', uint8 [4096, 400]: another file was expected (params.yaml: datasets, root)")
    # MATLAB wrote each picture column by column: as rows it lies on its side.
    return faces.T.reshape(400, 64, 64).transpose(0, 2, 1)


def find_olivetti_row(image_id):
    """Row of ``load_olivetti`` that ``subject-03/01`` names: 20."""
    person, photo = image_id.removeprefix("subject-").split("/")
    return (int(person) - 1) * 10 + int(photo) - 1
