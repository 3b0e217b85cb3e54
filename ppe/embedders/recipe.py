"""Train embedders as their sections of ``params.yaml`` describe them."""

import pandas as pd

from ppe.embedders import save
from ppe.embedders.training import train_embedder
from ppe.faces.workers import open_workers

TRAINING_SETTINGS = {"input_size", "width", "loss", "steps", "batch_size", "learning_rate", "seed"}


def train_recipes(jobs, *, resolutions, device="cpu"):
    """Train several embedders: on a CPU side by side, one thread each, which is faster than one after another with all threads.

    jobs : dict, name -> the first four arguments of ``train_recipe``; resolutions, device : as there.
    Returns a dict, name -> list of float, the loss of each step.
    """
    options = {"resolutions": resolutions, "device": device}
    if len(jobs) < 2:  # one embedder uses all threads
        return {name: train_recipe(*job, **options) for name, job in jobs.items()}
    with open_workers(device) as pool:
        running = {name: pool.submit(train_recipe, *job, **options) for name, job in jobs.items()}
        return {name: future.result() for name, future in running.items()}


def train_recipe(recipe, faces, identity, path, *, resolutions, device="cpu"):
    """Train an embedder and write its weights, with the settings that made them.

    Parameters
    ----------
    recipe : ppe.config.schema.Embedder
        The embedder's section of params.yaml; it has ``steps`` and no ``weights``.
    faces : array, LazyRows or Tensor [N, 3, H, W], uint8, RGB, aligned.
    identity : Series or array [N], str. The person of each face.
    path : path. Ends in ``.safetensors``.
    resolutions : sequence of int, pixels. Of the generators whose faces the embedder will judge.
    device : str or torch.device

    Returns
    -------
    list of float, the loss of each step.
    """
    labels = pd.factorize(identity)[0]
    options = recipe.model_dump(include=TRAINING_SETTINGS)
    state, losses = train_embedder(faces, labels, **options, resolutions=resolutions, device=device)
    save(path, recipe.net, state, recipe.model_dump(include={"input_size", "width"}), params=recipe.model_dump())
    return losses
