"""Pre-flight checks: does the data set have enough identities and photos for each run and experiment?

The index counts photos whose header can be read. How many hold a face shows later, so these numbers are upper bounds.
"""

from ppe.datasets.splits import GROUPS, choose_identities, mark_auxiliary, split_auxiliary
from ppe.overrepresentation.latin_square import SPLIT_SETTINGS, split_experiment


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
    role = mark_auxiliary(index, **settings.auxiliary.model_dump())
    usable = index[index.readable]
    photos = usable[role[usable.index] == "attacked"].groupby("identity").size()
    for name, run in runs.items():
        able = int((photos >= run.train_photos + run.query_photos).sum())
        if run.dataset == dataset and able < len(GROUPS) * run.num_identities:
            raise ValueError(
                f"{dataset} has {able} identities to attack with at least {run.train_photos} + {run.query_photos} photos, but "
                f"{len(GROUPS)} x {run.num_identities} are asked for: lower num_identities, train_photos or query_photos "
                f"(params.yaml: runs.{name}), or leave fewer identities auxiliary (params.yaml: datasets.{dataset}.auxiliary)"
            )
    others = usable[role[usable.index] == "auxiliary"]
    part = others.identity.map(split_auxiliary(others.identity, settings.seed))
    for name in settings.embedders:
        own = others.identity[part == "embedder"]
        count = own[choose_identities(own, embedders[name].identities)].nunique()
        if embedders[name].steps and count < 2:
            raise ValueError(
                f"{dataset} has {count} auxiliary identities to train {name} on, and at least 2 are needed: make more identities "
                f"auxiliary (params.yaml: datasets.{dataset}.auxiliary), or name a weights file (params.yaml: embedders.{name})"
            )
    count = others.identity[part != "embedder"].value_counts()
    same = int((count * (count - 1) // 2).sum())
    other = int(count.sum() * (count.sum() - 1) // 2) - same
    if settings.num_pairs > 2 * min(same, other):
        raise ValueError(
            f"datasets.{dataset}.num_pairs={settings.num_pairs} pairs of photos check the embedders, half of them of one "
            f"identity, but auxiliary identities have {same} pairs of one identity and {other} of two: set it to at most "
            f"{2 * min(same, other)}, or make more identities auxiliary (params.yaml)"
        )


def check_experiments(index, dataset, settings, experiments):
    """Check that a data set has the identities and photos that its experiments need.

    Parameters
    ----------
    index, dataset, settings : as in ``check_dataset``.
    experiments : dict of str -> section of params; experiments of other data sets are left alone.

    Raises
    ------
    ValueError
        Of ``ppe.overrepresentation.latin_square.split_experiment``, with the experiment's name.
    """
    roles = mark_auxiliary(index, **settings.auxiliary.model_dump())
    table = index.assign(role=roles, duplicate_of="")[index.readable]
    for name, experiment in experiments.items():
        if experiment.dataset == dataset:
            try:
                split_experiment(table, **experiment.model_dump(include=SPLIT_SETTINGS))
            except ValueError as error:
                raise ValueError(f"experiment {name}: {error}") from None
