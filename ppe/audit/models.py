"""The face recognition models of an audit: those of ``params.yaml`` whose weights are on this machine."""

import hashlib
import importlib
from pathlib import Path

from ppe.config.schema import DOWNLOADED
from ppe.embedders import EMBEDDERS, load

DEFAULT_COUNT = 2
"""Models that are used where none is named: two that were trained apart make different mistakes."""


def load_models(params, wanted=()):
    """Load the models of an audit.

    Parameters
    ----------
    params : ppe.config.Params
    wanted : sequence of str
        Names in ``embedders``. Empty: the first ``DEFAULT_COUNT`` whose weights are found, those with weights of their own before
        those that a study trained.

    Returns
    -------
    nets : dict, name -> ``ppe.embedders.Embedder``
    hashes : dict, name -> str, sha256 of the weights.

    Raises
    ------
    ValueError
        If a name is unknown, its weights are missing, or no model is found.
    """
    unknown = [name for name in wanted if name not in params.embedders]
    if unknown:
        raise ValueError(f"--models {unknown[0]} is not one of {list(params.embedders)} (params.yaml: embedders)")
    trained = {name for name, settings in params.embedders.items() if settings.weights is None}
    nets, hashes, refused = {}, {}, []
    for name in wanted or sorted(params.embedders, key=lambda name: name in trained):
        try:
            nets[name], hashes[name] = _load(params, name, bool(wanted))
        except (ValueError, ImportError, OSError) as mistake:
            if wanted:
                raise ValueError(f"--models {name}: {mistake}") from None
            refused.append(f"{name} ({mistake})")
        if not wanted and len(nets) == DEFAULT_COUNT:
            break
    if not nets:
        raise ValueError(f"no face recognition model is at hand: {'; '.join(refused)}. docs/own-photos.md says where weights are")
    return nets, hashes


def models_of_run(params, generated):
    """The models that a run of this study was attacked with, and whose weights are here: list of str; empty where it is none."""
    run, _, group = str(generated).partition(":")
    if not group or run not in params.runs or Path(str(generated)).exists():
        return []
    dataset = params.runs[run].dataset
    files = {name: params.weights_file(name, dataset) for name in params.datasets[dataset].embedders}
    return [name for name, file in files.items() if not isinstance(file, Path) or file.is_file()][:DEFAULT_COUNT]


def _load(params, name, is_asked):
    """(Embedder, sha256 of its weights); ValueError where they are not on this machine."""
    settings = params.embedders[name]
    if settings.weights in DOWNLOADED and not is_asked:
        raise ValueError("it is downloaded where it is asked for")
    weights = [params.weights_file(name, dataset) for dataset in params.datasets]
    found = [file for file in weights if not isinstance(file, Path) or file.is_file()]
    if not found:
        raise ValueError(f"{weights[0]} is not there")
    net = load(settings.net, found[0], **settings.opening())
    file = Path(importlib.import_module(EMBEDDERS[settings.net]).find_weights(found[0]))  # of a package, or of a download
    content = file.read_bytes() if file.is_file() else str(found[0]).encode()
    return net, hashlib.sha256(content).hexdigest()
