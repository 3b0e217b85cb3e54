"""Face embedders by name: uint8 faces of any size in, unit vectors out.

Each name's module is imported when it is asked for, so that one network never depends on another's packages.
"""

import importlib
import json
import os
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

# A module offers build(input_size, width), normalise(faces), find_weights(weights) and rename_keys(state).
EMBEDDERS = {
    "mobilefacenet": "ppe.embedders.mobilefacenet",
    "facenet": "ppe.embedders.facenet",
}


class Embedder(nn.Module):
    """A face network behind one door, in eval mode and without gradients for its parameters.

    Parameters
    ----------
    net : Module
        Normalised float32 faces [B, 3, input_size, input_size] -> embeddings [B, D].
    normalise : callable
        uint8 or float pixels in [0, 255] -> the floats that ``net`` was trained on.
    flip : bool
        Average the unit embeddings of each face and of its mirror image, and bring the mean to unit norm.
    params : dict or None
        What :func:`save` wrote about the making of the weights.
    """

    def __init__(self, net, normalise, *, flip=False, params=None):
        super().__init__()
        # channels_last: 1.15 to 1.5 times faster on a CPU. Folding batch norm into it would add less than 1.2 times.
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.input_size = net.input_size
        self.normalise = normalise
        self.flip = flip
        self.params = params or {}

    def train(self, mode=True):
        """Stay in eval mode: batch statistics would make an embedding depend on its neighbours."""
        return super().train(False)

    def forward(self, faces):
        """Embed ``faces``, uint8 [B, 3, h, w] RGB of any h and w, as float32 [B, D] of unit L2 norm."""
        if faces.dtype != torch.uint8 or faces.ndim != 4 or faces.shape[1] != 3:
            raise ValueError(f"faces are {faces.dtype} {list(faces.shape)}, but must be uint8 [B, 3, height, width]")
        x = self.normalise(faces)
        size = (self.input_size, self.input_size)
        if x.shape[2:] != size:
            # Antialias widens the kernel only along an axis that shrinks; an enlarged axis is plain bilinear.
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        x = x.contiguous(memory_format=torch.channels_last)
        embeddings = F.normalize(self.net(x).float())
        if self.flip:
            embeddings = F.normalize(embeddings + F.normalize(self.net(x.flip(3)).float()))
        return embeddings


def build(net, *, flip=False, **settings):
    """Make an :class:`Embedder` with untrained weights from torch's global random state.

    Parameters
    ----------
    net : str
        A name of ``EMBEDDERS``.
    flip : bool
        See :class:`Embedder`.
    **settings
        Of the network: ``input_size`` in pixels and ``width``, a factor on its channels; facenet has one of each.

    Raises
    ------
    ValueError
        If the name or a setting is not known or not in its range.
    """
    module = _import(net)
    return Embedder(_build_net(net, module, settings), module.normalise, flip=flip)


def load(net, weights, *, flip=False, **settings):
    """Make an :class:`Embedder` with the weights of a file; no code of the file is ever run.

    Parameters
    ----------
    net : str
        A name of ``EMBEDDERS``.
    weights : str or path
        A safetensors file of :func:`save`, or a torch file of tensors alone; for facenet also ``"vggface2"`` or
        ``"casia-webface"``, which are downloaded at first use.
    flip : bool
        See :class:`Embedder`.
    **settings
        As for :func:`build`. Those not given are taken from a safetensors file, those given must agree with it.

    Raises
    ------
    ValueError
        If the file is absent, truncated, of another network or other settings, or holds more than tensors.
    """
    module = _import(net)
    path = module.find_weights(weights)
    state, metadata = _read_state(path)
    if metadata.get("net", net) != net:
        raise ValueError(f"{path} holds a {metadata['net']}, but a {net} is asked for (params.yaml: embedders)")
    saved = json.loads(metadata.get("settings", "{}"))
    for name, value in settings.items():
        if saved.get(name, value) != value:
            raise ValueError(
                f"{path} was made with {name}={saved[name]}, but {name}={value} is asked for (params.yaml: embedders)"
            )
    network = _build_net(net, module, {**saved, **settings})
    _fill(network, module.rename_keys(state), net, path)
    return Embedder(network, module.normalise, flip=flip, params=json.loads(metadata.get("params", "{}")))


def save(path, net, state, settings, params=None):
    """Write weights and what made them to a safetensors file, under a temporary name first.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    net : str
        A name of ``EMBEDDERS``.
    state : dict of str -> Tensor
        The network's state, e.g. from :func:`ppe.embedders.training.train_embedder`.
    settings : dict
        What :func:`build` needs to make the network.
    params : dict or None
        Anything JSON that tells how the weights were made (people, steps, seed); ``load`` returns it as ``.params``.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} does not end in .safetensors, the format that embedders are saved in")
    _import(net)
    # One key: safetensors writes several in an order that changes from time to time, and so would the file's bytes.
    made_by = {"net": net, "settings": json.dumps(settings), "params": json.dumps(params or {})}
    metadata = {"made_by": json.dumps(made_by, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, temporary, metadata)
        temporary.replace(path)
    except (SafetensorError, OSError) as error:
        raise OSError(f"{path} could not be written ({error}) and is as it was: make room, then run it again") from None
    finally:
        temporary.unlink(missing_ok=True)


def _import(net):
    if net not in EMBEDDERS:
        raise ValueError(f"the embedder {net!r} is not one of {list(EMBEDDERS)} (params.yaml: embedders)")
    return importlib.import_module(EMBEDDERS[net])


def _build_net(net, module, settings):
    try:
        return module.build(**settings)
    except TypeError as error:
        raise ValueError(f"{net} cannot be built with {settings}: {error} (params.yaml: embedders)") from error


def _read_state(path):
    """Read (state, metadata) from a safetensors file, or (state, {}) from a torch file of tensors alone."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                metadata |= json.loads(metadata.pop("made_by", "{}"))
                return {key: file.get_tensor(key) for key in file.keys()}, metadata
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is truncated or holds more than tensors, and what could run code is not loaded: "
            "save the network's state_dict alone"
        ) from error
    except Exception as error:  # torch's reader of old files raises whatever their bytes lead it to
        raise ValueError(f"{path} cannot be read as weights and may be truncated: fetch or train it again") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise ValueError(f"{path} is not a state_dict, a dictionary of tensors: save the network's state_dict alone")
    return state, {}


def _fill(network, state, net, path):
    """Load ``state`` strictly: every entry used, every parameter filled, every shape equal."""
    expected = network.state_dict()
    missing, left_over = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    other = sorted(key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape)
    for what, keys in [("lacks", missing), ("has the unknown", left_over), ("has another shape for", other)]:
        if keys:
            raise ValueError(
                f"{path} is not a file of this {net}: it {what} {keys[0]} and {len(keys) - 1} more entries "
                "(params.yaml: embedders)"
            )
    network.load_state_dict(state)
