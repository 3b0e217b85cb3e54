"""Face generators by name; a model's module is imported only when it is asked for."""

from importlib import import_module

GENERATORS = {"fastgan": "ppe.generators.fastgan", "stylegan2": "ppe.generators.stylegan2", "edm": "ppe.generators.edm"}
GAN_TRAINER = "ppe.generators.training.gan"
"""Trainer of a model whose module names none."""
PRIVATE_TRAINER = "ppe.generators.training.private"


def build(family, resolution, settings):
    """Build an untrained generator and, if it is a GAN, its discriminator.

    Parameters
    ----------
    family : str
        A name in ``GENERATORS``. Its module offers ``build(resolution, settings)``, which returns two modules:

        - generator(z) -> faces float [B, 3, H, H] about [-1, 1], a function of z alone; generator.draw(z, draws) -> the
          faces of a training step, which may use further random numbers; generator.latent_dim.
        - discriminator(faces, stddev=None) -> (logits float [B], large = real; dict of feature maps), and
          discriminator.stddev, a ``ppe.generators.training.stddev.StddevChannel``.
    resolution : int
        Side of the faces in pixels.
    settings : mapping
        The section ``generators.<family>`` of params.

    Returns
    -------
    (generator, discriminator or None), ``nn.Module`` in float32 on the CPU; initial weights follow torch's global seed.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    return _load_module(family).build(resolution, settings)


def load_trainer(family, is_private=False):
    """Load the module that trains a model: ``start_training``, ``train_step``, and what its loss table and checkpoints hold.

    A generator's module names it as ``TRAINER``; without, it is trained as a GAN.

    family : str; is_private : bool, with differential privacy. Raises ValueError as ``build``, and for a private GAN.
    """
    trainer = getattr(_load_module(family), "TRAINER", GAN_TRAINER)
    if is_private and trainer == GAN_TRAINER:
        raise ValueError(f"generator={family!r} cannot be trained with differential privacy, since its discriminator mixes the "
                         "photos of a batch: take edm (params.yaml: runs)")
    return import_module(PRIVATE_TRAINER if is_private else trainer)


def _load_module(family):
    if family not in GENERATORS:
        raise ValueError(f"generator={family!r} is not one of {list(GENERATORS)} (params.yaml: runs)")
    return import_module(GENERATORS[family])
