"""The GANs that the study trains, by name; a net's module is imported only when it is asked for."""

from importlib import import_module

GANS = {"fastgan": "ppe.generators.fastgan", "stylegan2": "ppe.generators.stylegan2"}


def build(gan, resolution, settings):
    """Build an untrained pair of nets.

    Parameters
    ----------
    gan : str
        A name in ``GANS``. Its module has a ``build(resolution, settings)``, and two nets:

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
    if gan not in GANS:
        raise ValueError(f"gan={gan!r} is not one of {list(GANS)} (params.yaml: runs)")
    return import_module(GANS[gan]).build(resolution, settings)
