"""What each stage took, from what papermill and the trainer left behind; nothing of the study depends on it."""

import json
import os

import pandas as pd

from ppe.params import choose_device, load_table, save_table

COLUMNS = ["stage", "run", "seconds", "cores", "device"]
STAGES = {"faces": "1_faces", "embed": "2_embed", "train": "3_train", "generate": "4_generate", "attack": "5_attack"}
"""Stage -> its notebook."""


def measure_costs(executed, datasets, runs, checkpoints, *, device, known=None):
    """Read the seconds of each stage; those of notebooks that are not here are kept from ``known``.

    A training that was stopped, or found finished, takes its notebook less than it cost. So a training counts at least from
    its first snapshot to its end, breaks included.

    Parameters
    ----------
    executed : path. Folder of executed notebooks, whose metadata holds papermill's duration.
    datasets, runs : iterable of str.
    checkpoints : dict, run -> paths of its checkpoints (``ppe.params``), maybe none.
    device : str. Written down beside the cores of this machine, on which the notebooks in ``executed`` ran.
    known : DataFrame of an earlier call, or None.

    Returns
    -------
    DataFrame: stage, run (or data set), seconds, cores, device; a row a notebook, in the order of the graph.
    """
    old = {} if known is None else {(row["stage"], row["run"]): row for row in known.to_dict("records")}
    rows = []
    for stage, book in STAGES.items():
        for name in datasets if stage in ("faces", "embed") else runs:
            seconds = _read_duration(executed / f"{book}-{name}.ipynb")
            if seconds is not None:
                if stage == "train":
                    seconds = max([seconds, *map(_measure_training, checkpoints.get(name, []))])
                machine = {"cores": len(os.sched_getaffinity(0)), "device": device}
                rows.append({"stage": stage, "run": name, "seconds": round(seconds), **machine})
            elif (stage, name) in old:
                rows.append(old[stage, name])
    return pd.DataFrame(rows, columns=COLUMNS)


def note_costs(params):
    """Write what the notebooks that were executed here took to ``results/<study>/cost.csv``."""
    file = params.results_folder() / "cost.csv"
    checkpoints = {run: params.list_checkpoints(run) for run in params.runs}
    settings = {"device": choose_device(params.device), "known": load_table(file) if file.exists() else None}
    save_table(measure_costs(params.executed_folder(), params.datasets, params.runs, checkpoints, **settings), file)


def sum_minutes(costs, runs):
    """Minutes of the given runs (an iterable of str), without what their data set took; NaN where nothing is known."""
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
