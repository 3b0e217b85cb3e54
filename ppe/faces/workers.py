"""Several batches at a time on a CPU.

The layers of a face recognition model are small, with bookkeeping between them. Two threads with a batch each are therefore
faster than two threads that share a batch.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

MAX_WORKERS = 8
"""Batches at a time; a few more are in memory."""


@contextmanager
def open_workers(device):
    """Open as many workers as torch has threads on a CPU, with one thread each; on a GPU open one worker.

    Results do not depend on the number of workers. Afterwards torch has its threads back. Autograd's mode belongs to a
    thread: switch it off inside the submitted call, not around it.

    Parameters
    ----------
    device : str or torch.device
        Where the models compute.

    Yields
    ------
    ThreadPoolExecutor
    """
    num_threads = torch.get_num_threads()
    workers = min(num_threads, MAX_WORKERS) if torch.device(device).type == "cpu" else 1
    options = {"initializer": torch.set_num_threads, "initargs": (1,)} if workers > 1 else {}
    try:
        with ThreadPoolExecutor(workers, **options) as pool:
            yield pool
    finally:
        torch.set_num_threads(num_threads)  # a worker's setting also applies to threads created later
