"""The steps of the study that no notebook tells: ``python -m ppe index|train|collect|report|study``.

``index`` lists a data set's photos, ``train`` trains a run's GANs on several GPUs ahead of its notebook (under ``torchrun``),
``collect`` gathers the runs' rows, ``report`` says what came out and where to look, ``study`` runs the graph from the check of
params.yaml to the report: of the root, or of another params file (``studies/<name>.yaml``) in a copy of the project, whose
results it brings back.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from math import isclose

from ppe.params import find_root, find_shared, load_params

SENTENCES = ("ValueError", "FileNotFoundError", "OSError", "FloatingPointError", "RuntimeError", "ConnectionError")
"""Errors that ppe raises with a sentence of its own."""


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


def collect(name=None):
    """Gather the rows of the runs that params.yaml names into attacks.csv and metrics.json; of ``tiny``, those in scratch/."""
    from ppe.collection import collect_rows, compute_headlines
    from ppe.params import load_table, require_file, save_json, save_table

    params = load_params(name)
    files = {run: params.rows_file(run) for run in params.runs}
    if name == "tiny":
        require_file(params.rows_file(name))
    rows = collect_rows(files, {run: load_table(params.scores_file(run)) for run, file in files.items() if file.exists()})
    _check_rows(rows, params.runs)
    headlines = compute_headlines(rows, list(params.runs), params.attack.judged_p)
    save_table(rows, params.results_folder() / "attacks.csv")
    save_json(headlines, params.results_folder() / "metrics.json")


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
    print(f"Read executed/5_attack-{next(iter(params.runs))}.ipynb, then executed/6_figures.ipynb (make lab opens them);")
    print(f"the numbers are in {(params.results_folder() / 'attacks.csv').relative_to(params.root)}.")


def study(name=None):
    """Run the study of params.yaml, or ``studies/<name>.yaml`` in ``.studies/<name>/``, and bring back ``results/<name>/``.

    dvc reads one params.yaml and writes one dvc.lock, so another study needs another folder. The copy holds the working
    tree as it is (also what is not committed), shares the cache, and is kept, so that a second call goes on.
    """
    root = find_root()
    if name is None:
        reproduce(root, {**os.environ})
        return
    preset = root / "studies" / f"{name}.yaml"
    if not preset.is_file():
        allowed = sorted(p.stem for p in (root / "studies").glob("*.yaml"))
        raise ValueError(f"STUDY={name!r} is not one of {allowed} (studies/*.yaml)")
    copy, results = root / ".studies" / name, root / "results" / name
    reproduce(copy, prepare_copy(root, copy, preset))
    shutil.copytree(copy / "results" / name, results, dirs_exist_ok=True)
    for file in ("params.yaml", "dvc.lock"):
        shutil.copyfile(copy / file, results / file)
    print(f"Those notebooks are in .studies/{name}/executed/; the tables and figures were brought back to results/{name}/.")


def reproduce(folder, environment):
    """Check the params of a project, run its graph, say what came out; where it stops, the last words say why."""
    started = time.time()
    for command in (["python", "-m", "ppe.params"], ["dvc", "repro"], ["python", "-m", "ppe", "report"]):
        # A terminal sends Ctrl-C to all of them: dvc ends its stage and must not be killed while it does.
        process, was_stopped = subprocess.Popen(command, cwd=folder, env=environment), False
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                was_stopped = True
        if was_stopped:
            raise KeyboardInterrupt
        if process.returncode:
            sys.exit(_find_sentence(folder, started) if command[0] == "dvc" else process.returncode)


def _find_sentence(folder, since):
    """What the notebook that stopped last said, without the traceback above it; 1 where none did (an exit code)."""
    books = [book for book in (folder / "executed").glob("*.ipynb") if book.stat().st_mtime >= since]
    for book in sorted(books, key=lambda book: book.stat().st_mtime, reverse=True)[:1]:
        outputs = [output for cell in json.loads(book.read_text())["cells"] for output in cell.get("outputs", [])]
        for error in [output for output in outputs if output["output_type"] == "error"]:
            if error["ename"] == "KeyboardInterrupt":
                raise KeyboardInterrupt
            kind = "" if error["ename"] in SENTENCES else f"{error['ename']}: "
            return f"{book.stem} stopped: {kind}{error['evalue']}"
    return 1


def prepare_copy(root, copy, preset):
    """Make ``copy`` a project that runs ``preset``: the working tree, its params.yaml, the root's cache.

    Returns the environment (a dict) to run its commands in.
    """
    copy.mkdir(parents=True, exist_ok=True)
    _mirror(root, copy)
    shutil.copyfile(preset, copy / "params.yaml")
    committed = root / "results" / preset.stem / "dvc.lock"
    if not (copy / "dvc.lock").exists() and committed.exists():
        shutil.copyfile(committed, copy / "dvc.lock")
    local = f"[core]\n    no_scm = true\n[cache]\n    dir = {root / '.dvc' / 'cache'}\n"
    (copy / ".dvc" / "config.local").write_text(local)
    return {**os.environ, "PPE_SHARED": str(find_shared(root).resolve()), "PYTHONPATH": str(copy)}


def _mirror(root, copy):
    """Copy the working tree (tracked and new files, no ignored ones) and drop from the copy what is gone from the tree."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=root, capture_output=True, check=True)
    names = [n for n in listed.stdout.decode().split("\0") if n and (root / n).is_file()]
    kept = [n for n in names if n not in ("params.yaml", "dvc.lock") and not n.startswith(("results/", "docs/"))]
    manifest = copy / ".mirror"
    before = set(manifest.read_text().split("\n")) if manifest.exists() else set()
    for name in before - set(kept):
        (copy / name).unlink(missing_ok=True)
    for name in kept:
        target = copy / name
        if not target.exists() or target.read_bytes() != (root / name).read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
    manifest.write_text("\n".join(kept))


def main():
    parser = argparse.ArgumentParser(prog="python -m ppe", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("index").add_argument("dataset")
    commands.add_parser("train").add_argument("run")
    commands.add_parser("collect").add_argument("name", nargs="?")
    commands.add_parser("report")
    commands.add_parser("study").add_argument("name", nargs="?")
    arguments = vars(parser.parse_args())
    command = {"index": index, "train": train, "collect": collect, "report": report, "study": study}[arguments.pop("command")]
    try:
        command(**arguments)
    except (ValueError, OSError, FloatingPointError, RuntimeError) as mistake:
        sys.exit(str(mistake))
    except KeyboardInterrupt:
        print("\nStopped by Ctrl-C. Stages that ended are kept, and a training goes on from its last checkpoint: give the same "
              "command again.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
