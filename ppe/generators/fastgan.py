"""FastGAN, which the paper calls LightGAN (Liu et al. 2021, Towards Faster and Stabilized GAN Training, arXiv 2101.04775).

From the paper: gated up-sampling blocks, skip-layer excitation, and a self-supervised discriminator whose decoders reconstruct
its input. Differences, for models of 32 to 256 px that train in minutes:

- There is no noise input, so a generated face is a function of its latent vector alone.
- The loss is logistic with lazy R1 instead of hinge with spectral normalisation.
- The decoders minimise L1 instead of a perceptual loss, so that training needs no further network.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ppe.generators.training.stddev import StddevChannel

SKIPS = {16: 4, 32: 8, 64: 8, 128: 16, 256: 16}
"""Resolution of a feature map -> resolution of the map that excites it (paper, figure 3, scaled down)."""


def build(resolution, settings):
    """Build an untrained (generator, discriminator) pair; see ``ppe.generators.build``."""
    generator = Generator(resolution, settings["latent_dim"], settings["channel_base"], settings["channel_max"])
    return generator, Discriminator(resolution, settings["channel_base_discriminator"], settings["channel_max"])


def count_channels(resolution, channel_base, channel_max):
    """Channels of the feature maps at ``resolution``: halved as the side doubles, at most ``channel_max``, at least 16."""
    return max(16, min(channel_base // resolution, channel_max))


def gate(x):
    """Gated linear unit over channels: float [B, 2C, H, W] -> [B, C, H, W].

    The gradient of torch's own ``glu`` loses the channels_last layout, and batch norm's backward pass then takes seven times as
    long on a CPU.
    """
    values, gates = x.chunk(2, dim=1)
    return values * torch.sigmoid(gates)


class FirstConv(nn.ConvTranspose2d):
    """Transposed convolution of a map of one pixel: float [B, C, 1, 1] -> [B, D, 4, 4].

    It is a matrix product, which is ten times as fast on a CPU.
    """

    def forward(self, x):
        y = x.flatten(1) @ self.weight.flatten(1)
        return y.view(len(x), self.out_channels, *self.kernel_size).contiguous(memory_format=torch.channels_last)


class UpBlock(nn.Module):
    """Up-sampling by 2, convolution, batch norm, gated linear unit (paper, figure 3).

    A transposed 4x4 convolution replaces nearest-neighbour up-sampling and a 3x3 convolution. It has the same receptive field
    and takes half the time on a CPU. The stride divides the kernel size, so it leaves no checkerboard artefacts.
    """

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, 2 * out_channels, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(2 * out_channels)

    def forward(self, x):
        return gate(self.norm(self.conv(x)))


class SkipExcitation(nn.Module):
    """Skip-layer excitation: a low-resolution map gates the channels of a high-resolution one (paper, equation 2)."""

    def __init__(self, small_channels, large_channels):
        super().__init__()
        self.squeeze = nn.Conv2d(small_channels, large_channels, 4)
        self.gate = nn.Conv2d(large_channels, large_channels, 1)

    def forward(self, small, large):
        squeezed = F.leaky_relu(self.squeeze(F.adaptive_avg_pool2d(small, 4)), 0.1)
        return large * torch.sigmoid(self.gate(squeezed))


class Generator(nn.Module):
    """Latent vectors to faces.

    Parameters
    ----------
    resolution : int
        Side of the faces in pixels: a power of two from 32 to 256.
    latent_dim, channel_base, channel_max : int
        Length of z; numbers of channels as in ``count_channels``.
    """

    def __init__(self, resolution, latent_dim=128, channel_base=1024, channel_max=192):
        super().__init__()
        self.latent_dim = latent_dim
        width = {4 * 2**i: count_channels(4 * 2**i, channel_base, channel_max) for i in range(int(math.log2(resolution)) - 1)}
        self.first = nn.Sequential(FirstConv(latent_dim, 2 * width[4], 4, bias=False), nn.BatchNorm2d(2 * width[4]))
        sides = list(width)
        self.ups = nn.ModuleDict({str(r): UpBlock(width[r // 2], width[r]) for r in sides[1:]})
        self.skips = nn.ModuleDict({str(r): SkipExcitation(width[SKIPS[r]], width[r]) for r in sides if r in SKIPS})
        self.to_rgb = nn.Conv2d(width[resolution], 3, 3, padding=1)

    def forward(self, z):
        """z float [B, latent_dim] -> faces float [B, 3, resolution, resolution] in [-1, 1]."""
        z = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        x = gate(self.first(z[:, :, None, None]))
        maps = {4: x}
        for side, up in self.ups.items():
            x = up(x)
            if side in self.skips:
                x = self.skips[side](maps[SKIPS[int(side)]], x)
            maps[int(side)] = x
        return torch.tanh(self.to_rgb(x))

    def draw(self, z, draws):
        """Generate the faces of a training step, which are random in ``z`` alone."""
        return self(z)


class DownBlock(nn.Module):
    """Strided convolutions plus an average-pooled shortcut, scaled to unit variance (paper, figure 4, residual block)."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.down = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.direct = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x):
        main = F.leaky_relu(self.conv(F.leaky_relu(self.down(x), 0.2)), 0.2)
        return (main + self.direct(F.avg_pool2d(x, 2))) * math.sqrt(0.5)


class Decoder(nn.Module):
    """Reconstruct a 16x16 image from a feature map of side 4 (paper, section 3.2: the simple decoders)."""

    def __init__(self, channels):
        super().__init__()
        self.ups = nn.Sequential(UpBlock(channels, 32), UpBlock(32, 16))
        self.to_rgb = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.to_rgb(self.ups(x)))


class Discriminator(nn.Module):
    """Faces to logits, large = real; two decoders reconstruct the face from its features.

    Parameters are those of ``Generator``. The last feature map, 4x4, gets a minibatch standard deviation channel, which
    ``stddev`` fixes (``ppe.generators.training.stddev``).
    """

    def __init__(self, resolution, channel_base=1024, channel_max=192, stddev_group=4):
        super().__init__()
        sides = [resolution // 2**i for i in range(1, int(math.log2(resolution)) - 1)]
        width = {r: count_channels(r, channel_base, channel_max) for r in sides}
        self.stem = nn.Conv2d(3, width[sides[0]], 4, stride=2, padding=1)
        self.downs = nn.ModuleDict({str(r): DownBlock(width[2 * r], width[r]) for r in sides[1:]})
        self.stddev = StddevChannel(stddev_group)
        self.last = nn.Conv2d(width[4] + 1, width[4], 3, padding=1)
        self.logit = nn.Linear(width[4] * 16, 1)
        self.decode_whole = Decoder(width[4])
        self.decode_part = Decoder(width[8])
        # torch's default initialisation shrinks a signal by 0.6 a layer: the logit then hardly depends on the face.
        for layer in (self.stem, *self.downs.modules(), self.last):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                nn.init.zeros_(layer.bias)

    def forward(self, x, stddev=None):
        """faces float [B, 3, H, W] in [-1, 1] -> (logits float [B], dict side -> feature map, which ``redraw`` decodes)."""
        maps = {}
        x = F.leaky_relu(self.stem(x), 0.2)
        for side, down in self.downs.items():
            x = down(x)
            maps[int(side)] = x
        y = F.leaky_relu(self.last(self.stddev(x, stddev)), 0.2)
        return self.logit(y.flatten(1)).squeeze(1), maps

    def redraw(self, images, maps, quadrant):
        """L1 between real faces and their reconstructions: the whole face from the 4x4 map, a quadrant from the 8x8 map.

        images : Tensor float [B, 3, H, W], the input of ``forward``; maps : its second output; quadrant : (row, column), each
        0 or 1. Returns Tensor [], small = similar.
        """
        half = images.shape[-1] // 2
        row, column = quadrant
        part = images[:, :, row * half : (row + 1) * half, column * half : (column + 1) * half]
        feature = maps[8][:, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        whole_loss = F.l1_loss(self.decode_whole(maps[4]), F.interpolate(images, size=(16, 16), mode="area"))
        return whole_loss + F.l1_loss(self.decode_part(feature), F.interpolate(part, size=(16, 16), mode="area"))

