"""Pre-flight checks: all that can be known of a study from its params and the list of photos, before anything is computed.

The index counts photos whose header can be read. How many hold a face shows later, so these numbers are upper bounds. Files of
the same bytes are one picture and count once.
"""

from importlib.util import find_spec

from ppe.config.schema import DOWNLOADED
from ppe.datasets.splits import GROUPS, choose_identities, find_pictures, mark_auxiliary, split_auxiliary
from ppe.overrepresentation.latin_square import SPLIT_SETTINGS, split_experiment

CHECKS = ("check the embedders", ("cohort", "threshold"), 2, 2)
"""What auxiliary identities are for, the parts of them that do it, the photos that each needs, and the fewest identities."""
OF_RUNS = (("tune the attacks", ("threshold",), 2, 2), ("calibrate scores", ("cohort",), 1, 1))
OF_EXPERIMENTS = (("set thresholds", ("threshold",), 1, 2), ("calibrate the density scan", ("cohort",), 1, 1))
"""The same as ``CHECKS``, for what runs and experiments need."""


def check_embedders(params, dataset):
    """Check that the face recognition models of a data set can be built, or loaded from the weights that are given.

    Weights that are downloaded are left alone. So are those of a data set whose models came with ``dvc.lock``: a study that goes
    on from committed rows does not read them.

    Parameters
    ----------
    params : Params
    dataset : str

    Raises
    ------
    ValueError
        Of ``ppe.embedders.build`` and ``ppe.embedders.load``.
    """
    from ppe.embedders import build, load_embedder

    lock = params.root / "dvc.lock"
    is_skipped = lock.is_file() and f"\n  embed@{dataset}:\n" in lock.read_text(encoding="utf-8")
    for name in {*params.datasets[dataset].embedders, params.datasets[dataset].identity_check} - {None}:
        embedder = params.embedders[name]
        if embedder.steps:
            build(embedder.net, input_size=embedder.input_size, width=embedder.width)
        elif embedder.weights not in DOWNLOADED and not is_skipped:
            load_embedder(params, name, dataset)


def check_generators(params, dataset):
    """Check that untrained generators of a data set's runs and experiments draw faces of their resolution.

    params, dataset : as in ``check_embedders``. Raises ValueError of ``ppe.generators.contract.check_generator``.
    """
    from ppe.generators.contract import check_generator

    users = [user for user in (*params.runs.values(), *params.experiments.values()) if user.dataset == dataset]
    for family, resolution in sorted({(user.generator, user.resolution) for user in users}):
        check_generator(family, resolution, params.generators[family].model_dump())


def describe_absent(params):
    """Say which optional embedders are left out: a list of str, a sentence each."""
    return [f"{name} is left out: it is optional, and its weights are not on this machine ({file})"
            for name, file in params.absent.items()]  # fmt: skip


def check_fid(params, dataset):
    """Check that the package that computes FID is installed, where its weights are at hand and a run generates enough faces.

    params, dataset : as in ``check_embedders``. Raises ValueError if it is not: notebook 7 would end there.
    """
    from ppe.statistics.set_distances import FID_WEIGHTS, MIN_FID_FACES

    weights = params.shared_weights(FID_WEIGHTS)
    is_wanted = any(run.dataset == dataset and run.num_generated >= MIN_FID_FACES for run in params.runs.values())
    if weights is not None and is_wanted and find_spec("torch_fidelity") is None:
        raise ValueError(f"{weights} is there, so FID is computed, but torch-fidelity is not installed: run "
                         "pip install -e '.[fid]', or move the file away")


def check_dataset(index, dataset, settings, runs, embedders):
    """Check that a data set has the identities and photos that its runs and its embedders need.

    Parameters
    ----------
    index : DataFrame of ``ppe.datasets.index.read_index``.
    dataset : str
        Its name, for the sentence.
    settings : the data set's section of params.
    runs, embedders : dict of str -> section of params; runs of other data sets are left alone.

    Raises
    ------
    ValueError
        The first number that is too small: what there is, what is asked for, where to change it.
    """
    table = list_photos(index, settings.auxiliary)
    runs = {name: run for name, run in runs.items() if run.dataset == dataset}
    _check_attacked(table, dataset, runs)
    others = list_auxiliary(table, settings.seed)
    for name in settings.embedders:
        own = others.identity[others.part == "embedder"]
        count = own[choose_identities(own, embedders[name].identities)].nunique()
        if embedders[name].steps and count < 2:
            raise ValueError(
                f"{dataset} has {count} auxiliary identities to train {name} on, and at least 2 are needed: make more identities "
                f"auxiliary (params.yaml: datasets.{dataset}.auxiliary), or name a weights file (params.yaml: embedders.{name})"
            )
    same, other = count_pairs(others)
    if settings.num_pairs > 2 * min(same, other):
        raise ValueError(
            f"datasets.{dataset}.num_pairs={settings.num_pairs} pairs of photos check the embedders, half of them of one "
            f"identity, but auxiliary identities have {same} pairs of one identity and {other} of two: set it to at most "
            f"{2 * min(same, other)}, or make more identities auxiliary (params.yaml)"
        )
    _check_auxiliary(others, dataset, (CHECKS, *OF_RUNS) if runs else (CHECKS,))


def check_experiments(index, dataset, settings, experiments):
    """Check that a data set has the identities and photos that its experiments need.

    Parameters
    ----------
    index, dataset, settings : as in ``check_dataset``.
    experiments : dict of str -> section of params; experiments of other data sets are left alone.

    Raises
    ------
    ValueError
        Of ``ppe.overrepresentation.latin_square.split_experiment``, with the experiment's name; or too few auxiliary identities.
    """
    table = list_photos(index, settings.auxiliary)
    own = {name: experiment for name, experiment in experiments.items() if experiment.dataset == dataset}
    for name, experiment in own.items():
        try:
            split_experiment(table[table.readable], **experiment.model_dump(include=SPLIT_SETTINGS))
        except ValueError as error:
            raise ValueError(f"experiment {name}: {error}") from None
    if own:
        _check_auxiliary(list_auxiliary(table, settings.seed), dataset, OF_EXPERIMENTS)


def list_photos(index, auxiliary):
    """Add to an index what notebook 1 will know of each photo, as far as it can be known.

    index : DataFrame of ``read_index``; auxiliary : section ``datasets.<name>.auxiliary`` of params.

    Returns ``index`` with ``role`` (of ``mark_auxiliary``) and ``duplicate_of``: the first image_id of the same bytes, "" if that
    is the photo itself or it cannot be read.
    """
    first = index[index.readable].groupby("sha256").image_id.transform("first").reindex(index.index)
    duplicate_of = first.where(first.notna() & (first != index.image_id), "")
    return index.assign(role=mark_auxiliary(index, **auxiliary.model_dump()), duplicate_of=duplicate_of)


def list_auxiliary(table, seed):
    """Select the usable photos of auxiliary identities, each picture once, with the ``part`` of their identity.

    table : DataFrame of ``list_photos``; seed : int, of the data set. Identities without a usable photo take a place in a part,
    as they do in notebook 1. Raises ValueError if there are one or two identities.
    """
    others = table[table.role == "auxiliary"]
    others = others.assign(part=others.identity.map(split_auxiliary(others.identity, seed)))
    return others[others.readable & (others.duplicate_of == "")]


def count_pairs(others):
    """Count the pairs of photos that check embedders: (of one identity, of two), ints. others : of ``list_auxiliary``."""
    count = others.identity[others.part != "embedder"].value_counts()
    same = int((count * (count - 1) // 2).sum())
    return same, int(count.sum() * (count.sum() - 1) // 2) - same


def find_shortage(others, needs):
    """Find the first of ``needs`` that auxiliary identities do not meet: (its words, photos, fewest, count), or None.

    others : DataFrame of ``list_auxiliary``; needs : rows as ``CHECKS``. ``count`` is the number of identities that there are.
    """
    for words, parts, photos, fewest in needs:
        count = int((others.identity[others.part.isin(parts)].value_counts() >= photos).sum())
        if count < fewest:
            return words, photos, fewest, count
    return None


def _check_auxiliary(others, dataset, needs):
    if shortage := find_shortage(others, needs):
        words, photos, fewest, count = shortage
        raise ValueError(
            f"{dataset} has {count} auxiliary identities with at least {photos} photos to {words} (only a part of all is for "
            f"that), and at least {fewest} are needed: make more identities auxiliary (params.yaml: "
            f"datasets.{dataset}.auxiliary), or give them more photos"
        )


def _check_attacked(table, dataset, runs):
    """Count pictures as ``ppe.datasets.splits.split_identities`` does: one under two names is nobody's."""
    usable = table[table.readable]
    usable = usable.assign(picture=find_pictures(usable))
    own = usable[(usable.groupby("picture").identity.transform("nunique") == 1) & (usable.role == "attacked")]
    count = own.groupby("identity").picture.nunique()
    num_copies = int((usable.duplicate_of[usable.role == "attacked"] != "").sum())
    copies = f" ({num_copies} copies count once)" if num_copies else ""
    for name, run in runs.items():
        able = int((count >= run.train_photos + run.query_photos).sum())
        if able < len(GROUPS) * run.num_identities:
            raise ValueError(
                f"{dataset} has {able} identities to attack with at least {run.train_photos} + {run.query_photos} photos{copies}"
                f", but {len(GROUPS)} x {run.num_identities} are asked for: lower num_identities, train_photos or query_photos "
                f"(params.yaml: runs.{name}), or leave fewer identities auxiliary (params.yaml: datasets.{dataset}.auxiliary)"
            )
