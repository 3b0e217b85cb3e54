"""Work on several batches at a time. A face net's layers are small, with bookkeeping between them: on a CPU two threads on
two batches do more than two threads on one.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

MAX_WORKERS = 8  # batches at a time; a few more of them are in memory


@contextmanager
def open_workers(device):
    """Open as many workers as torch has threads on a CPU, each with one thread of its own; one worker on a GPU.

    device : str or torch.device, where the nets are.
    Yields a ThreadPoolExecutor; afterwards torch has its threads back. What a worker computes does not depend on how many
    there are. Autograd's mode is a thread's own: switch it off in the call, not around it.
    """
    num_threads = torch.get_num_threads()
    workers = min(num_threads, MAX_WORKERS) if torch.device(device).type == "cpu" else 1
    options = {"initializer": torch.set_num_threads, "initargs": (1,)} if workers > 1 else {}
    try:
        with ThreadPoolExecutor(workers, **options) as pool:
            yield pool
    finally:
        torch.set_num_threads(num_threads)  # a worker's number is also taken for that of threads to come
