"""Any face recognition model as an ONNX file, which holds the network and its weights; ONNX Runtime computes it on the CPU.

A file describes operators and numbers, and nothing in it is run as code. ONNX: https://onnx.ai.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn


class OnnxNet(nn.Module):
    """An ONNX Runtime session as a module. It computes on the CPU, wherever its input is, and has no gradients.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    input_size : int, pixels
    is_single : bool. The file takes one face at a time.
    is_colours_last : bool. The file takes [B, H, W, 3], as models of TensorFlow do.
    """

    def __init__(self, session, input_size, is_single, is_colours_last):
        super().__init__()
        self.session, self.input_size, self.is_single, self.is_colours_last = session, input_size, is_single, is_colours_last

    def forward(self, x):
        """x float32 [B, 3, input_size, input_size] -> embeddings float32 [B, D], on the device of x."""
        if not len(x):  # a face tells the number of columns
            return self(x.new_zeros(1, *x.shape[1:]))[:0]
        x_in = x.permute(0, 2, 3, 1) if self.is_colours_last else x
        batches = x_in.cpu().split(1 if self.is_single else len(x))
        name = self.session.get_inputs()[0].name
        parts = [self.session.run(None, {name: np.ascontiguousarray(batch.numpy())})[0] for batch in batches]
        return torch.from_numpy(np.concatenate(parts)).to(x.device)


def build(**settings):
    """Refuse to build an untrained model: the network is in a file. Raises ValueError."""
    raise ValueError("an onnx model has no untrained network: give weights, the path of its file (params.yaml: embedders)")


def open_model(path, *, input_size, colours, mean, scale, sha256=None):
    """Open an ONNX file.

    Parameters
    ----------
    path : path
    input_size : int, pixels. Side of the faces that the model takes.
    colours : {"rgb", "bgr"}. Order of the channels that the model takes.
    mean, scale : float or sequence of 3 float. In the order of ``colours``. The model takes (pixel - mean) / scale, with pixels
        in [0, 255].
    sha256 : str or None. What the file must have.

    Returns
    -------
    net : OnnxNet
    normalise : callable, uint8 or float pixels in [0, 255], RGB -> float32, what the model takes.

    Raises
    ------
    ValueError
        If onnxruntime is not installed, the file is damaged or another one, or the model does not map faces to vectors.
    """
    if sha256 is not None and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != sha256:
        raise ValueError(f"{path} has sha256 {found}, but {sha256} is asked for (params.yaml: embedders)")
    session = _open_session(path)
    net = OnnxNet(session, input_size, *_read_layout(session, input_size, path))
    _check_output(net, input_size, path)
    offset, width = (torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1, 1) for value in (mean, scale))

    def normalise(faces):
        faces = faces.float().flip(1) if colours == "bgr" else faces.float()
        return (faces - offset.to(faces.device)) / width.to(faces.device)

    return net, normalise


def find_weights(weights):
    """Check the path of an ONNX file. Returns a Path. Raises ValueError if there is no such file."""
    if weights is None or not Path(weights).is_file():
        raise ValueError(f"the onnx file {weights} is absent: place it there, or give another path (params.yaml: embedders)")
    return Path(weights)


def _open_session(path):
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(f"{path} needs the package onnxruntime, which is not installed: run pip install -e '.[onnx]' in the "
                         "project's folder") from None
    options = onnxruntime.SessionOptions()
    # Several batches are at work at a time (ppe.faces.workers), so that one thread a batch uses all cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception for each kind of damage, and no common one of its own
        raise ValueError(f"{path} is damaged or no ONNX model, or its weights are in another file ({_say(error)}): export it "
                         "again, into one file (in PyTorch: external_data=False)") from None


def _read_layout(session, input_size, path):
    """Check that the model takes faces of this size. Returns whether it takes one at a time, and whether colours are last."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    if len(inputs) == 1 and len(shape) == 4 and inputs[0].type == "tensor(float)":
        for is_last, expected in enumerate([(1, 3, input_size, input_size), (1, input_size, input_size, 3)]):
            if all(not isinstance(size, int) or size == wanted for size, wanted in zip(shape, expected, strict=True)):
                return shape[0] == 1, bool(is_last)
    got = ", ".join(f"{part.type} {list(part.shape)}" for part in inputs) or "nothing"
    side = input_size
    raise ValueError(f"{path} takes {got}, but tensor(float) [B, 3, {side}, {side}] or [B, {side}, {side}, 3] is needed, with B "
                     "open or 1: change input_size (params.yaml: embedders), or export the model in this layout")


def _check_output(net, input_size, path):
    """Check on two grey faces that the first output is a vector a face."""
    try:
        shape = list(net(torch.zeros(2, 3, input_size, input_size)).shape)
    except Exception as error:
        raise ValueError(f"{path} cannot embed two faces of {input_size} px ({_say(error)}): change input_size (params.yaml: "
                         "embedders), or export the model with an open number of faces") from None
    if len(shape) != 2 or shape[0] != 2 or shape[1] < 2:
        raise ValueError(f"{path} turns two faces into {shape}, but [2, D] is needed, a vector a face: export the model with its "
                         "embeddings as the first output")


def _say(error):
    return " ".join(str(error).split())[:200]
