"""Scores of the model's owner, who asks its networks about a photo instead of looking at generated faces."""

import numpy as np


def score_discriminator(*, query_logits, **unused):
    """Score each query by the logit of the GAN's own discriminator (LOGAN, Hayes et al. 2019, arXiv 1705.07663).

    Parameters
    ----------
    query_logits : ndarray [N], float32
        From ``ppe.generators.sampling.compute_logits``, which fixes the minibatch-stddev channel. Otherwise a logit would depend
        on the other photos of the batch, and a batch of members would reveal itself.

    Returns
    -------
    score : ndarray [N], float32; large = member.
    """
    return np.asarray(query_logits)


def score_denoising_loss(*, query_losses, **unused):
    """Score each query by minus the loss with which a diffusion model denoises it.

    Source: Matsumoto et al. 2023, *Membership Inference Attacks against Diffusion Models*, arXiv 2302.03262.

    Parameters
    ----------
    query_losses : ndarray [N], float32
        From ``ppe.generators.sampling.compute_denoising_losses``.

    Returns
    -------
    score : ndarray [N], float32; large = member.
    """
    return -np.asarray(query_losses)


SCORES = {"discriminator": score_discriminator, "denoising_loss": score_denoising_loss}
