"""What each stage took on this machine, in ``executed/runtime.csv``: a file that no stage depends on and git ignores."""

import os
import time
from contextlib import contextmanager

import pandas as pd
from filelock import FileLock

from ppe.config import choose_device, load_table, save_table

COLUMNS = ["stage", "name", "seconds", "cores", "device"]


@contextmanager
def note_runtime(params, stage, name):
    """Note the seconds that a stage takes, in place of those of an earlier call; a stage that fails notes nothing.

    params : Params; stage : str, as in dvc.yaml; name : str, a data set, run, experiment or study.
    """
    started = time.monotonic()
    yield
    seconds = round(max(time.monotonic() - started, measure_training(params, stage, name)))
    row = {"stage": stage, "name": name, "seconds": seconds, "cores": count_cores(), "device": choose_device(params.device)}
    file = params.runtime_file()
    file.parent.mkdir(exist_ok=True)
    with FileLock(f"{file}.lock"):  # other stages may end beside this one
        _add_row(file, row)


def _add_row(file, row):
    """Write a stage's row in place of its earlier one."""
    known = load_table(file) if file.exists() else pd.DataFrame(columns=COLUMNS)
    known = known[(known.stage != row["stage"]) | (known.name != row["name"])]
    table = pd.DataFrame([row], columns=COLUMNS)
    save_table(pd.concat([known, table], ignore_index=True) if len(known) else table, file)


def measure_training(params, stage, name):
    """Seconds from the first snapshot of a training to its end, breaks included; 0 for a stage that trains no generator.

    A training that was stopped, or found finished, costs its last stage less than it took.
    """
    if stage not in ("train", "train-experiment"):
        return 0.0
    folders = params.list_checkpoints(name) if stage == "train" else params.list_experiment_checkpoints(name)
    spans = [0.0]
    for folder in folders:
        first = [path.stat().st_mtime for path in folder.glob("*/snapshot-000000000.safetensors")]
        last = [path.stat().st_mtime for path in folder.glob("*/finished.json")]
        spans.append(max(last) - min(first) if first and last else 0.0)
    return max(spans)


def count_cores():
    """Cores that this process may use; all of the machine's where the system does not say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
