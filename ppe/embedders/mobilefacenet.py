"""MobileFaceNet, a small face recognition model, written from the layer table of its paper.

Chen et al. 2018, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices",
arXiv 1804.07573, table 1.
"""

from pathlib import Path

from torch import nn

EMBEDDING_SIZE = 128

# Table 1 of the paper, rows 3 to 7: expansion t, channels c, repeats n, stride of the first repeat s.
BOTTLENECKS = [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)]

# Block names in the CASIA-WebFace weights file -> names here. The file groups the bottlenecks by rows of the table.
FILE_BLOCKS = {
    "conv1": "stem.0",
    "conv2_dw": "stem.1",
    "conv_23": "bottlenecks.0",
    **{f"conv_3.model.{i}": f"bottlenecks.{1 + i}" for i in range(4)},
    "conv_34": "bottlenecks.5",
    **{f"conv_4.model.{i}": f"bottlenecks.{6 + i}" for i in range(6)},
    "conv_45": "bottlenecks.12",
    **{f"conv_5.model.{i}": f"bottlenecks.{13 + i}" for i in range(2)},
}
FILE_LAYERS = {"conv": "expand", "conv_dw": "depthwise", "project": "project"}
FILE_HEAD = {
    "sep": "head.0.conv",
    "sep_bn": "head.0.bn",
    "prelu": "head.0.act",
    "GDC_dw": "head.1.conv",
    "GDC_bn": "head.1.bn",
    "features": "head.2.conv",
    "last_bn": "head.2.bn",
}


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm and, unless ``linear``, a PReLU with one slope per channel."""

    def __init__(self, channels_in, channels_out, kernel_size=1, stride=1, padding=0, groups=1, linear=False):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)
        self.act = nn.Identity() if linear else nn.PReLU(channels_out)

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Inverted residual: 1x1 expansion, 3x3 depthwise, linear 1x1 projection; a shortcut if the shape is unchanged."""

    def __init__(self, channels_in, channels_out, expansion, stride):
        super().__init__()
        hidden = channels_in * expansion
        self.expand = ConvBlock(channels_in, hidden)
        self.depthwise = ConvBlock(hidden, hidden, 3, stride, 1, groups=hidden)
        self.project = ConvBlock(hidden, channels_out, linear=True)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


class MobileFaceNet(nn.Module):
    """Normalised RGB faces to embeddings, which do not have unit norm yet.

    Parameters
    ----------
    input_size : int
        Side of the square input in pixels, a multiple of 16 (112 in the paper). The kernel of the global depthwise
        convolution is the side after four halvings: 112 -> 7, 64 -> 4, 48 -> 3.
    width : float
        Factor on every number of channels except the embedding's, rounded to multiples of 8. 1 in the paper.

    Raises
    ------
    ValueError
        If ``input_size`` is not a positive multiple of 16, or ``width`` is not in [0.1, 4].
    """

    def __init__(self, input_size=112, width=1.0):
        super().__init__()
        if input_size < 16 or input_size % 16:
            raise ValueError(f"input_size={input_size} is not a positive multiple of 16 (params.yaml: embedders)")
        if not 0.1 <= width <= 4:
            raise ValueError(f"width={width} is not in [0.1, 4] (params.yaml: embedders)")
        self.input_size = input_size

        def scale(channels):
            return max(8, 8 * round(channels * width / 8))

        first, last = scale(64), scale(512)
        self.stem = nn.Sequential(
            ConvBlock(3, first, 3, 2, 1),
            ConvBlock(first, first, 3, 1, 1, groups=first),
        )
        blocks, channels = [], first
        for expansion, channels_out, repeats, stride in BOTTLENECKS:
            for i in range(repeats):
                blocks.append(Bottleneck(channels, scale(channels_out), expansion, stride if i == 0 else 1))
                channels = scale(channels_out)
        self.bottlenecks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            ConvBlock(channels, last),
            ConvBlock(last, last, input_size // 16, groups=last, linear=True),
            ConvBlock(last, EMBEDDING_SIZE, linear=True),
        )

    def forward(self, x):
        """x float32 [B, 3, input_size, input_size] from ``normalise`` -> embeddings float32 [B, 128]."""
        return self.head(self.bottlenecks(self.stem(x))).flatten(1)


def build(input_size=112, width=1.0):
    """Build an untrained ``MobileFaceNet``; weights follow torch's global random state."""
    return MobileFaceNet(input_size, width)


def normalise(faces):
    """Scale uint8 or float pixels in [0, 255] to float32 in about [-1, 1], the range used in training."""
    return (faces.float() - 127.5) / 128


def find_weights(weights):
    """Check the path of a weights file, since this model has none to download. Returns a Path.

    Raises
    ------
    ValueError
        If the file does not exist.
    """
    if weights is None or not Path(weights).is_file():
        raise ValueError(
            f"mobilefacenet's weights file {weights} is absent and cannot be downloaded: "
            "give steps to train one, or another path (params.yaml: embedders)"
        )
    return Path(weights)


def rename_keys(state):
    """Rename the entries of a weights file to the names of this module.

    Parameters
    ----------
    state : dict of str -> Tensor
        From ``ppe.embedders.save`` (returned unchanged), or a training checkpoint. In a checkpoint the model has the
        prefix ``arcface.``, and the classifier of the training identities has the prefix ``head.`` and is dropped.

    Returns
    -------
    dict of str -> Tensor
        An unknown entry keeps its name, so that loading reports it.
    """
    if not any(key.startswith("arcface.") for key in state):
        return state
    renamed = {}
    for key, value in state.items():
        if not key.startswith("head."):
            renamed[_rename(key.removeprefix("arcface."))] = value
    return renamed


def _rename(name):
    block = next((b for b in FILE_BLOCKS if name.startswith(b + ".")), None)
    if block is None:
        layer, _, tensor = name.partition(".")
        return f"{FILE_HEAD.get(layer, layer)}.{tensor}"
    *layer, part, tensor = name.removeprefix(block + ".").split(".")
    layer = [FILE_LAYERS.get(x, x) for x in layer]
    return ".".join([FILE_BLOCKS[block], *layer, part.replace("prelu", "act"), tensor])
