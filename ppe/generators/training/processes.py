"""One training in several processes, under ``torchrun``, by Lightning Fabric: one GPU each, or a share of the CPU each.

Gradients are averaged once a step, after those of all losses are summed. R1 and path lengths need second derivatives, which
torch's own wrapper (DistributedDataParallel) does not follow through several passes.
"""

import os
from functools import lru_cache

import torch
from torch.distributed import is_torchelastic_launched


@lru_cache(maxsize=1)
def join_processes(device):
    """Join the processes that ``torchrun`` started.

    device : str. Returns (fabric, or None in a single process; device; rank; number of processes).
    """
    if not is_torchelastic_launched():
        return None, torch.device(device), 0, 1
    from lightning_fabric import Fabric  # imported here, because a training in one process does not need it

    accelerator = "cuda" if torch.device(device).type == "cuda" else "cpu"
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    world = int(os.environ["WORLD_SIZE"])
    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=world // local, strategy="ddp")
    fabric.launch()
    return fabric, fabric.device, fabric.global_rank, fabric.world_size


@torch.no_grad()
def average(tensor, fabric):
    """Mean of a tensor over the processes; in a single process the tensor itself."""
    if fabric is None:
        return tensor
    total = tensor.clone()
    torch.distributed.all_reduce(total)  # Fabric's own reduction adds a barrier before it, twice a step
    return total / fabric.world_size


@torch.no_grad()
def average_gradients(network, fabric):
    """Replace each gradient of ``network`` by its mean over the processes, in one message."""
    if fabric is None:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = average(torch.cat([g.flatten() for g in gradients]), fabric)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def wait_for_all(fabric):
    """Return once every process has called this."""
    if fabric is not None:
        fabric.barrier()
