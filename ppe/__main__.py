"""The steps of the study that no notebook tells: ``python -m ppe <command>``.

``index`` lists a data set's photos, ``train`` trains a run's GANs on several GPUs ahead of its notebook (under ``torchrun``),
``crowd`` trains and samples a square's GANs and ``embed-crowd`` embeds their faces, ``collect`` gathers the rows of runs and
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
from math import isclose

from ppe.params import find_root, load_params

SQUARE_KEYS = {
    *("kind", "num_subjects", "num_rotations", "doses", "num_photos", "max_crowd_photos", "query_photos", "num_null", "seed"),
}
"""What of a square's settings says who is shown to whom."""


def index(dataset):
    """Write the table of a data set's photos."""
    from ppe.datasets import read_index
    from ppe.door import check_people
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
    check_people(table, dataset, settings, params.runs, params.embedders)


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


def crowd(square):
    """Train a square's GANs side by side, as many at a time as there are cores, and draw faces from each."""
    import torch

    from ppe.faces import resize_faces
    from ppe.gans.checkpoints import fingerprint, publish_training
    from ppe.gans.groups import list_jobs, train_groups
    from ppe.params import choose_device, load_array, load_table, save_table
    from ppe.sampling import load_generator, sample_faces, save_faces
    from ppe.squares import split_square

    params = load_params(square)
    settings, device = params.squares[square], choose_device(params.device)
    table = load_table(params.faces_folder(settings.dataset) / "faces.csv")
    split, plan = split_square(table[table.detected], **settings.model_dump(include=SQUARE_KEYS))
    training = split[split.role == "train"]
    row = {image_id: number for number, image_id in enumerate(table.image_id)}
    faces = load_array(params.faces_folder(settings.dataset) / "faces.npy")
    images = {g: resize_faces(faces[part.image_id.map(row)], settings.resolution) for g, part in training.groupby("group")}
    members = training[["group", "image_id", "identity"]].reset_index(drop=True)
    checkpoints = params.square_checkpoints_folder(square, fingerprint(members, images))
    gan = params.gans[settings.gan].model_dump()
    recipe = {"gan": settings.gan, "settings": gan, "kimg": settings.kimg, "description": params.describe_square(square)}
    jobs = list_jobs(images, settings.seed, checkpoints, square, **recipe)
    at_once = max(2, torch.get_num_threads())  # each process holds torch and a GAN: memory must not grow with the square
    for start in range(0, len(jobs), at_once):
        train_groups(jobs[start : start + at_once], device, f"{square} {start + 1} to {min(start + at_once, len(jobs))}")
    for name, content in {"split": split, "doses": plan, "members": members}.items():
        save_table(content, params.crowds_folder(square) / f"{name}.csv")
    publish_training(checkpoints, params.crowds_folder(square))
    for group in sorted(images):
        last = sorted((params.crowds_folder(square) / group).glob("snapshot-*.safetensors"))[-1]
        generator = load_generator(last, settings.gan, settings.resolution, gan, device)
        file = params.crowd_faces_folder(square) / f"{group}.npy"
        save_faces(sample_faces(generator, range(settings.num_generated)), file, settings.num_generated, settings.resolution)
    print(f"{square}: {len(images)} GANs, {settings.num_photos} photos and {settings.kimg:g} kimg each")


def embed_crowd(square):
    """Embed the faces of a square's GANs with each net of its data set, once for all squares that look at them."""
    import numpy as np

    from ppe.embedders import load
    from ppe.embeddings import embed_faces
    from ppe.params import choose_device, load_array, save_array

    params = load_params(square)
    dataset = params.squares[square].dataset
    files = sorted(params.crowd_faces_folder(square).glob("*.npy"))
    for name in params.datasets[dataset].embedders:
        net = load(params.embedders[name].net, params.weights_file(name, dataset))
        vectors = [embed_faces(load_array(file), net, device=choose_device(params.device)).numpy() for file in files]
        save_array(np.stack(vectors), params.crowd_embeddings_folder(square) / f"{name}.npy")
    print(f"{square}: {len(files)} GANs' faces through {params.datasets[dataset].embedders}")


def collect(name=None):
    """Gather the rows of runs and squares into attacks.csv, doses.csv and metrics.json; cost.csv says what they took.

    name : ``tiny`` gathers what the notebooks left in scratch/.
    """
    from ppe.collection import collect_rows, compute_headlines
    from ppe.costs import note_costs
    from ppe.doses import collect_squares
    from ppe.params import load_table, require_file, save_json, save_table

    params = load_params(name)
    files = {run: params.rows_file(run) for run in params.runs}
    if name == "tiny":
        require_file(params.rows_file(name))
    rows = collect_rows(files, {run: load_table(params.scores_file(run)) for run, file in files.items() if file.exists()})
    _check_rows(rows, params.runs)
    headlines = compute_headlines(rows, list(params.runs), params.attack.judged_p)
    save_table(rows, params.results_folder() / "attacks.csv")
    squares = {square: params.dose_rows_file(square) for square in params.squares}
    if name == "tiny":  # whoever reads the notebooks in order has not come to 8_doses yet
        squares = {square: file for square, file in squares.items() if file.exists()}
    save_table(collect_squares(squares), params.results_folder() / "doses.csv")
    save_json(headlines, params.results_folder() / "metrics.json")
    note_costs(params)


def _check_rows(rows, runs):
    """Refuse rows that other params made: dvc never mixes them, but a folder that was copied together may."""
    for run, settings in runs.items():
        made = rows[rows.run == run].iloc[0]
        for name, value in settings.model_dump(include=set(rows.columns)).items():
            value = settings.train_photos if name == "max_train_photos" and value is None else value
            if made[name] != value and not (isinstance(value, float) and isclose(made[name], value, rel_tol=1e-5)):
                raise ValueError(f"the rows of {run} were made with {name}={made[name]}, but params.yaml says {value}: "
                                 f"make them again with `dvc repro attack@{run}`")


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
    if params.squares:
        _report_squares(load_table(params.results_folder() / "doses.csv"), params)
    print("Read executed/7_claims.ipynb for the verdicts (make lab opens it), for how they come about")
    print(f"executed/5_attack-{next(iter(params.runs))}.ipynb and executed/6_figures.ipynb;")
    print(f"the numbers are in {(params.results_folder() / 'attacks.csv').relative_to(params.root)}.")


def _report_squares(rows, params):
    """A line a square: how often a person is drawn at each dose, and how often somebody is discovered there."""
    from ppe.evaluation import choose_embedder

    rate = params.dose.match_rate
    print(f"\nGenerated faces that match a person ({rate:.1%} is chance), people discovered; by the person's share of the data:")
    for square in params.squares:
        own = rows[rows.square == square]
        main, is_sound = choose_embedder(own.drop_duplicates("embedder").set_index("embedder").embedder_auc.dropna().to_dict())
        means = own[(own.embedder == main) & (own.statistic == "mean") & own.reference.isin(["", "gan"])]
        table = means.pivot_table(index="dose", columns="measure", values="value")
        cells = [f"{row.Index:.1%}: {row.match_share:.1%}, {row.discovered:.0%}" for row in table.itertuples()]
        weak = "" if is_sound else ", no verdict: no face net tells people apart well enough"
        print(f"  {square}: {'; '.join(cells)}{weak}")


def study(name=None):
    """Run the study of params.yaml, or ``studies/<name>.yaml`` in ``.studies/<name>/``, and bring back ``results/<name>/``."""
    from ppe.copies import reproduce, run_study

    if name is None:
        reproduce(find_root())
    else:
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
    names = {"run": run, "dataset": dataset} | ({"square": next(iter(params.squares))} if params.squares else {})
    left_out = [] if params.squares else ["8_doses"]
    sizes = write_pages(params.root / "notebooks", params.executed_folder(), params.root / "docs", names, left_out)
    print(f"docs/: {len(sizes)} pages, {sum(sizes.values()) / 1e6:.1f} MB")


def _note(command, square=None, **others):
    """What a stage without a notebook takes is written down, from outside of it: no stage depends on how it is timed."""
    from ppe.costs import note_seconds

    return note_seconds(command, square) if square else nullcontext()


def main():
    parser = argparse.ArgumentParser(prog="python -m ppe", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("index").add_argument("dataset")
    commands.add_parser("train").add_argument("run")
    commands.add_parser("crowd").add_argument("square")
    commands.add_parser("embed-crowd").add_argument("square")
    commands.add_parser("collect").add_argument("name", nargs="?")
    commands.add_parser("report")
    commands.add_parser("study").add_argument("name", nargs="?")
    commands.add_parser("claims")
    commands.add_parser("check").add_argument("name", nargs="?", help="a study; without it the one of params.yaml")
    commands.add_parser("docs")
    arguments = vars(parser.parse_args())
    known = {"index": index, "train": train, "crowd": crowd, "embed-crowd": embed_crowd, "collect": collect, "report": report,
             "study": study, "claims": claims, "check": check, "docs": docs}  # fmt: skip
    name = arguments.pop("command")
    try:
        with _note(name, **arguments):
            known[name](**arguments)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as mistake:
        sys.exit(str(mistake))
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C. Stages that ended are kept, and a training goes on from its last checkpoint: give the same "
              "command again.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
