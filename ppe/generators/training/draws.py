"""A step's random numbers: a function of (seed, step) alone, however many processes share the step.

So a training that goes on from a checkpoint sees what one that was never stopped would have seen, and two processes with
half a batch each see what one process with the whole batch sees.
"""

import hashlib
from functools import lru_cache
from typing import NamedTuple

import torch


class Draws(NamedTuple):
    """Where one step's random numbers come from; row i of a batch belongs to process i modulo ``world``.

    The rows of a process are strided, because the groups of the minibatch standard deviation are: a group of one process
    is then a group of the whole batch (where the group's size divides the share of a process).
    """

    random: torch.Generator
    size: int
    rank: int = 0
    world: int = 1

    def uniform(self, *shape):
        """float32 [size / world, *shape] in [0, 1), on the generator's device."""
        return self._share(torch.rand(self.size, *shape, generator=self.random, device=self.random.device))

    def normal(self, *shape):
        """float32 [size / world, *shape], standard normal, on the generator's device."""
        return self._share(torch.randn(self.size, *shape, generator=self.random, device=self.random.device))

    def integers(self, high, *shape):
        """int64 [size / world, *shape] from 0 to ``high`` - 1, on the generator's device."""
        whole = torch.randint(0, high, (self.size, *shape), generator=self.random, device=self.random.device)
        return self._share(whole)

    def _share(self, whole):
        return whole[self.rank :: self.world]


def mix_seed(*numbers):
    """One seed of several numbers, below 2**31: torch's generator on a CPU looks at the lower 32 bits of a seed alone, and
    the upper half of those is for published faces (``ppe.generators.sampling.LATENT_STREAM``)."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4]) >> 1


def open_draws(seed, step, size, device="cpu", rank=0, world=1, stream=0):
    """The draws of step ``step``; ``size`` counts the whole batch, over all processes; ``stream`` keeps one step's apart."""
    return Draws(torch.Generator(device).manual_seed(mix_seed(seed, step, stream)), size, rank, world)


def pick_rows(count, step, size, seed, rank=0, world=1):
    """Which photos a step shows: every photo once an epoch, in an order of (seed, epoch) alone.

    Returns int64 [size / world], rows of ``count`` photos, on the CPU.
    """
    start, stop = step * size, (step + 1) * size
    parts = []
    for epoch in range(start // count, (stop - 1) // count + 1):
        order = _order_photos(count, seed, epoch)
        parts.append(order[max(start - epoch * count, 0) : stop - epoch * count])
    return torch.cat(parts)[rank::world]


@lru_cache(maxsize=2)
def _order_photos(count, seed, epoch):
    """int64 [count]: the photos of one epoch; kept, since a large data set's takes longer than a step."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(mix_seed(seed, epoch, "epoch")))
