"""The minibatch standard deviation, by which a discriminator detects that faces are too similar (Karras et al. 2018)."""

from contextlib import contextmanager

import torch


def compute_group_stddev(x, group):
    """Mean over channels and pixels of the standard deviation within groups of faces (Karras et al. 2018, section 3).

    x float [B, C, H, W] -> float [B, 1, H, W]. Groups are strided: face i belongs to group i modulo B / ``group``. If
    ``group`` does not divide B, the whole batch is one group.
    """
    batch, channels, height, width = x.shape
    group = group if batch % group == 0 else batch
    y = x.float().reshape(group, batch // group, channels, height, width)
    y = y - y.mean(dim=0)  # torch's ``var`` takes ten times as long over the first dimension
    spread = (y.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return spread.repeat(group)[:, None, None, None].expand(batch, 1, height, width)


class StddevChannel(torch.nn.Module):
    """Append the groups' standard deviation to a feature map, and keep its mean over about the last hundred batches.

    With the batch's own value, a face's logit depends on the other faces of its batch, and a batch of members biases a
    white-box attack. A fixed ``stddev`` removes this dependence.
    """

    def __init__(self, group=4):
        super().__init__()
        self.group, self.parts = group, 1
        self.register_buffer("mean", torch.zeros(()))

    @contextmanager
    def split(self, parts):
        """Take a batch for several of equal size, one after another, each with groups of its own: one pass is fastest."""
        self.parts = parts
        try:
            yield
        finally:
            self.parts = 1

    def forward(self, x, stddev=None):
        """x float [B, C, H, W] -> float [B, C + 1, H, W]; ``stddev`` float, or None: computed from the batch."""
        if stddev is not None:
            spread = x.new_full((len(x), 1, *x.shape[2:]), float(stddev))
        else:
            spreads = [compute_group_stddev(part, self.group) for part in x.chunk(self.parts)]
            for spread in spreads if self.training else ():
                self.mean.lerp_(spread.detach().mean().float(), 0.01)
            spread = torch.cat(spreads)
        return torch.cat([x, spread.to(x.dtype)], dim=1)
