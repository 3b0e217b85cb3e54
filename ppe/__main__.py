"""The steps of the study that no notebook tells: ``python -m ppe <command>``.

``index`` lists a data set's photos, ``train`` trains a run's GANs on several GPUs ahead of its notebook (under ``torchrun``),
``background`` trains and samples a square's GANs and ``embed-crowd`` embeds their faces, ``collect`` gathers the rows of runs and
squares, ``report`` says what came out and where to look. ``study`` runs the graph from the check of params.yaml to the report: of
the root, or of another params file (``studies/<name>.yaml``) in a copy of the project, whose results it brings back. ``claims``
writes the README's table, ``check`` compares a fresh run with the committed one, ``docs`` writes the executed notebooks as HTML.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext

from ppe.config import find_root, load_params
from ppe.pipeline.stages import background, collect, embed_experiment, index, train


def report():
    """Say in a few lines what the study found and where to look."""
    from ppe.config import load_table
    from ppe.evaluation.collection import compute_headlines, select_headline

    params = load_params()
    rows = load_table(params.results_folder() / "attacks.csv")
    headlines = compute_headlines(rows, list(params.runs), params.attack.control_p)
    print("\nIdentity AUC on photos that no GAN was shown (0.5 is chance), pooled over two GANs:")
    for run in params.runs:
        row = select_headline(rows, run)
        interval = f"[{row.low:.2f}, {row.high:.2f}]" if row.low == row.low else "(too few people for an interval)"
        failed = ", CONTROL FAILED: no verdict" if headlines[run]["control_failed"] else ""
        weak = "" if headlines[run]["embedder_is_sound"] else ", no verdict: no face net tells people apart well enough"
        print(f"  {run}: {row.value:.2f} {interval}{failed}{weak}")
    if params.experiments:
        _report_experiments(load_table(params.results_folder() / "doses.csv"), params)
    print("Read executed/7_claims.ipynb for the verdicts (make lab opens it), for how they come about")
    print(f"executed/5_attack-{next(iter(params.runs))}.ipynb and executed/6_figures.ipynb;")
    print(f"the numbers are in {(params.results_folder() / 'attacks.csv').relative_to(params.root)}.")


def _report_experiments(rows, params):
    """A line a square: how often a person is drawn at each dose, and how often somebody is discovered there."""
    from ppe.evaluation.membership import choose_embedder

    rate = params.overrepresentation.match_rate
    print(f"\nGenerated faces that match a person ({rate:.1%} is chance), people discovered; by the person's share of the data:")
    for experiment in params.experiments:
        own = rows[rows.experiment == experiment]
        main, is_sound = choose_embedder(own.drop_duplicates("embedder").set_index("embedder").embedder_auc.dropna().to_dict())
        means = own[(own.embedder == main) & (own.statistic == "mean") & own.calibration.isin(["", "generators"])]
        table = means.pivot_table(index="data_share", columns="measure", values="value")
        cells = [f"{row.Index:.1%}: {row.match_share:.1%}, {row.discovered:.0%}" for row in table.itertuples()]
        weak = "" if is_sound else ", no verdict: no face net tells people apart well enough"
        print(f"  {experiment}: {'; '.join(cells)}{weak}")


def study(name=None, run=None):
    """Run the study of params.yaml, or ``studies/<name>.yaml`` in ``.studies/<name>/``, and bring back ``results/<name>/``.

    run : one run (or square) of it, which is made anew beside the rows of the others; None for all that are missing.
    """
    from ppe.pipeline.presets import reproduce, run_study

    if name is None:
        reproduce(find_root())
    else:
        run_study(find_root(), name, run)


def claims():
    """Write the verdicts of all committed studies into the README's table."""
    from ppe.claims.summary import load_claims, put_summary, write_summary
    from ppe.config import load_table

    params = load_params()
    root, files = params.root, params.claims_files()
    if not files:
        raise ValueError("no results/<study>/claims.csv yet: run `make study`")
    costs = {study: load_table(file.parent / "cost.csv") for study, file in files.items() if (file.parent / "cost.csv").exists()}
    summary = write_summary(load_claims(files), costs)
    readme = root / "README.md"
    (root / "README.partial").write_text(put_summary(readme.read_text(encoding="utf-8"), summary), encoding="utf-8")
    os.replace(root / "README.partial", readme)
    print(f"README.md: the claims of {', '.join(files)}")


def check(name):
    """Say of each headline whether the working results lie in the interval of the committed ones; status 1 if one moved."""
    from ppe.claims.summary import compare_headlines
    from ppe.config import load_table

    root = find_root()
    name = name or load_params().study
    file = f"results/{name}/attacks.csv"
    shown = subprocess.run(["git", "show", f"HEAD:{file}"], cwd=root, capture_output=True)
    if shown.returncode:
        known = sorted(path.parent.name for path in (root / "results").glob("*/attacks.csv"))
        raise ValueError(f"{file} is not committed: there is nothing to compare with, as there is for {known}")
    with tempfile.NamedTemporaryFile(suffix=".csv") as committed:
        committed.write(shown.stdout)
        committed.flush()
        table = compare_headlines(load_table(committed.name), load_table(root / file))
    for row in table.itertuples():
        interval = f"[{row.low:.3f}, {row.high:.3f}]"
        print(f"{row.moved:12}{row.run}: committed {row.committed:.3f} {interval}, fresh {row.fresh:.3f}")
    sys.exit(int((table.moved == "moved").any()))


def docs():
    """Write the executed notebooks of the embedded study as HTML to docs/."""
    from ppe.pipeline.html import write_site

    params = load_params()
    real = [name for name, settings in params.datasets.items() if settings.reader != "synthetic"]
    if real:
        raise ValueError(f"datasets {real} are not drawn: their faces are not published (params.yaml: datasets, reader)")
    run, dataset = next((name, settings.dataset) for name, settings in params.runs.items())
    names = {"run": run, "dataset": dataset} | ({"experiment": next(iter(params.experiments))} if params.experiments else {})
    left_out = [] if params.experiments else ["8_doses"]
    sizes = write_site(params.root / "notebooks", params.executed_folder(), params.root / "docs", names, left_out)
    print(f"docs/: {len(sizes)} pages, {sum(sizes.values()) / 1e6:.1f} MB")


def _note(command, experiment=None, **others):
    """What a stage without a notebook takes is written down, from outside of it: no stage depends on how it is timed."""
    from ppe.pipeline.runtime import note_seconds

    return note_seconds(command, experiment) if experiment else nullcontext()


def main():
    parser = argparse.ArgumentParser(prog="python -m ppe", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("index").add_argument("dataset")
    commands.add_parser("train").add_argument("run")
    commands.add_parser("background").add_argument("experiment")
    commands.add_parser("embed-experiment").add_argument("experiment")
    commands.add_parser("collect").add_argument("name", nargs="?")
    commands.add_parser("report")
    command = commands.add_parser("study")
    command.add_argument("name", nargs="?", help="one of studies/*.yaml; without it the study of params.yaml")
    command.add_argument("run", nargs="?", help="one run or square of it, to be made anew")
    commands.add_parser("claims")
    commands.add_parser("check").add_argument("name", nargs="?", help="a study; without it the one of params.yaml")
    commands.add_parser("docs")
    arguments = vars(parser.parse_args())
    known = {"index": index, "train": train, "background": background, "embed-experiment": embed_experiment, "collect": collect, "report": report,
             "study": study, "claims": claims, "check": check, "docs": docs}  # fmt: skip
    name = arguments.pop("command")
    try:
        with _note(name, **arguments):
            known[name](**arguments)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as mistake:
        from ppe.config.paths import LAST_WORDS
        from ppe.pipeline.presets import hint_at_room

        sentence = hint_at_room(str(mistake))
        if "DVC_STAGE" in os.environ:
            file = find_root() / LAST_WORDS
            file.parent.mkdir(exist_ok=True)
            file.write_text(sentence)
        sys.exit(sentence)
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C. Stages that ended are kept, and a training goes on from its last checkpoint: give the same "
              "command again.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
