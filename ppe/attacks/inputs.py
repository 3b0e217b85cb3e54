"""The inputs of a run's attacks: photos of groups A and B, sets of faces to compare them with, and discriminator logits."""

import torch

from ppe.attacks.queries import GROUPS
from ppe.config.storage import LazyRows, load_array
from ppe.faces import resize_faces
from ppe.generators.sampling import compute_logits, load_discriminator, load_generator, sample_faces


def list_photos(table, split, members):
    """List the photos of groups A and B with their roles and attributes.

    Parameters
    ----------
    table : DataFrame, one row a photo of the data set: ``image_id`` and columns ``attribute_*``.
    split : DataFrame of ``ppe.datasets.splits.split_identities``.
    members : DataFrame, written by the trainer: group, image_id, identity.

    Returns
    -------
    DataFrame, N rows
        image_id, identity, group (a or b), role (train or query), ``attribute_*``, and ``train_photos``: the number of the
        identity's photos in ``members``.
    """
    attributes = ["image_id", *table.filter(like="attribute_")]
    photos = split[split.group.isin(["a", "b"])].merge(table[attributes], on="image_id", validate="1:1")
    return photos.assign(train_photos=photos.identity.map(members.identity.value_counts()).to_numpy())


def list_shadow_photos(split, members):
    """List the photos of the reference generator's training identities that it was not trained on: rows of ``split``."""
    return split[(split.group == "c") & ~split.image_id.isin(members.image_id)]


def build_face_sets(run, generated, faces, members, generators, *, num_untrained, device="cpu"):
    """Gather the sets of faces that photos are compared with: generated faces, and those of the controls.

    Parameters
    ----------
    run : section ``runs.<name>`` of params.
    generated : path. Folder with ``a.npy``, ``b.npy`` and ``c.npy``, uint8 [M, 3, H, H].
    faces : array or LazyRows uint8 [n, 3, S, S], the aligned face of each row of ``members``.
    members : DataFrame, written by the trainer: group, image_id, identity.
    generators : (path, dict). Folder with each generator's snapshots, and the generator's section of params.
    num_untrained : int. Faces of each untrained generator.
    device : str or torch.device

    Returns
    -------
    dict, name -> ndarray or Tensor [n, 3, H, H], uint8
        ``a``, ``b``, ``c``: the first ``run.num_generated`` faces; ``untrained-a``, ``untrained-b``: the same generators before
        training; ``train-a``, ``train-b``: training photos, for the memorisation ceiling.
    """
    folder, settings = generators
    sets = {group: load_array(generated / f"{group}.npy")[: run.num_generated] for group in GROUPS}
    for group, part in members[members.group != "c"].groupby("group"):
        first = folder / group / "snapshot-000000000.safetensors"
        generator = load_generator(first, run.generator, run.resolution, settings, device)
        few = range(min(num_untrained, run.num_generated))
        sets[f"untrained-{group}"] = torch.cat(list(sample_faces(generator, few))).numpy()
        sets[f"train-{group}"] = resize_faces(LazyRows(faces, part.index), run.resolution)
    return sets


def ask_discriminators(run, queries, folder, settings, device="cpu"):
    """Compute the logit of each query photo by each generator's discriminator.

    Parameters
    ----------
    run : section ``runs.<name>`` of params.
    queries : uint8 [N, 3, H, H]
    folder : path. Folder with ``<group>/discriminator.safetensors``.
    settings : dict, the generator's section of params.
    device : str or torch.device

    Returns
    -------
    dict, group -> {"query_logits": ndarray [N], float32}, large = real.
    """
    logits = {}
    for group in GROUPS:
        path = folder / group / "discriminator.safetensors"
        discriminator = load_discriminator(path, run.generator, run.resolution, settings, device)
        logits[group] = {"query_logits": compute_logits(discriminator, queries)}
    return logits
