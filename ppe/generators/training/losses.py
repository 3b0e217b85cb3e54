"""Losses of generator and discriminator: non-saturating logistic loss (Goodfellow et al. 2014), R1 and path-length penalties."""

import torch
import torch.nn.functional as F


def compute_generator_loss(generated_logits):
    """-log sigmoid(D(G(z))), mean over the batch; logits float [B], large = real (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-generated_logits).mean()


def compute_discriminator_loss(real_logits, generated_logits):
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), mean over the batch; logits float [B], large = real."""
    return F.softplus(-real_logits).mean() + F.softplus(generated_logits).mean()


def compute_r1_penalty(discriminator, real):
    """Squared norm of the gradient of D at real faces, mean over the batch (Mescheder et al. 2018, equation 9).

    real : Tensor [B, 3, H, W], float, augmented, as the discriminator receives it. The authors of ADA differentiate
    through the augmentation as well, but torch has no second derivative of a sampled grid. The caller multiplies by
    gamma / 2 and by the interval between two penalties (lazy regularisation, Karras et al. 2020, section 3.1).
    """
    real = real.detach().requires_grad_(True)
    logits, _ = discriminator(real)
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def compute_path_penalty(lengths, mean):
    """(|J^T y| - a)^2, mean over the batch (Karras et al. 2020, equation 4).

    lengths : Tensor [B], float, of the generator's ``measure_path_lengths``; mean : Tensor [], their moving average a.
    The caller multiplies by the weight and by the interval between two penalties.
    """
    return (lengths - mean).square().mean()
