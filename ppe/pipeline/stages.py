"""What the stages without a notebook do: ``index``, ``train``, ``train-experiment``, ``embed-experiment`` and ``collect``.

Each function imports what it needs itself, so that a stage depends on what its own command reaches and on nothing else.
"""

from math import isclose

from ppe.config import load_params
from ppe.config.paths import check_member


def index(dataset):
    """Write the table of a data set's photos, and check that its embedders, runs and experiments have what they need."""
    from ppe.attacks.keywords import check_attacks
    from ppe.config import choose_device, save_table
    from ppe.datasets.index import read_index
    from ppe.pipeline import preflight

    params = load_params(dataset)
    file = params.index_file(dataset)  # first, since it refuses a name that is no data set's
    settings = params.datasets[dataset]
    choose_device(params.device)
    print("".join(f"{line}\n" for line in preflight.describe_absent(params)), end="")
    preflight.check_embedders(params, dataset)  # before a data set is downloaded
    preflight.check_fid(params, dataset)
    preflight.check_generators(params, dataset)
    check_attacks()
    table = read_index(
        settings.reader,
        root=params.dataset_root(dataset),
        seed=settings.seed,
        download_dir=params.download_folder(),
        **params.index_settings(dataset),
    )
    save_table(table, file)
    save_table(_hash_weights(params, dataset), params.weights_table(dataset))
    used = table[table.readable]
    print(f"{dataset}: {len(used)} photos of {used.identity.nunique()} identities, {len(table) - len(used)} files not usable")
    preflight.check_dataset(table, dataset, settings, params.runs, params.embedders)
    preflight.check_experiments(table, dataset, settings, params.experiments)


def _hash_weights(params, dataset):
    """Table of ``params.weights_table``: a model that is replaced makes all stale that was computed with the one before."""
    import hashlib

    import pandas as pd

    settings = params.datasets[dataset]
    files = {name: params.weights_file(name, dataset) for name in dict.fromkeys([*settings.embedders, settings.identity_check])
             if name and params.embedders[name].weights}  # fmt: skip
    rows = [(name, hashlib.sha256(file.read_bytes()).hexdigest()) for name, file in files.items() if not isinstance(file, str)]
    return pd.DataFrame(rows, columns=["embedder", "sha256"])


def train(run):
    """Train a run's three generators ahead of ``3_train``, which then finds them trained: ``torchrun -m ppe train <run>``."""
    from ppe.config import choose_device, load_table
    from ppe.datasets.splits import split_identities
    from ppe.generators.training.groups import list_jobs, train_groups

    params = load_params(run)
    check_member("run", run, params.runs, "params.yaml")
    settings = params.runs[run]
    table = load_table(params.faces_folder(settings.dataset) / "faces.csv")
    split = split_identities(table[table.detected], **params.split_settings(run))
    images, members, fingerprint = _gather_training(params, settings, table, split)
    identities = {group: part.identity for group, part in members.groupby("group")}
    checkpoints = params.checkpoints_folder(run, fingerprint)
    jobs = list_jobs(images, settings.seed, checkpoints, run, identities, **params.training_recipe(run))
    train_groups(jobs, choose_device(params.device), run)


def train_experiment(experiment):
    """Train an experiment's generators side by side, as many at a time as there are cores, and draw faces from each."""
    import torch

    from ppe.config import choose_device, load_table, save_table
    from ppe.generators.training.checkpoints import publish_training
    from ppe.generators.training.groups import list_jobs, train_groups
    from ppe.overrepresentation.latin_square import SPLIT_SETTINGS, split_experiment

    params = load_params(experiment)
    check_member("experiment", experiment, params.experiments, "params.yaml")
    settings, device = params.experiments[experiment], choose_device(params.device)
    table = load_table(params.faces_folder(settings.dataset) / "faces.csv")
    split, plan = split_experiment(table[table.detected], **settings.model_dump(include=SPLIT_SETTINGS))
    images, members, fingerprint = _gather_training(params, settings, table, split)
    checkpoints = params.experiment_checkpoints_folder(experiment, fingerprint)
    recipe = {"family": settings.generator, "settings": params.generators[settings.generator].model_dump(), "kimg": settings.kimg}
    jobs = list_jobs(images, settings.seed, checkpoints, experiment, **recipe, description=params.describe_experiment(experiment))
    at_once = max(2, torch.get_num_threads())  # each process holds torch and a generator: memory must not grow with their number
    for start in range(0, len(jobs), at_once):
        train_groups(jobs[start : start + at_once], device, f"{experiment} {start + 1} to {min(start + at_once, len(jobs))}")
    for name, content in {"split": split, "data_shares": plan, "members": members}.items():
        save_table(content, params.experiment_models_folder(experiment) / f"{name}.csv")
    publish_training(checkpoints, params.experiment_models_folder(experiment))
    _sample_experiment(params, experiment, sorted(images), device)
    print(f"{experiment}: {len(images)} generators, {settings.num_photos} photos and {settings.kimg:g} kimg each")


def embed_experiment(experiment):
    """Embed the faces of an experiment's generators with each embedder of its data set, once for all who look at them."""
    import numpy as np

    from ppe.config import choose_device, load_array, save_array
    from ppe.embedders import load_embedder
    from ppe.embedders.embed import embed_faces

    params = load_params(experiment)
    check_member("experiment", experiment, params.experiments, "params.yaml")
    dataset = params.experiments[experiment].dataset
    files = sorted(params.experiment_faces_folder(experiment).glob("*.npy"))
    for name in params.datasets[dataset].embedders:
        net = load_embedder(params, name, dataset)
        vectors = [np.asarray(embed_faces(load_array(file), net, device=choose_device(params.device))) for file in files]
        save_array(np.stack(vectors), params.experiment_embeddings_folder(experiment) / f"{name}.npy")
    print(f"{experiment}: faces of {len(files)} generators, embedded by {params.datasets[dataset].embedders}")


def collect(name=None):
    """Gather the rows of runs and experiments into attacks.csv, overrepresentation.csv, shared.csv and metrics.json.

    name : ``tiny`` gathers what the notebooks left in scratch/.
    """
    import hashlib

    import pandas as pd

    from ppe.config import load_table, require_file, save_json, save_table
    from ppe.evaluation.collection import collect_rows, compute_headlines
    from ppe.evaluation.shared_identities import relate_runs
    from ppe.overrepresentation.data_share import collect_experiments

    params = load_params(name)
    if name == "tiny":
        require_file(params.rows_file(name))
        require_file(params.sensitivity_rows_file(name))
    files = {run: [params.rows_file(run), params.sensitivity_rows_file(run)] for run in params.runs}
    scores = {run: load_table(params.scores_file(run)) for run in params.runs if params.scores_file(run).exists()}
    runs = pd.DataFrame({run: settings.model_dump() for run, settings in params.runs.items()}).T
    file = params.results_folder() / "shared.csv"
    digests = {run: hashlib.sha256(params.scores_file(run).read_bytes()).hexdigest()[:12] for run in scores}
    shared = relate_runs(runs, _name_scores(params, scores), digests, load_table(file) if file.exists() else None)
    save_table(shared, file)
    rows = collect_rows(files, scores, shared)
    _check_rows(rows, params.runs)
    headlines = compute_headlines(rows, list(params.runs), params.verdicts)
    experiments = {experiment: params.experiment_rows_file(experiment) for experiment in params.experiments}
    if name == "tiny":  # whoever reads the notebooks in order may not have run the experiments
        experiments = {experiment: file for experiment, file in experiments.items() if file.exists()}
    save_table(rows, params.results_folder() / "attacks.csv")
    save_table(collect_experiments(experiments), params.results_folder() / "overrepresentation.csv")
    save_json(headlines, params.results_folder() / "metrics.json")


def _name_scores(params, hidden):
    """The queries with names of the runs whose scores lie on this machine and are those that were committed: run -> DataFrame.

    hidden : dict, run -> DataFrame of ``pseudonymise_scores``, as committed.
    """
    import numpy as np

    from ppe.attacks.selection import pseudonymise_scores
    from ppe.config import load_table
    from ppe.evaluation.shared_identities import name_queries

    named = {}
    for run, committed in hidden.items():
        file, members = params.attack_folder(run) / "scores.csv", params.generators_folder(run) / "members.csv"
        if file.exists() and members.exists():
            scores = load_table(file)
            here = pseudonymise_scores(scores)
            digits = (here.score, here.score.round(4))  # near to 1 there are six decimals; of what was committed before, four
            if len(here) == len(committed) and any(np.allclose(own, committed.score, rtol=0, atol=1e-9) for own in digits):
                named[run] = name_queries(scores, load_table(members))
    return named


def _gather_training(params, settings, table, split):
    """Gather what the generators of a split are trained on.

    params, settings : Params, and the run or experiment of it; table : DataFrame, faces.csv; split : DataFrame, of which the
    rows whose role is train count. Returns images by group, uint8 [n, 3, H, H]; ``members`` (group, image_id, identity), a row an
    image; and a fingerprint (str) of both.
    """
    from ppe.config import LazyRows, load_array
    from ppe.faces import resize_faces
    from ppe.generators.training.checkpoints import fingerprint

    training = split[split.role == "train"]
    row = {image_id: number for number, image_id in enumerate(table.image_id)}
    faces = load_array(params.faces_folder(settings.dataset) / "faces.npy")
    parts = {group: LazyRows(faces, part.image_id.map(row)) for group, part in training.groupby("group")}
    images = {group: resize_faces(part, settings.resolution) for group, part in parts.items()}
    members = training[["group", "image_id", "identity"]].reset_index(drop=True)
    return images, members, fingerprint(members, images)


def _sample_experiment(params, experiment, groups, device):
    """Draw faces from the last snapshot of each generator of an experiment."""
    from ppe.generators.sampling import load_generator, sample_faces, save_faces

    settings = params.experiments[experiment]
    family = params.generators[settings.generator].model_dump()
    for group in groups:
        last = sorted((params.experiment_models_folder(experiment) / group).glob("snapshot-*.safetensors"))[-1]
        generator = load_generator(last, settings.generator, settings.resolution, family, device)
        file = params.experiment_faces_folder(experiment) / f"{group}.npy"
        save_faces(sample_faces(generator, range(settings.num_generated)), file, settings.num_generated, settings.resolution)


def _check_rows(rows, runs):
    """Refuse rows that other params made: dvc never mixes them, but a folder that was copied together may."""
    for run, settings in runs.items():
        made = rows[rows.run == run].iloc[0]
        for name, value in settings.model_dump(include=set(rows.columns)).items():
            value = settings.train_photos if name == "max_train_photos" and value is None else value
            if made[name] != value and not (isinstance(value, float) and isclose(made[name], value, rel_tol=1e-5)):
                raise ValueError(f"the rows of {run} were made with {name}={made[name]}, but params.yaml says {value}: "
                                 f"make them again with `dvc repro evaluate@{run} sensitivity@{run}`")
