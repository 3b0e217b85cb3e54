"""The GANs that the study trains, by name; a net's module is imported only when it is asked for."""

from importlib import import_module

GANS = {"fastgan": "ppe.gans.fastgan"}


def build(gan, resolution, settings):
    """Build an untrained pair of nets.

    Parameters
    ----------
    gan : str
        A name in ``GANS``.
    resolution : int
        Side of the faces in pixels.
    settings : mapping
        The GAN's section of params: ``latent_dim``, ``channel_base``, ``channel_base_discriminator``, ``channel_max``.

    Returns
    -------
    (generator, discriminator), two ``nn.Module`` in float32 on the CPU; weights follow torch's global seed.
    """
    if gan not in GANS:
        raise ValueError(f"gan={gan!r} is not one of {list(GANS)} (params.yaml: runs)")
    module = import_module(GANS[gan])
    generator = module.Generator(resolution, settings["latent_dim"], settings["channel_base"], settings["channel_max"])
    base = settings["channel_base_discriminator"]
    return generator, module.Discriminator(resolution, base, settings["channel_max"])
