"""FaceNet: the Inception-ResNet v1 of facenet-pytorch with its two published sets of weights.

Schroff et al. 2015, "FaceNet: A Unified Embedding for Face Recognition and Clustering", arXiv 1503.03832; the
architecture is that of Szegedy et al. 2016, arXiv 1602.07261.
"""

import hashlib
import urllib.error
import warnings
from pathlib import Path

import torch
from facenet_pytorch import InceptionResnetV1

from ppe.config.storage import write_whole

# Addresses from which facenet-pytorch 2.5.3 downloads; the names are those of the training data sets.
WEIGHTS = {
    "vggface2": "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
    "casia-webface": "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
    "20180408-102900-casia-webface.pt",
}


def build(input_size=160, width=1.0):
    """Build an untrained InceptionResnetV1: normalised faces [B, 3, 160, 160] -> embeddings [B, 512] of unit norm.

    Parameters
    ----------
    input_size, width
        160 pixels and 1, the only values for which weights are published.

    Raises
    ------
    ValueError
        If another value is given.
    """
    if (input_size, width) != (160, 1):
        raise ValueError(
            f"facenet's input_size={input_size} and width={width} are not 160 and 1, the values of its weights "
            "(params.yaml: embedders)"
        )
    net = InceptionResnetV1()
    net.input_size = input_size
    return net


def normalise(faces):
    """Scale uint8 or float pixels in [0, 255] to float32 in about [-1, 1], the range used in training."""
    return (faces.float() - 127.5) / 128


def find_weights(weights):
    """Find the weights file, download it at first use, and check that its bytes never change.

    Parameters
    ----------
    weights : str or path
        A name in ``WEIGHTS``, whose file lies in torch hub's cache (``checkpoints/`` in ``torch.hub.get_dir()``) or is
        downloaded there; or the path of such a file.

    Returns
    -------
    Path
        The file. Its sha256 is recorded in ``<file>.sha256`` at first use and compared at each further use.

    Raises
    ------
    ValueError
        If the file is absent and cannot be downloaded, or differs from the recorded one.
    """
    if weights is None:
        raise ValueError(f"facenet's weights are neither a path nor one of {list(WEIGHTS)} (params.yaml: embedders)")
    url = WEIGHTS.get(str(weights))
    path = Path(weights) if url is None else Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        if url is None:
            raise ValueError(
                f"facenet's weights file {path} is absent; {list(WEIGHTS)} are downloaded (params.yaml: embedders)"
            )
        _download(url, path)
    _check_sha256(path)
    return path


def rename_keys(state):
    """Drop the classifier of the training identities, ``logits.*``; all other names are those of facenet-pytorch."""
    return {key: value for key, value in state.items() if not key.startswith("logits.")}


def _download(url, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, path, progress=False)
    except (urllib.error.URLError, OSError) as error:
        raise ValueError(
            f"facenet's weights are not at {path} and cannot be downloaded ({error}): "
            f"download {url} by other means and place it there"
        ) from error


def _check_sha256(path):
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    record = path.with_name(path.name + ".sha256")
    if record.is_file():
        expected = record.read_text().split()[0]
        if found != expected:
            raise ValueError(
                f"{path} has sha256 {found}, but {expected} was recorded at its first use: "
                f"remove both files to download it again, or {record.name} alone if the change is intended"
            )
        return
    try:
        with write_whole(record) as partial:
            partial.write_text(f"{found}  {path.name}\n")
    except OSError as error:
        warnings.warn(f"the sha256 of {path} is not recorded, so that a later change is not noticed: {error}", stacklevel=3)
