"""What every generator must keep, asked of an untrained one: a mistake in a new file is said before minutes of training."""

import torch

from ppe.generators import build, load_trainer

TOLERANCE = 1e-2
"""Of about 2, the range of a face: how far rounding may move it with the size of its batch."""


@torch.no_grad()
def check_generator(family, resolution, settings):
    """Check an untrained generator, and its discriminator if it has one, on two latents (the contract is that of ``build``).

    family, resolution, settings : as in ``ppe.generators.build``. The global random state stays as it is.

    Raises
    ------
    ValueError
        The first thing that is missing, cannot be called, or has another shape, or faces that are not finite or depend on others
        of their batch.
    """
    try:
        _ask(family, resolution, settings)
    except (TypeError, KeyError, AttributeError, IndexError, RuntimeError) as mistake:
        raise ValueError(f"generator={family!r} cannot be built, or be asked for a face: {type(mistake).__name__}: {mistake} "
                         f"(ppe/generators/{family}.py)") from mistake  # fmt: skip


def _ask(family, resolution, settings):
    _demand(load_trainer(family), ["start_training", "train_step", "LOSSES", "MODULES", "VALUES", "KEPT"], family, "TRAINER")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator, discriminator = build(family, resolution, settings)
        _demand(generator, ["latent_dim"] + ["draw"] * (discriminator is not None), family, "generator")
        z = torch.randn(2, generator.latent_dim)
        faces = generator.eval()(z)
        _check(faces, (2, 3, resolution, resolution), family, f"generator(z) of latents {list(z.shape)}")
        if (generator(z[:1]) - faces[:1]).abs().max() > TOLERANCE:
            raise ValueError(f"generator={family!r} draws another face from a latent alone than beside a second: in eval mode "
                             f"a face must be a function of its latent (ppe/generators/{family}.py)")
        if discriminator is not None:
            _demand(discriminator, ["stddev"], family, "discriminator")
            answer = discriminator.eval()(faces, stddev=1.0)
            if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], dict):
                kinds = [type(part).__name__ for part in (answer if isinstance(answer, tuple) else [answer])]
                raise ValueError(f"generator={family!r}: discriminator(faces) gives {' and '.join(kinds)}, but two values are "
                                 f"needed, logits and a dictionary of feature maps (ppe/generators/{family}.py)")
            _check(answer[0], (2,), family, f"logits of discriminator(faces) for faces {list(faces.shape)}")


def _demand(module, names, family, what):
    for name in names:
        if not hasattr(module, name):
            raise ValueError(f"generator={family!r}: its {what} has no `{name}`, which is needed (ppe/generators/{family}.py)")


def _check(values, shape, family, what):
    if tuple(values.shape) != shape:
        raise ValueError(f"generator={family!r}: {what} gives {list(values.shape)}, but {list(shape)} is needed "
                         f"(ppe/generators/{family}.py)")
    if not values.isfinite().all():
        raise ValueError(f"generator={family!r}: {what} gives values that are not finite (ppe/generators/{family}.py)")
