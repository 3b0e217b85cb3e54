"""The GANs that the study trains, by name; a net's module is imported only when it is asked for."""

from importlib import import_module

GENERATORS = {"fastgan": "ppe.generators.fastgan", "stylegan2": "ppe.generators.stylegan2"}


def build(family, resolution, settings):
    """Build an untrained pair of nets.

    Parameters
    ----------
    family : str
        A name in ``GENERATORS``. Its module has a ``build(resolution, settings)``, and two nets:

        - generator(z) -> faces float [B, 3, H, H] about [-1, 1], a function of z alone; generator.draw(z, draws) -> the
          faces of a training step, which may use further random numbers; generator.latent_dim.
        - discriminator(faces, stddev=None) -> (logits float [B], large = real; dict of feature maps), and
          discriminator.stddev, a ``ppe.generators.training.stddev.StddevChannel``.
    resolution : int
        Side of the faces in pixels.
    settings : mapping
        The GAN's section of params.

    Returns
    -------
    (generator, discriminator), two ``nn.Module`` in float32 on the CPU; weights follow torch's global seed.
    """
    if family not in GENERATORS:
        raise ValueError(f"family={family!r} is not one of {list(GENERATORS)} (params.yaml: runs)")
    return import_module(GENERATORS[family]).build(resolution, settings)
