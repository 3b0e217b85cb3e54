"""Reader of the Olivetti faces (Samaria and Harter 1994): 400 photos in one MATLAB file."""

from pathlib import Path

import numpy as np

# Address and checksum are those of scikit-learn's ``fetch_olivetti_faces``. Its cache is a pickle and is not read here.
OLIVETTI_FILE = "olivettifaces.mat"
OLIVETTI_URL = "https://ndownloader.figshare.com/files/5976027"
OLIVETTI_SHA256 = "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"


def list_olivetti(root, **_):
    """List 40 identities x 10 photos, subject-01/01 to subject-40/10: (identity, image_id, path, "")."""
    if not (root / OLIVETTI_FILE).is_file():
        raise FileNotFoundError(f"{root} does not hold {OLIVETTI_FILE}: give the folder that does (params.yaml: datasets, root)")
    return [(f"subject-{i + 1:02d}", f"subject-{i + 1:02d}/{p + 1:02d}", OLIVETTI_FILE, "")
            for i in range(40) for p in range(10)]


def load_olivetti(root):
    """Load the Olivetti faces: ndarray uint8 [400, 64, 64], grey levels, ten consecutive rows an identity."""
    from scipy.io import loadmat

    path = Path(root) / OLIVETTI_FILE
    try:
        faces = loadmat(path).get("faces")
    except Exception as error:  # the type depends on the bytes that SciPy's reader meets
        raise ValueError(f"{path} is not a complete MATLAB file ({error}): download it again (params.yaml: datasets, "
                         "root)") from None
    if faces is None or faces.shape != (4096, 400) or faces.dtype != np.uint8:
        raise ValueError(f"{path} has no variable 'faces', uint8 [4096, 400]: download it again (params.yaml: datasets, root)")
    # MATLAB stores each picture column by column.
    return faces.T.reshape(400, 64, 64).transpose(0, 2, 1)


def find_olivetti_row(image_id):
    """Row in ``load_olivetti`` of an image_id: int, 20 for ``subject-03/01``."""
    identity, photo = image_id.removeprefix("subject-").split("/")
    return (int(identity) - 1) * 10 + int(photo) - 1
