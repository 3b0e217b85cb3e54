"""Random numbers of a training step: a function of (seed, step) alone, however many processes share the step.

A training that resumes from a checkpoint therefore uses the random numbers of an uninterrupted one. Two processes with half
a batch each use those of one process with the whole batch.
"""

import hashlib
from functools import lru_cache
from typing import NamedTuple

import torch


class Draws(NamedTuple):
    """Source of one step's random numbers; row i of a batch belongs to process i modulo ``world``.

    The rows of a process are strided, because the groups of the minibatch standard deviation are strided: a group of one
    process is then a group of the whole batch (if the group size divides the share of a process).
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
    """Hash several numbers into one seed below 2**31.

    torch's generator on a CPU reads only the lower 32 bits of a seed, and the upper half of those is reserved for published
    faces (``ppe.generators.sampling.LATENT_STREAM``).
    """
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:4]) >> 1


def open_draws(seed, step, size, device="cpu", rank=0, world=1, stream=0):
    """Open the random numbers of one step.

    size : int, faces in the whole batch, over all processes. stream : int, separates independent sources of one step.
    Returns ``Draws``.
    """
    return Draws(torch.Generator(device).manual_seed(mix_seed(seed, step, stream)), size, rank, world)


def pick_rows(count, step, size, seed, rank=0, world=1):
    """Pick the training photos of a step: every photo once an epoch, in an order that depends on (seed, epoch) alone.

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
    """Order of the photos in one epoch, int64 [count]; cached, because sorting a large data set takes longer than a step."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(mix_seed(seed, epoch, "epoch")))
