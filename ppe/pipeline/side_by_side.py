"""Runs and experiments of a study side by side (``--jobs``): a dvc for each, in one folder.

dvc makes one stage after another, and lets several dvc work in one folder as long as none writes what another reads or writes.
So what all share is made first, and then each dvc gets stages of one run or experiment alone (``--single-item``).
"""

import os
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import yaml

OF_BASELINE = "overrepresentation"
"""The stage of an experiment that reads the generators of another one, its baseline: it waits until all have been trained."""
LAST_STAGES = ("sensitivity", OF_BASELINE)
"""The last stages of a run and of an experiment."""


def reproduce_lines(call, params, lines, jobs, after=lambda line: None):
    """Make the stages of runs and experiments, ``jobs`` at a time, with the same files as one after another.

    Parameters
    ----------
    call : callable(*arguments, log=path). Runs dvc, its output in the file ``log`` if there is one, and exits where dvc fails.
    params : Params, of the folder in which dvc works.
    lines : list of str, runs and experiments. Where a run and an experiment have one name, both are made.
    jobs : int, at least 2.
    after : callable(line), called when the last stage of a run or an experiment has been made.

    Raises
    ------
    SystemExit
        If a stage fails. The runs and experiments that are at work then go on to their ends, and nothing else is started.
    """
    shared, queue, later = plan_chains(params, lines)
    call("repro", *shared)
    _make_chains(call, params, queue, jobs, after, later)


def reproduce_tables(call, params, jobs):
    """Make what stands on the rows of all runs and experiments, side by side as well; arguments as in ``reproduce_lines``."""
    call("repro", "--single-item", "collect")
    _make_chains(call, params, plan_tables(params), jobs)


def _make_chains(call, params, queue, jobs, after=lambda line: None, later=()):
    """Make chains side by side, and those of ``later`` when those before them have ended, or are at their last stage."""
    at_work, failure = {}, None
    with ThreadPoolExecutor(jobs) as pool:
        while at_work or (queue and failure is None):
            while queue and failure is None and len(at_work) < jobs:  # never more than work: what waits could not be called back
                stages = queue.pop(0)
                at_work[pool.submit(_make_chain, call, params, stages)] = stages
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                stage, _, line = at_work.pop(future)[-1].partition("@")
                if mistake := future.exception():
                    others = ", ".join(sorted({_name_chain(stages) for stages in at_work.values()}))
                    rest = f" ({others} will end, and nothing else begins)" if others else ""
                    print(f"{line or stage} has failed: {mistake}{rest}", flush=True)
                    failure = failure or mistake
                elif stage in LAST_STAGES:
                    after(line)
            if later and all(stages[-1].split("@")[0] in LAST_STAGES for stages in [*queue, *at_work.values()]):
                queue, later = [*queue, *later], []
    if failure:
        raise failure


def plan_chains(params, lines):
    """Which stages follow each other, and which may be made at one time.

    Returns
    -------
    shared : list of str, the stages that all others stand on.
    chains : list of lists of str, the stages of each run and experiment (``train@<run>``). No chain touches a file that another
        writes.
    later : list of lists of str, chains that start when those of all experiments have ended.
    """
    content = yaml.safe_load((params.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    of_run, of_experiment = ([name for name, stage in content.items() if stage.get("foreach") == f"${{{kind}}}"]
                             for kind in ("runs", "experiments"))  # fmt: skip
    runs, asked = ([line for line in lines if line in kind] for kind in (params.runs, params.experiments))
    experiments = list(dict.fromkeys([*(params.experiments[name].baseline for name in asked), *asked]))
    used = [*(params.runs[run] for run in runs), *(params.experiments[name] for name in experiments)]
    chains = [[f"{stage}@{run}" for stage in of_run] for run in runs]
    chains += [[f"{stage}@{name}" for stage in of_experiment if stage != OF_BASELINE] for name in experiments]
    datasets = [f"embed@{dataset}" for dataset in dict.fromkeys(settings.dataset for settings in used)]
    return ["code", *datasets], chains, [[f"{OF_BASELINE}@{name}"] for name in asked]


def plan_tables(params):
    """Which stages are left when all rows have been collected, as chains that may be made at one time: list of lists of str."""
    used = {line.dataset for line in (*params.runs.values(), *params.experiments.values())}
    unused = [[f"{stage}@{name}" for stage in ("index", "faces", "embed")] for name in params.datasets if name not in used]
    ends = [["claims"], *([f"defences@{name}"] for name in params.tradeoffs), *([f"audit@{name}"] for name in params.audits)]
    return ends + unused


def _name_chain(stages):
    """What a chain is about: its run, experiment, trade-off or audit, else its one stage."""
    return stages[0].split("@")[-1]


def _make_chain(call, params, stages):
    """Make stages one after another, and say when they begin and end; what they print goes to a file."""
    line = _name_chain(stages)
    log = params.executed_folder() / f"{stages[0]}.log"
    title = f"{line} ({', '.join(stage.split('@')[0] for stage in stages)})" if "@" in stages[0] else line
    log.parent.mkdir(exist_ok=True)
    print(f"{title} begins; what it prints goes to {os.path.relpath(log)}\n", end="", flush=True)
    started = time.monotonic()
    call("--wait-for-lock", "repro", "--single-item", *stages, log=log)
    print(f"{title} has ended after {time.monotonic() - started:.0f} s\n", end="", flush=True)
