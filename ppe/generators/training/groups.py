"""Train the GANs of one run side by side: on a CPU a process each, on a GPU one after another.

On a CPU three trainings of one thread each make more steps of FastGAN than three of all threads one after another, and as many
of StyleGAN2 (``bench/train.py --side-by-side``); where anything else runs, far more of both, since threads wait for each other.
"""

import json
import os
import sys
import time
from contextlib import closing, nullcontext
from multiprocessing import get_context
from queue import Empty

import numpy as np
import torch
from torch.distributed import is_torchelastic_launched
from tqdm.auto import tqdm

from ppe.generators.training.checkpoints import hold_lock
from ppe.generators.training.loop import LOG_SECONDS, train_gan

POLL_SECONDS = 0.2


def list_jobs(images, seed, folder, label, **recipe):
    """The trainings of one run: the same recipe for each group of people, on its own photos and with its own seed.

    images : dict, group -> Tensor uint8 [N, 3, H, H]; folder : path, of which each group has a folder; recipe : what else
    ``train_gan`` takes. Returns a list of dict, in the order of the groups.
    """
    return [
        {**recipe, "images": np.asarray(images[group]), "seed": len(images) * seed + number, "folder": folder / group,
         "label": f"{label}, GAN {group}"}
        for number, group in enumerate(sorted(images))
    ]  # fmt: skip


def train_groups(jobs, device="cpu", label=""):
    """Train several GANs; each goes on where it was stopped, and what is finished is not repeated.

    Parameters
    ----------
    jobs : list of dict
        Keywords of ``ppe.generators.training.loop.train_gan``; each has a ``folder`` of its own, in which this process, or the one
        that trains for it, holds the lock.
    device : str
        ``cpu``: all at once, with the threads shared out; else, or under ``torchrun``, one after another.
    label : str
        What the log calls them together.

    Returns
    -------
    list of the losses of each, as ``train_gan`` returns them.

    Raises
    ------
    FloatingPointError, ValueError, OSError, RuntimeError
        What the first training that failed said; the others were trained to their end.
    """
    # Of all trainings, not of those that are left: one that goes on must find the threads that it began with.
    threads = max(1, torch.get_num_threads() // len(jobs))
    todo = [job for job in jobs if not (job["folder"] / "finished.json").exists()]
    if torch.device(device).type == "cpu" and not is_torchelastic_launched():
        if todo:
            _train_side_by_side(todo, threads, label)
    else:
        for job in jobs:
            is_first = os.environ.get("RANK", "0") == "0"
            with closing(hold_lock(job["folder"])) if is_first else nullcontext():
                train_gan(**job, device=device)
    return [json.loads((job["folder"] / "finished.json").read_text()) for job in jobs]


def _train_side_by_side(jobs, threads, label):
    context = get_context("spawn")
    # No lock around it: a process that is killed while it holds one would leave the others waiting.
    shown, failures = context.Array("q", len(jobs), lock=False), context.Queue()
    processes = [
        context.Process(target=_train_alone, args=(job, number, threads, shown, failures), daemon=True)
        for number, job in enumerate(jobs)
    ]
    try:
        for process in processes:
            process.start()
        _show_progress(processes, shown, [round(job["kimg"] * 1000) for job in jobs], label)
    finally:  # an interrupt ends them; they go on from their checkpoints
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
        raise RuntimeError(f"a training was ended from outside (exit codes {codes}): run it again, it goes on where it was")


def _train_alone(job, number, threads, shown, failures):
    """The life of one process: what goes wrong is handed back as a sentence, and nobody trains on for a parent that is gone."""
    torch.set_num_threads(threads)
    parent = os.getppid()

    def report(images):
        shown[number] = images
        if os.getppid() != parent:
            os._exit(1)

    try:
        with closing(hold_lock(job["folder"])):
            train_gan(**job, report=report)
    except (FloatingPointError, ValueError, OSError) as error:
        failures.put(error)
        sys.exit(1)
    except Exception as error:
        failures.put(RuntimeError(f"{job['label']}: {type(error).__name__}: {error}"))
        sys.exit(1)


def _show_progress(processes, shown, totals, label):
    """Until all have ended: one bar for a person, a line a minute for a log."""
    person = sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ
    started = told = time.monotonic()
    with tqdm(total=sum(totals), desc=label, unit="image", disable=not person, leave=False) as bar:
        first = None
        while any(process.is_alive() for process in processes):
            time.sleep(POLL_SECONDS)
            done, now = sum(shown), time.monotonic()
            if first is None and done:
                first, started = done, now  # what was there already is no speed
            bar.update(done - bar.n)
            if not person and now - told > LOG_SECONDS and first is not None:
                told = now
                speed = (done - first) / max(now - started, 1e-9)
                print(f"{label}: {list(shown)} of {totals} images, {speed:.0f} images/s together", flush=True)
