"""Train the generators of one run: on a CPU side by side, in a process each; on a GPU one after another.

On a CPU three FastGAN trainings side by side, of one thread each, are faster than three in sequence that use all threads.
For StyleGAN2 both are equally fast (``bench/train.py --side-by-side``). If other programs share the cores, side by side is
much faster for both, because threads of one process then wait for each other.
"""

import json
import os
import sys
import time
from contextlib import nullcontext
from multiprocessing import get_context
from queue import Empty

import numpy as np
import torch
from torch.distributed import is_torchelastic_launched
from tqdm.auto import tqdm

from ppe.generators.training.checkpoints import hold_lock
from ppe.generators.training.loop import LOG_SECONDS, train_generator

POLL_SECONDS = 0.2


def list_jobs(images, seed, folder, label, identities=None, **recipe):
    """List the trainings of one run: one recipe for all groups, with photos and a seed of each group's own.

    Parameters
    ----------
    images : dict, group -> Tensor uint8 [N, 3, H, H].
    seed : int
        Seed of the run.
    folder : path
        Each group has a folder in it.
    label : str
        Name of the run in the log.
    identities : dict or None
        Group -> the identity of each photo, [N].
    **recipe
        Further keywords of ``train_generator``.

    Returns
    -------
    list of dict, in the order of the groups' names.
    """
    return [
        {**recipe, "images": np.asarray(images[group]), "seed": len(images) * seed + number, "folder": folder / group,
         "label": f"{label}, group {group}", "identities": identities and np.asarray(identities[group])}
        for number, group in enumerate(sorted(images))
    ]  # fmt: skip


def train_groups(jobs, device="cpu", label=""):
    """Train several generators; interrupted trainings resume, and finished ones are not repeated.

    Parameters
    ----------
    jobs : list of dict
        Keywords of ``ppe.generators.training.loop.train_generator``. Each has a ``folder`` of its own, whose lock is held by this
        process or by the one that trains for it.
    device : str
        ``cpu``: all at once, with the threads shared between them; else, or under ``torchrun``, one after another.
    label : str
        Name of the run in the log.

    Returns
    -------
    list of the losses of each, as ``train_generator`` returns them.

    Raises
    ------
    FloatingPointError, ValueError, OSError, RuntimeError
        The error of the first training that failed; the others are trained to their end.
    """
    # Counted over all trainings, not over those that are left: a training must resume with the threads it started with.
    threads = max(1, torch.get_num_threads() // len(jobs))
    todo = [job for job in jobs if not (job["folder"] / "finished.json").exists()]
    if torch.device(device).type == "cpu" and not is_torchelastic_launched():
        if todo:
            _train_side_by_side(todo, threads, label)
    else:
        for job in jobs:
            is_first = os.environ.get("RANK", "0") == "0"
            with hold_lock(job["folder"]) if is_first else nullcontext():
                train_generator(**job, device=device)
    return [json.loads((job["folder"] / "finished.json").read_text()) for job in jobs]


def _train_side_by_side(jobs, threads, label):
    context = get_context("spawn")
    # Without a lock around it: a process killed while it held the lock would block the others.
    shown, failures = context.Array("q", len(jobs), lock=False), context.Queue()
    processes = [
        context.Process(target=_train_alone, args=(job, number, threads, shown, failures), daemon=True)
        for number, job in enumerate(jobs)
    ]
    try:
        for process in processes:
            process.start()
        _show_progress(processes, shown, [round(job["kimg"] * 1000) for job in jobs], label)
    finally:  # an interrupt ends them; they resume from their checkpoints
        for process in processes:
            if process.pid:
                process.terminate()
                process.join()
    try:
        raise failures.get(timeout=1)
    except Empty:
        pass
    if any(process.exitcode for process in processes):
        codes = {job["label"]: process.exitcode for job, process in zip(jobs, processes, strict=True)}
        raise RuntimeError(f"a training process was killed (exit codes {codes}): run it again, it resumes from its checkpoint")


def _train_alone(job, number, threads, shown, failures):
    """Train in a process of its own: put an error into ``failures``, and stop once the parent process is gone."""
    torch.set_num_threads(threads)
    parent = os.getppid()

    def report(images):
        shown[number] = images
        if os.getppid() != parent:
            os._exit(1)

    try:
        with hold_lock(job["folder"]):
            train_generator(**job, report=report)
    except (FloatingPointError, ValueError, OSError) as error:
        failures.put(error)
        sys.exit(1)
    except Exception as error:
        failures.put(RuntimeError(f"{job['label']}: {type(error).__name__}: {error}"))
        sys.exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is on disk, and taking torch and its compiler apart would cost a second or two


def _show_progress(processes, shown, totals, label):
    """Show one progress bar at a terminal or in JupyterLab, else log a line a minute, until all processes have ended."""
    is_interactive = sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ
    started = logged = time.monotonic()
    with tqdm(total=sum(totals), desc=label, unit="image", disable=not is_interactive, leave=False) as bar:
        first = [0] * len(processes)  # images of an earlier call, which do not count into the speed
        while any(process.is_alive() for process in processes):
            time.sleep(POLL_SECONDS)
            done, now = sum(shown), time.monotonic()
            started = started if any(first) else now
            first = [old or new for old, new in zip(first, shown, strict=True)]
            bar.update(done - bar.n)
            if not is_interactive and now - logged > LOG_SECONDS and any(first):
                logged = now
                speed = (done - sum(first)) / max(now - started, 1e-9)
                print(f"{label}: {list(shown)} of {totals} images, {speed:.0f} images/s together", file=sys.stderr, flush=True)
