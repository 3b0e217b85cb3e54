"""The commands of the study: ``python -m ppe <command>``; ``python -m ppe --help`` lists them."""

import argparse
import os
import subprocess
import sys
import tempfile

import yaml

from ppe.config import find_root, load_params
from ppe.config.params import load_study
from ppe.pipeline import stages
from ppe.pipeline.execution import check_folder, explain_full_disk, hold_stage, leave_last_words, run_notebook
from ppe.pipeline.runtime import note_runtime

STAGES = {
    "index": (stages.index, "dataset", "list a data set's photos, and check that there are enough"),
    "train-experiment": (stages.train_experiment, "experiment", "train an experiment's generators and draw faces from them"),
    "embed-experiment": (stages.embed_experiment, "experiment", "embed the faces of an experiment's generators"),
    "collect": (stages.collect, "name", "gather the rows of all runs and experiments"),
}
"""Stage without a notebook -> (its function, its argument, what it does)."""


def params(name=None):
    """Check params.yaml, or ``studies/<name>.yaml`` laid over it."""
    loaded = load_study(name, find_root()) if name else load_params()
    counts = f"{len(loaded.runs)} runs, {len(loaded.experiments)} experiments, {len(loaded.datasets)} data sets"
    print(f"study {loaded.study!r}: {counts}")
    for dataset in loaded.datasets:
        folder = loaded.dataset_root(dataset)
        if folder is not None and not folder.is_dir():
            print(f"{dataset}: {folder} is no folder on this machine (datasets.{dataset}.root)")


def new(name, root, reader="folder", quick=False):
    """Write ``studies/<name>.yaml`` for a folder of photos."""
    from ppe.pipeline.new_study import write_study

    write_study(name=name, root=root, reader=reader, quick=quick, project=find_root())


def study(name=None, run=None, jobs=1):
    """Run the study of params.yaml, or ``studies/<name>.yaml`` in ``.studies/<name>/``, and bring back ``results/<name>/``.

    run : one run (or experiment) of it, which is made anew beside the rows of the others; None for all that are missing.
    jobs : so many runs and experiments at a time.
    """
    from ppe.pipeline.presets import reproduce, run_study

    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1 (so many runs at a time), got {jobs}")
    if name is None:
        reproduce(find_root(), jobs)
    else:
        run_study(find_root(), name, run, jobs)


def report():
    """Say what the study found, and where to read on."""
    from ppe.pipeline.report import report_study

    report_study(load_params())


def claims():
    """Write the verdicts of all committed studies into README.md and docs/results.md, the ranking into docs/attacks.md."""
    from ppe.claims.summary import write_tables

    loaded = load_params()
    files = leave_out_toys(loaded.claims_files())
    if not files:
        raise ValueError("no results/<study>/claims.csv yet: run `make study`")
    write_tables(files, loaded.root, loaded.verdicts)
    print(f"README.md, docs/results.md, docs/attacks.md: the claims of {', '.join(files)}")


def leave_out_toys(files):
    """The files, study -> path, of studies whose numbers mean something: the params beside them do not say ``toy: true``."""

    def is_toy(params):
        return params.is_file() and yaml.safe_load(params.read_text(encoding="utf-8")).get("toy", False)

    return {study: file for study, file in files.items() if not is_toy(file.parent / "params.yaml")}


def check(name=None):
    """Say of each headline whether the working results lie in the interval of the committed ones.

    Ends with status 1 if one moved or is gone.
    """
    from ppe.claims.comparison import compare_headlines
    from ppe.config import load_table
    from ppe.pipeline.project_copy import list_git_files

    root, loaded = find_root(), load_params()
    file = f"results/{name or loaded.study}/attacks.csv"
    shown = subprocess.run(["git", "show", f"HEAD:{file}"], cwd=root, capture_output=True)
    if shown.returncode:
        known = sorted(file.split("/")[1] for file in list_git_files(root, "results/*/attacks.csv"))
        raise ValueError(f"{file} is not committed: there is nothing to compare with, as there is for {known}")
    with tempfile.NamedTemporaryFile(suffix=".csv") as committed:
        committed.write(shown.stdout)
        committed.flush()
        table = compare_headlines(load_table(committed.name), load_table(root / file), loaded.verdicts)
    for row in table.itertuples():
        interval = f"[{row.low:.3f}, {row.high:.3f}]"
        print(f"{row.moved:12}{row.run}: committed {row.committed:.3f} {interval}, fresh {row.fresh:.3f}")
    sys.exit(int(table.moved.isin(["moved", "gone"]).any()))


def docs():
    """Write the site to docs/: the pages and their pictures, and the executed notebooks of the embedded study."""
    from ppe.pipeline.site import write_site
    from ppe.plots.pipeline import plot_groups, plot_pipeline
    from ppe.plots.style import save_figure, use_style

    loaded = load_params()
    use_style(loaded.style_file())
    save_figure(plot_pipeline(), loaded.docs_folder() / "pipeline.png")
    save_figure(plot_groups(), loaded.docs_folder() / "groups.png")
    write_site(loaded)


def audit(name=None, **options):
    """Audit a generator that exists, by the options or by an entry of ``audits``, and write a report."""
    from ppe.audit.command import run_audit
    from ppe.audit.inputs import names_run

    loaded = load_params()
    if name is None:
        if options["generated"] is None:
            raise ValueError("--generated must be given, or the name of an entry of audits (params.yaml)")
        run_audit(loaded, **{option: value for option, value in options.items() if value is not None})
        return
    if name not in loaded.audits:
        raise ValueError(f"{name!r} is not one of {list(loaded.audits)} (params.yaml: audits). To audit faces that are named in "
                         "no entry, give --generated and --people")
    if given := [f"--{option.replace('_', '-')}" for option, value in options.items() if value]:
        raise ValueError(f"the audit {name} takes its options from params.yaml (audits.{name}): change them there, and remove "
                         f"{', '.join(given)}")
    settings = loaded.audits[name].model_dump()
    for key in ("generated", "people", "controls", "training"):
        if settings[key] is not None and not names_run(settings[key]):
            settings[key] = str(loaded.expand(settings[key]))
    run_audit(loaded, **settings, out=loaded.audit_folder(name), replace=True)


def _run_stage(stage, arguments):
    """Run a stage, not beside itself; note what it takes, and leave its last words where it fails."""
    *_, target = arguments.values()
    loaded = load_params(target)
    name = arguments.get("book", stage).split("_", 1)[-1]
    try:
        with hold_stage(loaded.root, f"{name}@{target or loaded.study}"):
            if stage == "notebook":
                run_notebook(**arguments)
            else:
                with note_runtime(loaded, stage, target or loaded.study):
                    STAGES[stage][0](target)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as mistake:
        if "DVC_STAGE" in os.environ:
            leave_last_words(explain_full_disk(str(mistake)))
        raise


def _read_arguments():
    parser = argparse.ArgumentParser(prog="python -m ppe", description=__doc__.split(":")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def add(name, words, *arguments):
        command = commands.add_parser(name, help=words, allow_abbrev=False)
        for argument, options in arguments:
            command.add_argument(argument, **options)

    optional = {"nargs": "?"}
    add("new", "write studies/<name>.yaml for a folder of photos", ("name", {"help": "of the study: a-z, digits, hyphens"}),
        ("--root", {"required": True, "help": "folder of photos: <root>/<identity>/<photo>"}),
        ("--reader", {"default": "folder", "help": "as in datasets of params.yaml (folder)"}),
        ("--quick", {"action": "store_true", "help": "toy sizes, to see in minutes whether everything runs"}))  # fmt: skip
    add("params", "check params.yaml, or a study", ("name", optional))
    add("study", "run the study of params.yaml, or studies/<name>.yaml", ("name", optional),
        ("run", {**optional, "help": "one run or experiment of it, to be made anew"}),
        ("--jobs", {"type": int, "default": 1, "help": "so many runs and experiments at a time (1)"}))  # fmt: skip
    add("report", "say what the study found")
    add("claims", "write the tables of README.md, docs/results.md, docs/attacks.md")
    add("check", "compare a study's headlines with the committed ones", ("name", optional))
    add("docs", "write the site to docs/")
    add("audit", "audit a generator that exists: generated faces against photos of people",
        ("name", {**optional, "help": "of an entry of audits in params.yaml, in place of all options"}),
        ("--generated", {"help": "folder, zip, tar or .npy file, or <run>:<group>"}),
        ("--people", {"help": "folder of <person>/<photo>: who is asked about"}),
        ("--controls", {"help": "the same, of people who are surely not in the training set"}),
        ("--training", {"help": "the same, of training photos, if they are at hand"}),
        ("--models", {"nargs": "+", "help": "of embedders in params.yaml (the first two whose weights are found)"}),
        ("--out", {"help": "folder of the report, new or empty (audits/<date and time>)"}),
        ("--show-faces", {"action": "store_true", "help": "show photos of people in the report"}),
        ("--names", {"action": "store_true", "help": "write people's names into the report and its tables"}),
        ("--key", {"action": "store_true", "help": "write names.csv, which says who is who"}))  # fmt: skip
    add("train", "train a run's generators on several GPUs, under torchrun", ("run", {}))
    add("notebook", "stage: execute a notebook", ("book", {}), ("name", {}))
    for name, (_, argument, words) in STAGES.items():
        add(name, f"stage: {words}", (argument, optional if name == "collect" else {}))
    return vars(parser.parse_args())


def main():
    # Threads that wait do not spin: beside other work that costs several times the time. torch reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = _read_arguments()
    name = arguments.pop("command")
    known = {"new": new, "params": params, "study": study, "report": report, "claims": claims, "check": check, "docs": docs,
             "audit": audit, "train": stages.train}  # fmt: skip
    try:
        check_folder(find_root())
        known[name](**arguments) if name in known else _run_stage(name, arguments)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as mistake:
        sys.exit(explain_full_disk(str(mistake)))
    except KeyboardInterrupt:
        kept = "Stages that ended are kept, and a training goes on from its last checkpoint"
        kept = "Whole blocks of 1,024 pictures are kept" if name == "audit" else kept
        print(f"\nStopped by Ctrl-C. {kept}: give the same command again.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
