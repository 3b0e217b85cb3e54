"""The inputs of a run's attacks: photos of groups A and B, sets of faces to compare them with, and what the models say."""

import torch

from ppe.attacks.appearance import blank_faces
from ppe.attacks.selection import GROUPS, MEMBER_GROUPS
from ppe.config.storage import LazyRows, load_array
from ppe.embedders.embed import embed_faces
from ppe.faces import resize_faces
from ppe.generators.sampling import compute_denoising_losses, compute_logits, load_discriminator, load_generator, sample_faces


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


def build_face_sets(run, generated, faces, members, generators, *, num_untrained, published=None, device="cpu"):
    """Gather the sets of faces that photos are compared with: generated faces, and those of the controls.

    Parameters
    ----------
    run : section ``runs.<name>`` of params.
    generated : path. Folder with ``a.npy``, ``b.npy`` and ``c.npy``, uint8 [M, 3, H, H].
    faces : array or LazyRows uint8 [n, 3, S, S], the aligned face of each row of ``members``.
    members : DataFrame, written by the trainer: group, image_id, identity.
    generators : (path, dict). Folder with each generator's snapshots, and the generator's section of params.
    num_untrained : int. Faces of each untrained generator.
    published : dict or None
        Group -> rows of its file that the owner publishes; None: all. The first ``run.num_generated`` are attacked.
    device : str or torch.device

    Returns
    -------
    dict, name -> ndarray or Tensor [n, 3, H, H], uint8
        ``a``, ``b``, ``c``: the published faces; ``untrained-a``, ``untrained-b``: the same generators before
        training; ``train-a``, ``train-b``: training photos, for the memorisation ceiling.
    """
    folder, settings = generators
    sets = {group: load_array(generated / f"{group}.npy") for group in GROUPS}
    published = published or dict.fromkeys(GROUPS, slice(None))
    sets = {group: every[published[group]][: run.num_generated] for group, every in sets.items()}
    for group, part in members[members.group != "c"].groupby("group"):
        first = folder / group / "snapshot-000000000.safetensors"
        generator = load_generator(first, run.generator, run.resolution, settings, device)
        few = range(min(num_untrained, run.num_generated))
        sets[f"untrained-{group}"] = torch.cat(list(sample_faces(generator, few))).numpy()
        sets[f"train-{group}"] = resize_faces(LazyRows(faces, part.index), run.resolution)
    return sets


def build_views(queries, sets, embedder, general, device="cpu"):
    """Compute what the attacks of ``ppe.attacks.appearance`` compare: faces, general features, and embeddings of blanked faces.

    Parameters
    ----------
    queries : Tensor [N, 3, H, H], uint8.
    sets : dict of ``build_face_sets``. Of the reference generator's faces only the grey levels are compared, to save time.
    embedder, general : ppe.embedders.Embedder. A face recognition model, and a network for images of any kind.
    device : str or torch.device

    Returns
    -------
    query : dict, keyword -> array with N rows.
    sets : dict, group a, b or c -> dict, keyword -> array with M rows.
    """

    def look(faces):
        parts = {"surroundings": blank_faces(faces, "inner_face"), "inner_face": blank_faces(faces, "surroundings")}
        seen = {name: embed_faces(part, embedder, device=device) for name, part in parts.items()}
        return {"faces": faces, "features": embed_faces(faces, general, device=device), **seen}

    views = {group: look(sets[group]) if group in MEMBER_GROUPS else {"faces": sets[group]} for group in GROUPS}
    query = {f"query_{name}": rows for name, rows in look(queries).items()}
    return query, {group: {f"generated_{name}": rows for name, rows in view.items()} for group, view in views.items()}


def ask_models(run, queries, folder, settings, device="cpu"):
    """Ask each generator's own networks about each query photo: a GAN's discriminator, or how well a diffusion model denoises.

    Parameters
    ----------
    run : section ``runs.<name>`` of params.
    queries : uint8 [N, 3, H, H]
    folder : path. Folder with each group's networks.
    settings : dict, the generator's section of params.
    device : str or torch.device

    Returns
    -------
    attack : str. Name of the attack that uses the answers: discriminator or denoising_loss.
    answers : dict, group -> {keyword of the attack: ndarray [N], float32}, empty where the generator has neither a discriminator
        nor ``compute_loss``: nobody can ask it how well it knows a photo.
    """
    is_gan = (folder / "a" / "discriminator.safetensors").exists()
    answers = {}
    for group in GROUPS:
        if is_gan:
            path = folder / group / "discriminator.safetensors"
            discriminator = load_discriminator(path, run.generator, run.resolution, settings, device)
            answers[group] = {"query_logits": compute_logits(discriminator, queries)}
        else:
            last = sorted((folder / group).glob("snapshot-*.safetensors"))[-1]
            denoiser = load_generator(last, run.generator, run.resolution, settings, device)
            has_loss = hasattr(denoiser, "compute_loss")
            answers[group] = {"query_losses": compute_denoising_losses(denoiser, queries, settings)} if has_loss else {}
    return "discriminator" if is_gan else "denoising_loss", answers
