"""StyleGAN2 (Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN, arXiv 1912.04958).

Written from the paper in plain PyTorch operators, with noise, style mixing, path lengths and truncation. Two equivalences make
it fast without a compiled extension:

- Scaling a convolution's weights for each face (equations 1 and 3) equals scaling its input by the style and its output by
  the demodulation, so that one ordinary convolution serves the whole batch.
- The filter [1, 3, 3, 1] of up- and down-sampling is a depthwise convolution. For the RGB skips it is bilinear interpolation,
  which differs at the border alone: it repeats the edge instead of adding black.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ppe.generators.training.stddev import StddevChannel

MEAN_DECAY = 0.998
"""Decay per step of the moving average of w, the centre of truncation (assumed: a half-life of 350 steps)."""
NOISE_RATE = 0.05
"""Learning rate of the noise strengths relative to the others (assumed: at 1, the noise of a short training covers the faces)."""
SLOPE, GAIN = 0.2, math.sqrt(2)
"""Slope of the leaky ReLU, and its gain, by which convolutions multiply their weights: for a > 0, f(a x) = a f(x)."""
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTER = TAPS[:, None] * TAPS / TAPS.sum() ** 2
"""Low-pass filter before down-sampling and after up-sampling (Karras et al. 2019, section 2: bilinear sampling)."""
SETTINGS = ("latent_dim", "style_dim", "mapping_layers", "channel_base", "channel_max",
            "mapping_rate", "style_mixing", "truncation")  # fmt: skip
"""The generator's settings, of ``params.yaml: generators.stylegan2``."""


def build(resolution, settings):
    """Build an untrained (generator, discriminator) pair; see ``ppe.generators.build``."""
    generator = Generator(resolution, **{name: settings[name] for name in SETTINGS})
    return generator, Discriminator(resolution, settings["channel_base_discriminator"], settings["channel_max"])


def count_channels(resolution, channel_base, channel_max):
    """Channels of the feature maps at ``resolution``: halved as the side doubles, at most ``channel_max``."""
    return min(channel_base // resolution, channel_max)


def activate(x):
    """Leaky ReLU of slope 0.2, times sqrt(2) to keep the variance."""
    return F.leaky_relu(x, SLOPE) * GAIN


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate: unit-variance weights, scaled in each pass (Karras et al. 2018, section 4.1)."""

    def __init__(self, in_features, out_features, bias=0.0, rate=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / rate)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias)))
        self.gain, self.rate = rate / math.sqrt(in_features), rate

    def forward(self, x):
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate; ``down`` filters and halves the side, ``scale`` multiplies the output."""

    def __init__(self, in_channels, out_channels, size, bias=True, down=False, scale=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain, self.scale, self.size, self.down = scale / math.sqrt(in_channels * size**2), scale, size, down
        self.register_buffer("filter", FILTER.clone(), persistent=False)

    def forward(self, x):
        weight, bias = self.weight * self.gain, self.bias if self.bias is None else self.bias * self.scale
        if not self.down:
            return F.conv2d(x, weight, bias, padding=self.size // 2)
        if self.size == 1:  # only every second position of the filtered map is needed
            return F.conv2d(filter_map(x, self.filter, 1, stride=2), weight, bias)
        return F.conv2d(filter_map(x, self.filter, 2), weight, bias, stride=2)


def filter_map(x, kernel, padding, stride=1):
    """Convolve every channel of x [B, C, H, W] with one kernel [4, 4]."""
    return F.conv2d(x, kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4), padding=padding, stride=stride, groups=x.shape[1])


class StyledConv(nn.Module):
    """Convolution whose input channels are scaled by a style (section 2.2), then noise, bias and activation.

    ``up`` doubles the side by a transposed convolution and the filter.
    """

    def __init__(self, in_channels, out_channels, style_dim, up=False):
        super().__init__()
        self.affine = EqualLinear(style_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.up = up
        # Up-sampling inserts three zeros for each value: four times the filter keeps the mean.
        self.register_buffer("filter", 4 * FILTER, persistent=False)

    def forward(self, x, w, noise):
        """x [B, C, H, W], w [B, style_dim], noise [B, 1, H', W'] or None -> [B, C', H', W']."""
        # Demodulation (equation 3) cancels the scale of the weights, so no gain is applied to them.
        style = self.affine(w)
        with torch.autocast(x.device.type, enabled=False):  # sums of squares need the precision of float32
            power = self.weight.float().square().sum(dim=(2, 3))
            demodulate = (style.float().square() @ power.T + 1e-8).rsqrt().to(x.dtype)
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.up:
            x = filter_map(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2), self.filter, 1)
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = x * (demodulate * GAIN)[:, :, None, None]
        bias = (self.bias * GAIN)[:, None, None]
        if noise is not None:
            bias = bias + noise * (self.noise_strength * (NOISE_RATE * GAIN))
        return F.leaky_relu(x + bias.to(x.dtype), SLOPE)


class ToRgb(nn.Module):
    """Styled 1x1 convolution to red, green and blue, without demodulation (section 2.2 and figure 7)."""

    def __init__(self, in_channels, style_dim):
        super().__init__()
        self.affine = EqualLinear(style_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias, self.gain = nn.Parameter(torch.zeros(3)), 1 / math.sqrt(in_channels)

    def forward(self, x, w):
        return F.conv2d(x * (self.affine(w) * self.gain).to(x.dtype)[:, :, None, None], self.weight, self.bias)


class Generator(nn.Module):
    """Latent vectors z by way of styles w to faces, with skip connections of the RGB images (figure 7, top right).

    Parameters
    ----------
    resolution, latent_dim, style_dim, mapping_layers, channel_base, channel_max : int
        Side of the faces in pixels, a power of two from 8 up; lengths of z and w; layers between them; ``count_channels``.
    mapping_rate : float
        Learning rate of the mapping network relative to all other parameters (Karras et al. 2019, appendix C).
    style_mixing : float in [0, 1]
        Share of the training faces whose fine layers use the style of another z (Karras et al. 2019, section 3.1).
    truncation : float
        psi: distance of a published face's w from the mean w, relative to the sampled w (Karras et al. 2019, appendix B).
    """

    def __init__(self, resolution, latent_dim, style_dim, mapping_layers, channel_base, channel_max,
                 mapping_rate, style_mixing, truncation):  # fmt: skip
        super().__init__()
        self.latent_dim, self.style_mixing, self.truncation = latent_dim, style_mixing, truncation
        sizes = [latent_dim, *[style_dim] * mapping_layers]
        self.mapping = nn.ModuleList(EqualLinear(m, n, rate=mapping_rate) for m, n in zip(sizes[:-1], sizes[1:], strict=True))
        sides = [2**i for i in range(2, int(math.log2(resolution)) + 1)]
        width = {side: count_channels(side, channel_base, channel_max) for side in sides}
        self.constant = nn.Parameter(torch.randn(width[4], 4, 4))
        self.ups = nn.ModuleDict({str(s): StyledConv(width[s // 2], width[s], style_dim, up=True) for s in sides[1:]})
        self.convs = nn.ModuleDict({str(s): StyledConv(width[s], width[s], style_dim) for s in sides})
        self.to_rgbs = nn.ModuleDict({str(s): ToRgb(width[s], style_dim) for s in sides})
        self.num_styles = 2 * len(sides)
        # Moving sums of w and of its weights: their quotient is a mean from the first step on.
        self.register_buffer("mean_style", torch.zeros(style_dim))
        self.register_buffer("mean_weight", torch.zeros(()))

    def map(self, z):
        """z float [B, latent_dim] -> w float [B, style_dim] (Karras et al. 2019, figure 1)."""
        with torch.autocast(z.device.type, enabled=False):
            x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
            for layer in self.mapping:
                x = activate(layer(x))
        return x

    def synthesise(self, styles, draws=None):
        """styles float [B, num_styles, style_dim] -> faces float [B, 3, H, H], about [-1, 1]; no noise without ``draws``."""
        x = self.constant.expand(len(styles), -1, -1, -1)  # from the first convolution on in the weights' memory layout
        picture, layer = None, 0
        for side, conv in self.convs.items():
            if side in self.ups:
                x = self.ups[side](x, styles[:, layer], self._draw_noise(side, draws))
                layer += 1
            x = conv(x, styles[:, layer], self._draw_noise(side, draws))
            layer += 1
            if picture is not None:
                picture = F.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
            # The RGB layer shares its style with the next resolution's first layer.
            rgb = self.to_rgbs[side](x, styles[:, layer]).float()
            picture = rgb if picture is None else picture + rgb
        return picture

    def forward(self, z):
        """z float [B, latent_dim] -> published faces float [B, 3, H, H], about [-1, 1], a function of z alone."""
        # Noise is at its mean, 0: after a short training, one fixed noise would be visible in all faces as a pattern.
        w = self.map(z)
        w = (self.mean_style / self.mean_weight.clamp(min=1e-8)).lerp(w, self.truncation)
        return self.synthesise(w[:, None].expand(-1, self.num_styles, -1))

    def draw(self, z, draws):
        """Generate the faces of a training step: fresh noise, and styles of two z in a share ``style_mixing`` of them."""
        return self.synthesise(self.draw_styles(z, draws), draws)

    def draw_styles(self, z, draws):
        """Styles float [B, num_styles, style_dim]: w of z up to a random layer, w of another z from there on."""
        w = self.map(z)
        if self.training:
            self.mean_style.lerp_(w.detach().mean(0), 1 - MEAN_DECAY)
            self.mean_weight.lerp_(torch.ones_like(self.mean_weight), 1 - MEAN_DECAY)
        other = self.map(draws.normal(self.latent_dim).to(z.device))
        cut = 1 + draws.integers(self.num_styles - 1, 1).to(z.device)
        takes_other = torch.arange(self.num_styles, device=z.device) >= cut  # [B, num_styles]
        takes_other &= draws.uniform(1).to(z.device) < self.style_mixing
        return torch.where(takes_other[:, :, None], other[:, None], w[:, None])

    def measure_path_lengths(self, z, draws):
        """|J^T y| of each face, differentiable float [B]: change of pixels per change of styles (section 3.2, equation 4)."""
        styles = self.draw_styles(z, draws)
        faces = self.synthesise(styles, draws)
        y = draws.normal(*faces.shape[1:]).to(faces) / math.sqrt(faces.shape[2] * faces.shape[3])
        (gradient,) = torch.autograd.grad((faces * y).sum(), styles, create_graph=True)
        return gradient.square().sum(2).mean(1).sqrt()

    def _draw_noise(self, side, draws):
        return None if draws is None else draws.normal(1, int(side), int(side)).to(self.constant.device)


class ResidualBlock(nn.Module):
    """Two convolutions plus a filtered 1x1 shortcut, which halve the side (figure 7, bottom right)."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.first = EqualConv(in_channels, in_channels, 3, scale=GAIN)
        # The sum of both branches is divided by sqrt(2), which cancels the gain of the second activation.
        self.second = EqualConv(in_channels, out_channels, 3, down=True)
        self.shortcut = EqualConv(in_channels, out_channels, 1, bias=False, down=True, scale=math.sqrt(0.5))

    def forward(self, x):
        return F.leaky_relu(self.second(F.leaky_relu(self.first(x), SLOPE)), SLOPE) + self.shortcut(x)


class Discriminator(nn.Module):
    """Faces to logits, large = real: residual blocks down to 4x4, minibatch standard deviation, two linear layers."""

    def __init__(self, resolution, channel_base, channel_max, stddev_group=4):
        super().__init__()
        sides = [resolution // 2**i for i in range(int(math.log2(resolution)) - 1)]
        width = {side: count_channels(side, channel_base, channel_max) for side in sides}
        self.from_rgb = EqualConv(3, width[resolution], 1, scale=GAIN)
        self.blocks = nn.Sequential(*(ResidualBlock(width[s], width[s // 2]) for s in sides[:-1]))
        self.stddev = StddevChannel(stddev_group)
        self.last = EqualConv(width[4] + 1, width[4], 3, scale=GAIN)
        self.hidden = EqualLinear(width[4] * 16, width[4])
        self.logit = EqualLinear(width[4], 1)

    def forward(self, x, stddev=None):
        """faces float [B, 3, H, H] in [-1, 1] -> (logits float [B], {}); ``stddev`` fixes ``StddevChannel``."""
        x = self.blocks(F.leaky_relu(self.from_rgb(x), SLOPE))
        x = F.leaky_relu(self.last(self.stddev(x, stddev)), SLOPE).flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            return self.logit(activate(self.hidden(x.float()))).squeeze(1), {}
