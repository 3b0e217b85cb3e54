"""Train an embedder as its section of ``params.yaml`` describes it."""

import pandas as pd

from ppe.embedders import save
from ppe.embedders.training import train_embedder

TRAINING_SETTINGS = {"input_size", "width", "loss", "steps", "batch_size", "learning_rate", "seed"}


def train_recipe(recipe, faces, identity, path, *, resolutions, device="cpu"):
    """Train an embedder and write its weights, with the settings that made them.

    Parameters
    ----------
    recipe : ppe.config.schema.Embedder
        The embedder's section of params.yaml; it has ``steps`` and no ``weights``.
    faces : array or Tensor [N, 3, H, W], uint8, RGB, aligned.
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
