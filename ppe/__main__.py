"""The steps of the study that no notebook tells: ``python -m ppe index|train|collect|report|study|claims|check|docs``.

``index`` lists a data set's photos, ``train`` trains a run's GANs on several GPUs ahead of its notebook (under ``torchrun``),
``collect`` gathers the runs' rows, ``report`` says what came out and where to look, ``study`` runs another params file
(``studies/<name>.yaml``) in a copy of the project and brings its results back, ``claims`` writes the README's table,
``check`` compares a fresh run with the committed one, ``docs`` writes the executed notebooks as HTML.
"""

import argparse
import os
import subprocess
import sys
import tempfile

from ppe.params import find_root, load_params


def index(dataset):
    """Write the table of a data set's photos."""
    from ppe.datasets import read_index
    from ppe.params import save_table

    params = load_params(dataset)
    settings = params.datasets[dataset]
    table = read_index(
        settings.reader,
        root=params.dataset_root(dataset),
        seed=settings.seed,
        download_dir=params.download_folder(),
        **params.index_settings(dataset),
    )
    save_table(table, params.index_file(dataset))
    print(f"{dataset}: {len(table)} photos of {table.identity.nunique()} people, {(~table.readable).sum()} unreadable")


def train(run):
    """Train a run's three GANs as ``3_train`` does, which then finds them trained: torchrun -m ppe train <run>."""
    import pandas as pd

    from ppe.faces import resize_faces
    from ppe.gans.checkpoints import fingerprint
    from ppe.gans.groups import list_jobs, train_groups
    from ppe.identities import split_people
    from ppe.params import choose_device, load_array, load_table

    params = load_params(run)
    settings = params.runs[run]
    table = load_table(params.faces_folder(settings.dataset) / "faces.csv")
    sizes = settings.model_dump(include={"num_identities", "train_photos", "max_train_photos", "query_photos", "seed"})
    split = split_people(table[table.detected], **sizes)
    training = split[split.role == "train"]
    row = pd.Series(table.index, index=table.image_id)
    faces = load_array(params.faces_folder(settings.dataset) / "faces.npy")
    images = {g: resize_faces(faces[row[part.image_id]], settings.resolution) for g, part in training.groupby("group")}
    members = training[["group", "image_id", "identity"]].reset_index(drop=True)
    checkpoints = params.checkpoints_folder(run, fingerprint(members, images))
    recipe = {"gan": settings.gan, "settings": params.gans[settings.gan].model_dump(), "kimg": settings.kimg}
    jobs = list_jobs(images, settings.seed, checkpoints, run, **recipe, description=params.describe(run))
    train_groups(jobs, choose_device(params.device), run)


def collect():
    """Gather the rows of the runs that params.yaml names into attacks.csv and metrics.json; cost.csv says what they took."""
    from ppe.collection import collect_rows, compute_headlines
    from ppe.costs import note_costs
    from ppe.params import load_table, save_json, save_table

    params = load_params()
    files = {run: params.rows_file(run) for run in params.runs}
    rows = collect_rows(files, {run: load_table(params.scores_file(run)) for run, file in files.items() if file.exists()})
    headlines = compute_headlines(rows, list(params.runs), params.attack.judged_p)
    save_table(rows, params.results_folder() / "attacks.csv")
    save_json(headlines, params.results_folder() / "metrics.json")
    note_costs(params)


def report():
    """Say in a few lines what the study found and where to look."""
    from ppe.collection import compute_headlines, select_headline
    from ppe.params import load_table

    params = load_params()
    rows = load_table(params.results_folder() / "attacks.csv")
    headlines = compute_headlines(rows, list(params.runs), params.attack.judged_p)
    print("\nIdentity AUC on photos that no GAN was shown (0.5 is chance), pooled over two GANs:")
    for run in params.runs:
        row = select_headline(rows, run)
        interval = f"[{row.low:.2f}, {row.high:.2f}]" if row.low == row.low else "(too few people for an interval)"
        failed = ", CONTROL FAILED: no verdict" if headlines[run]["control_failed"] else ""
        weak = "" if headlines[run]["embedder_is_sound"] else ", no verdict: no face net tells people apart well enough"
        print(f"  {run}: {row.value:.2f} {interval}{failed}{weak}")
    print("Read executed/7_claims.ipynb for the verdicts (make lab opens it), for how they come about")
    print(f"executed/5_attack-{next(iter(params.runs))}.ipynb and executed/6_figures.ipynb;")
    print(f"the numbers are in {(params.results_folder() / 'attacks.csv').relative_to(params.root)}.")


def study(name):
    """Run ``studies/<name>.yaml`` in ``.studies/<name>/`` and bring back ``results/<name>/``."""
    from ppe.copies import run_study

    run_study(find_root(), name)


def claims():
    """Write the verdicts of all committed studies into the README's table."""
    from ppe.params import load_table
    from ppe.summary import load_claims, put_summary, write_summary

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
    from ppe.params import load_table
    from ppe.summary import compare_headlines

    root = find_root()
    name = name or load_params().study
    file = f"results/{name}/attacks.csv"
    shown = subprocess.run(["git", "show", f"HEAD:{file}"], cwd=root, capture_output=True)
    if shown.returncode:
        raise ValueError(f"{file} is not committed: there is nothing to compare with")
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
    from ppe.pages import write_pages

    params = load_params()
    real = [name for name, settings in params.datasets.items() if settings.reader != "synthetic"]
    if real:
        raise ValueError(f"datasets {real} are not drawn: their faces are not published (params.yaml: datasets, reader)")
    run, dataset = next((name, settings.dataset) for name, settings in params.runs.items())
    names = {"run": run, "dataset": dataset}
    sizes = write_pages(params.root / "notebooks", params.executed_folder(), params.root / "docs", names)
    print(f"docs/: {len(sizes)} pages, {sum(sizes.values()) / 1e6:.1f} MB")


def main():
    parser = argparse.ArgumentParser(prog="python -m ppe", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("index").add_argument("dataset")
    commands.add_parser("train").add_argument("run")
    commands.add_parser("collect")
    commands.add_parser("report")
    commands.add_parser("study").add_argument("name")
    commands.add_parser("claims")
    commands.add_parser("check").add_argument("name", nargs="?", help="a study; without it the one of params.yaml")
    commands.add_parser("docs")
    arguments = vars(parser.parse_args())
    known = (index, train, collect, report, study, claims, check, docs)
    command = {function.__name__: function for function in known}[arguments.pop("command")]
    try:
        command(**arguments)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as mistake:
        sys.exit(str(mistake))


if __name__ == "__main__":
    main()
