"""What each stage took, from what papermill and the trainer left behind; nothing of the study depends on it."""

import json
import os
import time
from contextlib import contextmanager

import pandas as pd

from ppe.config import choose_device, load_params, load_table, save_json, save_table

COLUMNS = ["stage", "run", "seconds", "cores", "device"]
STAGES = {"faces": "1_faces", "embed": "2_embed", "train": "3_train", "generate": "4_generate", "attack": "5_attack",
          "background": None, "embed-experiment": None, "data_share": "8_doses"}  # fmt: skip
"""Stage -> its notebook; those without one note their seconds themselves."""


@contextmanager
def note_seconds(stage, name):
    """Write down what the command of a stage without a notebook takes; one that fails leaves what was written before."""
    started = time.monotonic()
    yield
    save_json({"seconds": time.monotonic() - started}, load_params(name).seconds_file(stage, name))


def measure_costs(executed, datasets, runs, checkpoints, *, device, experiments=(), noted=None, known=None):
    """Read the seconds of each stage; those of notebooks that are not here are kept from ``known``.

    A training that was stopped, or found finished, takes its notebook (or command) less than it cost. So a training counts at
    least from its first snapshot to its end, breaks included.

    Parameters
    ----------
    executed : path. Folder of executed notebooks, whose metadata holds papermill's duration.
    datasets, runs, squares : iterable of str.
    checkpoints : dict, ("train", run) or ("crowd", square) -> paths of its checkpoints (``ppe.config.params``), maybe none.
    device : str. Written down beside the cores of this machine, on which the notebooks in ``executed`` ran.
    noted : dict, (stage, square) -> seconds of stages without a notebook, or None.
    known : DataFrame of an earlier call, or None.

    Returns
    -------
    DataFrame: stage, run (or data set, or square), seconds, cores, device; a row a notebook or command, in the graph's order.
    """
    old = {} if known is None else {(row["stage"], row["run"]): row for row in known.to_dict("records")}
    rows = []
    for stage, book in STAGES.items():
        names = datasets if stage in ("faces", "embed") else experiments if stage in ("background", "embed-experiment", "data_share") else runs
        for name in names:
            seconds = _read_duration(executed / f"{book}-{name}.ipynb") if book else (noted or {}).get((stage, name))
            if seconds is not None:
                seconds = max([seconds, *map(_measure_training, checkpoints.get((stage, name), []))])
                machine = {"cores": len(os.sched_getaffinity(0)), "device": device}
                rows.append({"stage": stage, "run": name, "seconds": round(seconds), **machine})
            elif (stage, name) in old:
                rows.append(old[stage, name])
    return pd.DataFrame(rows, columns=COLUMNS)


def note_costs(params):
    """Write what the notebooks that were executed here took to ``results/<study>/cost.csv``."""
    file = params.results_folder() / "cost.csv"
    experiments = list(params.experiments)
    checkpoints = {("train", run): params.list_checkpoints(run) for run in params.runs}
    checkpoints |= {("background", experiment): params.list_experiment_checkpoints(experiment) for experiment in experiments}
    files = {(stage, name): params.seconds_file(stage, name) for stage, book in STAGES.items() if not book for name in experiments}
    noted = {key: json.loads(path.read_text())["seconds"] for key, path in files.items() if path.is_file()}
    known = load_table(file) if file.exists() else None
    settings = {"device": choose_device(params.device), "experiments": experiments, "noted": noted, "known": known}
    save_table(measure_costs(params.executed_folder(), params.datasets, params.runs, checkpoints, **settings), file)


def sum_minutes(costs, runs):
    """Minutes of the given runs or squares (an iterable of str), without their data set's; NaN where nothing is known."""
    seconds = costs.seconds[costs.run.isin(list(runs))]
    return seconds.sum() / 60 if len(seconds) else float("nan")


def _read_duration(path):
    """Papermill's seconds of an executed notebook, or None where there is none or it failed."""
    if not path.is_file():
        return None
    papermill = json.loads(path.read_text(encoding="utf-8")).get("metadata", {}).get("papermill", {})
    return None if papermill.get("exception") else papermill.get("duration")


def _measure_training(folder):
    """Seconds from the first snapshot of a run's GANs to the end of the last."""
    first = [path.stat().st_mtime for path in folder.glob("*/snapshot-000000000.safetensors")]
    last = [path.stat().st_mtime for path in folder.glob("*/finished.json")]
    return max(last) - min(first) if first and last else 0.0
