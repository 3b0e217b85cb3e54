"""What a run's attack is given: the photos that are asked about, the sets of faces that they are compared with, and the
discriminator's answers for the white-box attack.
"""

import torch

from ppe.config.storage import load_array
from ppe.faces import resize_faces
from ppe.generators.sampling import compute_logits, load_discriminator, load_generator, sample_faces

GROUPS = "abc"


def list_photos(table, split, members):
    """List the photos of groups A and B, with what is known of each.

    Parameters
    ----------
    table : DataFrame, one row a photo of the data set: ``image_id`` and columns ``attribute_*``.
    split : DataFrame of ``ppe.datasets.splits.split_identities``.
    members : DataFrame, written by the trainer: group, image_id, identity.

    Returns
    -------
    DataFrame, N rows: image_id, identity, group (a or b), role (train or query), ``attribute_*``, and ``train_photos``: how
    many photos of the identity the trainer wrote down.
    """
    attributes = ["image_id", *table.filter(like="attribute_")]
    photos = split[split.group.isin(["a", "b"])].merge(table[attributes], on="image_id", validate="1:1")
    return photos.assign(train_photos=photos.identity.map(members.identity.value_counts()).to_numpy())


def build_face_sets(run, generated, faces, members, generators, *, num_untrained, device="cpu"):
    """Gather the sets of faces that photos are compared with: generated ones, and those of the controls.

    Parameters
    ----------
    run : section ``runs.<name>`` of params.
    generated : path. Folder with ``a.npy``, ``b.npy`` and ``c.npy``, uint8 [M, 3, H, H].
    faces : uint8 [n, 3, S, S], the aligned face of each row of ``members``.
    members : DataFrame, written by the trainer: group, image_id, identity.
    generators : (path, dict). Folder with each generator's snapshots, and the generator's section of params.
    num_untrained : int. Faces of each untrained generator.
    device : str or torch.device

    Returns
    -------
    dict, name -> uint8 [n, 3, H, H]: ``a``, ``b``, ``c`` (the first ``run.num_generated`` faces), ``untrained-a``,
    ``untrained-b`` (the same generators before training), ``train-a``, ``train-b`` (training photos in place of generated
    faces).
    """
    folder, settings = generators
    sets = {group: load_array(generated / f"{group}.npy")[: run.num_generated] for group in GROUPS}
    for group, part in members[members.group != "c"].groupby("group"):
        first = folder / group / "snapshot-000000000.safetensors"
        generator = load_generator(first, run.generator, run.resolution, settings, device)
        few = range(min(num_untrained, run.num_generated))
        sets[f"untrained-{group}"] = torch.cat(list(sample_faces(generator, few))).numpy()
        sets[f"train-{group}"] = resize_faces(faces[part.index], run.resolution)
    return sets


def ask_discriminators(run, queries, folder, settings, device="cpu"):
    """Ask each generator's discriminator how real the query photos look.

    Parameters
    ----------
    run : section ``runs.<name>`` of params.
    queries : uint8 [N, 3, H, H]
    folder : path. Folder with ``<group>/discriminator.safetensors``.
    settings : dict, the generator's section of params.

    Returns
    -------
    dict, group -> {"query_logits": ndarray [N], float32}.
    """
    logits = {}
    for group in GROUPS:
        path = folder / group / "discriminator.safetensors"
        discriminator = load_discriminator(path, run.generator, run.resolution, settings, device)
        logits[group] = {"query_logits": compute_logits(discriminator, queries)}
    return logits

