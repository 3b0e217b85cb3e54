"""Training of a small face embedder on auxiliary identities, for faces at a generator's resolution.

Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", arXiv 1801.07698; Schroff et al.
2015 (triplet loss), arXiv 1503.03832. Both losses are those of pytorch-metric-learning.
"""

import math
from threading import Lock

import torch
from pytorch_metric_learning import losses, miners
from torch.nn import functional as F

from ppe.config.storage import to_tensor
from ppe.embedders.mobilefacenet import EMBEDDING_SIZE, MobileFaceNet, normalise

PHOTOS_PER_IDENTITY = 4  # in a batch; a triplet needs at least two
# Deng et al. use 0.5 and 64 with millions of photos; with a few hundred identities and steps, weaker values train better.
ARCFACE_MARGIN = 0.3  # radians
ARCFACE_SCALE = 16
GLOBAL_RANDOM = Lock()
"""Held while torch's global random state is that of one embedder: several may be built at a time."""


def train_embedder(faces, labels, *, input_size=48, width=0.5, loss="arcface", resolutions=(32,), steps, batch_size,
                   learning_rate, seed, device="cpu", progress=None):  # fmt: skip
    """Train a MobileFaceNet to separate identities, from random weights.

    Parameters
    ----------
    faces : array, LazyRows or Tensor [N, 3, H, W], uint8
        Aligned RGB faces of auxiliary identities. Only the faces of a batch are read at a time.
    labels : array or Tensor [N], int64
        Identity of each face; any integers.
    input_size, width
        As in ``ppe.embedders.mobilefacenet.MobileFaceNet``.
    loss : {"arcface", "triplet"}
        ArcFace with margin 0.3 rad and scale 16, or the triplet loss with margin 0.2 on semi-hard triplets.
    resolutions : sequence of int, pixels
        Each face of a batch is first reduced by area averaging to one of these at random, as the faces are to which the
        embedder will be applied.
    steps, batch_size : int
    learning_rate : float
        Of AdamW: reached after a linear warm-up over a tenth of the steps, then lowered to zero along a half cosine.
    seed : int
        Determines weights, batches and augmentation. The same seed, machine and number of threads give the same bytes.
    device : str or torch.device
    progress : callable or None
        Called as ``progress(step, steps, loss)`` after each step.

    Returns
    -------
    state_dict : dict of str -> Tensor, on the CPU
        Of ``MobileFaceNet(input_size, width)``.
    losses : list of float, one a step

    Raises
    ------
    ValueError
        If an argument is out of range, or the loss is not finite.
    """
    labels = _check_arguments(faces, labels, loss, resolutions, steps, batch_size)
    generator = torch.Generator().manual_seed(seed)
    net, criterion = _build_networks(input_size, width, loss, int(labels.max()) + 1, seed, device)
    parameters = [*net.parameters(), *criterion.parameters()]
    optimiser = torch.optim.AdamW(parameters, learning_rate, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate_factor(step, steps))
    # Not on a CPU: even one with instructions for bfloat16 may be slower with it, and float32 agrees better between machines.
    is_gpu = torch.device(device).type == "cuda"
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=is_gpu and torch.cuda.is_bf16_supported())

    history = []
    batches = draw_batches(labels, batch_size, generator)
    for step, rows in zip(range(1, steps + 1), batches, strict=False):
        x = augment(to_tensor(faces[rows.numpy()]).to(device), resolutions, input_size, generator)
        x = normalise(x).contiguous(memory_format=torch.channels_last)
        with autocast:
            embeddings = net(x)
        value = criterion(embeddings.float(), labels[rows].to(device))
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        schedule.step()
        history.append(value.item())
        if not math.isfinite(history[-1]):
            raise ValueError(f"the loss is {history[-1]} at step {step}: lower learning_rate={learning_rate} "
                             "(params.yaml: embedders)")
        if progress is not None:
            progress(step, steps, history[-1])
    return {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}, history


def _build_networks(input_size, width, loss, num_identities, seed, device):
    """Untrained embedder and loss, whose weights follow the seed; torch's global random state is left unchanged."""
    with GLOBAL_RANDOM, torch.random.fork_rng():
        torch.manual_seed(seed)
        net = MobileFaceNet(input_size, width).to(device, memory_format=torch.channels_last).train()
        return net, _make_loss(loss, num_identities).to(device)


def draw_batches(labels, batch_size, generator):
    """Yield batches of rows without end: up to four photos of each identity, identities in a new random order each round.

    All identities occur equally often, independently of their number of photos.

    labels : Tensor [N], int64; generator : torch.Generator on the CPU. Yields Tensor [batch_size], int64.
    """
    rows_of = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    batch = []
    while True:
        for number in torch.randperm(len(rows_of), generator=generator).tolist():
            rows = rows_of[number]
            batch.extend(rows[torch.randperm(len(rows), generator=generator)[:PHOTOS_PER_IDENTITY]].tolist())
            if len(batch) >= batch_size:
                yield torch.tensor(batch[:batch_size])
                batch = []


def augment(faces, resolutions, input_size, generator):
    """Mirror, shift, recolour and blur faces at random, independently of each other.

    Parameters
    ----------
    faces : Tensor [B, 3, H, W], uint8
    resolutions : sequence of int, pixels
        Each face is reduced by area averaging to one of these, rounded to grey levels, and enlarged bilinearly.
    input_size : int, pixels
    generator : torch.Generator on the CPU, so that all devices use the same random numbers.

    Returns
    -------
    Tensor [B, 3, input_size, input_size], float32, in [0, 255]
    """
    count = len(faces)

    def draw(*shape, low=-1.0, high=1.0):
        return torch.rand(*shape, generator=generator).mul_(high - low).add_(low).to(faces.device)

    # Transform the face: mirror, shift by up to 6 % of its side, scale by 8 %, rotate by 5 degrees.
    mirror = 1 - 2 * (draw(count) > 0).float()
    scale, angle, shift = 1 + 0.08 * draw(count), math.radians(5) * draw(count), 0.12 * draw(count, 2)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    affine = torch.stack([mirror * cos, -sin, shift[:, 0], mirror * sin, cos, shift[:, 1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(affine, list(faces.shape), align_corners=False)
    x = F.grid_sample(faces.float(), grid, padding_mode="border", align_corners=False)

    # Recolour: brightness, contrast and each channel's gain.
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (1 + 0.3 * draw(count, 1, 1, 1)) + mean + 30 * draw(count, 1, 1, 1)
    x = (x * (1 + 0.08 * draw(count, 3, 1, 1))).clamp_(0, 255)

    # Reduce each face to its resolution and enlarge it again.
    choice = torch.randint(len(resolutions), (count,), generator=generator)
    out = x.new_empty(count, 3, input_size, input_size)
    for i in choice.unique().tolist():
        rows = (choice == i).to(faces.device)
        small = F.interpolate(x[rows], (resolutions[i], resolutions[i]), mode="area").round_()
        out[rows] = F.interpolate(small, (input_size, input_size), mode="bilinear", antialias=True)
    return out


def _learning_rate_factor(step, steps):
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _check_arguments(faces, labels, loss, resolutions, steps, batch_size):
    labels, is_uint8 = torch.as_tensor(labels), str(faces.dtype).removeprefix("torch.") == "uint8"
    if not is_uint8 or len(faces.shape) != 4 or faces.shape[1] != 3 or labels.shape != faces.shape[:1]:
        raise ValueError(
            f"faces {faces.dtype} {list(faces.shape)} with labels {list(labels.shape)} are given, "
            "but uint8 [N, 3, H, W] with [N] are needed"
        )
    identities, labels = labels.unique(return_inverse=True)
    if len(identities) < 2:
        raise ValueError(f"faces of {len(identities)} identities are given, but at least 2 are needed: make more identities "
                         "auxiliary (params.yaml: datasets)")
    if loss not in ("arcface", "triplet"):
        raise ValueError(f"loss={loss!r} is not one of ['arcface', 'triplet'] (params.yaml: embedders)")
    if not resolutions or not all(1 <= r <= min(faces.shape[2:]) for r in resolutions):
        raise ValueError(
            f"resolutions={list(resolutions)} are not between 1 and {min(faces.shape[2:])}, the side of the faces "
            "(params.yaml: embedders)"
        )
    if steps < 1 or batch_size < 2:
        raise ValueError(f"steps={steps} and batch_size={batch_size} are not at least 1 and 2 (params.yaml: embedders)")
    return labels


def _make_loss(loss, num_identities):
    if loss == "arcface":
        return losses.ArcFaceLoss(num_identities, EMBEDDING_SIZE, margin=math.degrees(ARCFACE_MARGIN), scale=ARCFACE_SCALE)
    return _MinedTriplets()


class _MinedTriplets(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.loss = losses.TripletMarginLoss(margin=0.2)
        self.miner = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard")

    def forward(self, embeddings, labels):
        return self.loss(embeddings, labels, self.miner(embeddings, labels))
