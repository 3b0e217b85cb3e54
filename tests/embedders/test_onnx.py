"""Face recognition models as ONNX files: small ones, made here, whose embeddings are derivable on paper."""

import hashlib
import sys

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from ppe import embedders
from ppe.config import load_params
from ppe.embedders.embed import build_embed, embed_faces
from ppe.pipeline.preflight import check_embedders

TAKES = {"input_size": 32, "colours": "rgb", "mean": 0.0, "scale": 1.0}


def write_model(path, nodes=(), shape=("B", 3, 32, 32), dtype=TensorProto.FLOAT, output="vectors", more_inputs=()):
    """Write a model that averages each channel, [B, 3], unless ``nodes`` are given."""
    nodes = nodes or [
        helper.make_node("GlobalAveragePool", ["faces"], ["means"]),
        helper.make_node("Flatten", ["means"], ["vectors"]),
    ]
    inputs = [helper.make_tensor_value_info("faces", dtype, shape), *more_inputs]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "model", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def paint(*colours, size=32):
    """Faces of one colour each: uint8 [N, 3, size, size]."""
    return torch.tensor(colours, dtype=torch.uint8)[:, :, None, None].expand(-1, -1, size, size)


@pytest.mark.parametrize(
    ("colours", "mean", "scale", "expected"),
    [
        ("rgb", 0.0, 1.0, [30.0, 60.0, 90.0]),
        ("bgr", 0.0, 1.0, [90.0, 60.0, 30.0]),
        ("rgb", 120.0, 30.0, [-3.0, -2.0, -1.0]),
        ("bgr", [80.0, 50.0, 20.0], 2.0, [5.0, 5.0, 5.0]),  # in the order that the model takes
        ("bgr", [80.0, 50.0, 20.0], [2.0, 1.0, 0.5], [5.0, 10.0, 20.0]),
    ],
)
def test_the_model_gets_the_colours_in_its_order_and_range(tmp_path, colours, mean, scale, expected):
    path = write_model(tmp_path / "net.onnx")
    embedder = embedders.load("onnx", path, input_size=32, colours=colours, mean=mean, scale=scale)
    for size in (32, 48):
        got = embedder(paint([30, 60, 90], size=size))
        assert torch.allclose(got, F.normalize(torch.tensor([expected])), atol=1e-5) and got.dtype == torch.float32
    assert embedder.input_size == 32


@pytest.mark.parametrize("batch", ["B", 1])
def test_a_model_may_take_the_colours_last(tmp_path, batch):
    """As models of TensorFlow do: the mean over both sides is one number a colour."""
    nodes = [helper.make_node("ReduceMean", ["faces"], ["vectors"], axes=[1, 2], keepdims=0)]
    path = write_model(tmp_path / "net.onnx", nodes, shape=(batch, 32, 32, 3))
    embedder = embedders.load("onnx", path, **TAKES | {"colours": "bgr", "mean": [80.0, 50.0, 20.0]})
    expected = F.normalize(torch.tensor([[10.0, 10.0, 10.0], [-80.0, 50.0, 235.0]]))
    assert torch.allclose(embedder(paint([30, 60, 90], [255, 100, 0])), expected, atol=1e-5)


@pytest.mark.parametrize("batch", ["B", 1])
def test_an_embedding_does_not_depend_on_its_batch(tmp_path, batch):
    """Also of a model that takes one face at a time. Several batches are at work at a time."""
    path = write_model(tmp_path / "net.onnx", shape=(batch, 3, 32, 32))
    embedder = embedders.load("onnx", path, **TAKES)
    faces = torch.randint(0, 256, (23, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = embed_faces(faces, embedder, resolution=16)
    assert whole.shape == (23, 3) and torch.equal(whole, embed_faces(faces, embedder, resolution=16, batch_size=1))
    assert torch.equal(whole, embed_faces(faces.numpy(), embedder, resolution=16, batch_size=7))
    assert embed_faces(faces[:0], embedder).shape == (0, 3)


def test_the_network_may_be_as_deep_as_it_likes(tmp_path):
    """A convolution of its own weights, against torch."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 8, 3, stride=2)
    parts = [numpy_helper.from_array(value.detach().numpy(), name) for name, value in conv.named_parameters()]
    nodes = [
        *(helper.make_node("Constant", [], [part.name], value=part) for part in parts),
        helper.make_node("Conv", ["faces", "weight", "bias"], ["maps"], strides=[2, 2], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["maps"], ["means"]),
        helper.make_node("Flatten", ["means"], ["vectors"]),
    ]
    embedder = embedders.load("onnx", write_model(tmp_path / "net.onnx", nodes), **TAKES | {"mean": 127.5, "scale": 127.5})
    faces = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        expected = F.normalize(conv(faces / 127.5 - 1).mean((2, 3)))
    assert torch.allclose(embedder(faces), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "takes", "sentence"),
    [
        ({}, {"input_size": 64}, None),  # an open side would do, but this one is 32
        ({"shape": ("B", 32, 32, 1)}, {}, r"takes tensor.float. \['B', 32, 32, 1\], but tensor.float. \[B, 3, 32, 32\] or"),
        ({"shape": (8, 3, 32, 32)}, {}, "with B open or 1"),
        ({"shape": ("B", 3, 32)}, {}, "is needed"),
        ({"dtype": TensorProto.UINT8, "nodes": [helper.make_node("Cast", ["faces"], ["vectors"], to=1)]}, {}, "takes tensor.u"),
        ({"more_inputs": [helper.make_tensor_value_info("age", TensorProto.FLOAT, [1])]}, {}, "is needed"),
        ({"nodes": [helper.make_node("GlobalAveragePool", ["faces"], ["vectors"])]}, {}, r"into \[2, 3, 1, 1\], but \[2, D\]"),
        ({"nodes": [helper.make_node("ReduceMean", ["faces"], ["vectors"], axes=[1, 2, 3], keepdims=0)]}, {}, r"into \[2\]"),
    ],
)
def test_a_model_that_does_not_turn_faces_into_vectors_is_one_sentence(tmp_path, options, takes, sentence):
    path = write_model(tmp_path / "net.onnx", **options)
    with pytest.raises(ValueError, match=sentence or "change input_size") as error:
        embedders.load("onnx", path, **TAKES | takes)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("kept", [0, 1, 20, -1])
def test_a_damaged_file_is_one_sentence(tmp_path, kept):
    path = write_model(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="net.onnx is damaged or no ONNX model") as error:
        embedders.load("onnx", path, **TAKES)
    assert "\n" not in str(error.value)


def test_weights_in_another_file_are_not_read(tmp_path):
    """A file of ONNX may name another path for its numbers."""
    (tmp_path / "secret").write_bytes(np.ones(3, np.float32).tobytes())
    tensor = TensorProto(name="other", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret")
    nodes = [
        helper.make_node("Constant", [], ["other"], value=tensor),
        helper.make_node("GlobalAveragePool", ["faces"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Add", ["flat", "other"], ["vectors"]),
    ]
    with pytest.raises(ValueError, match="or its weights are in another file"):
        embedders.load("onnx", write_model(tmp_path / "net.onnx", nodes), **TAKES)


def test_a_file_that_is_absent_or_another_one_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="the onnx file .*none.onnx is absent"):
        embedders.load("onnx", tmp_path / "none.onnx", **TAKES)
    path = write_model(tmp_path / "net.onnx")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    embedders.load("onnx", path, **TAKES, sha256=found)
    with pytest.raises(ValueError, match=f"has sha256 {found}, but {'0' * 64} is asked for"):
        embedders.load("onnx", path, **TAKES, sha256="0" * 64)


def test_without_onnxruntime_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"is not installed: run pip install -e '.\[onnx\]'"):
        embedders.load("onnx", write_model(tmp_path / "net.onnx"), **TAKES)


def test_an_untrained_model_cannot_be_built():
    with pytest.raises(ValueError, match="give weights, the path of its file"):
        embedders.build("onnx", input_size=32)


def test_params_describe_a_model_and_every_stage_loads_it_so(root, tmp_path):
    """The pre-flight check, the notebooks and the check of identities go through one function."""
    write_model(tmp_path / "own.onnx")
    content = yaml.safe_load((root / "params.yaml").read_text())
    content["embedders"]["own"] = {"net": "onnx", "weights": "own.onnx", "input_size": 32, "colours": "bgr", "mean": 10,
                                   "scale": 2, "overlap": "none"}  # fmt: skip
    content["datasets"]["synthetic"]["embedders"] = ["own"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    params = load_params(root=tmp_path)
    check_embedders(params, "synthetic")
    expected = F.normalize(torch.tensor([[40.0, 25.0, 10.0]]))
    assert torch.allclose(embedders.load_embedder(params, "own", "synthetic")(paint([30, 60, 90])), expected, atol=1e-5)
    assert torch.allclose(build_embed(params, "synthetic", "own", "cpu")(paint([30, 60, 90])), expected, atol=1e-5)
