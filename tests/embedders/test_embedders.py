"""Embedders: the paper's architecture, the common interface, weights files, and training."""

import hashlib
import os
import pickle
import subprocess
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from torch.nn import functional as F

from ppe import embedders
from ppe.config import LazyRows
from ppe.config.schema import Embedder
from ppe.embedders import facenet, mobilefacenet
from ppe.embedders.recipe import train_recipes
from ppe.embedders.training import augment, draw_batches, train_embedder
from ppe.embedders.verification import verify_embedders

SHARED = Path(os.environ.get("PPE_SHARED", Path(__file__).parents[3] / "shared"))
WEIGHTS = SHARED / "weights" / "mobilefacenet-casia.pth"
SMALL = {"input_size": 48, "width": 0.25}
RECIPE = Embedder(net="mobilefacenet", **SMALL, steps=4, batch_size=8, learning_rate=0.01, seed=0, overlap="none")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def weights():
    if not WEIGHTS.is_file():
        pytest.skip(f"{WEIGHTS} is absent: the CASIA-WebFace weights are not part of the repository")
    return WEIGHTS


def draw_faces(count, size=32):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def draw_identities(num_identities, photos, size=32):
    """Identities that differ in a smooth colour pattern; photos of one identity differ in noise."""
    pattern = F.interpolate(torch.rand(num_identities, 3, 4, 4) * 255, (size, size), mode="bilinear")
    labels = torch.arange(num_identities).repeat_interleave(photos)
    faces = pattern[labels] + 10 * torch.randn(len(labels), 3, size, size)
    return faces.clamp(0, 255).to(torch.uint8), labels


# ----------------------------------------------------------------------------------------------------- architecture


def test_the_number_of_parameters_follows_from_table_1():
    """A convolution has its weights, a norm two parameters a channel, a PReLU one; nothing else has any."""

    def block(channels_in, channels_out, kernel, groups=1, prelu=True):
        return channels_in // groups * channels_out * kernel**2 + channels_out * (3 if prelu else 2)

    expected = block(3, 64, 3) + block(64, 64, 3, groups=64)
    channels = 64
    for t, c, n in [(2, 64, 5), (4, 128, 1), (2, 128, 6), (4, 128, 1), (2, 128, 2)]:
        for _ in range(n):
            hidden = t * channels
            expected += block(channels, hidden, 1) + block(hidden, hidden, 3, groups=hidden)
            expected += block(hidden, c, 1, prelu=False)
            channels = c
    expected += block(128, 512, 1) + block(512, 512, 7, groups=512, prelu=False) + block(512, 128, 1, prelu=False)

    count = sum(parameter.numel() for parameter in mobilefacenet.MobileFaceNet().parameters())

    assert count == expected
    assert round(count / 1e6, 2) == pytest.approx(0.99, abs=0.02)  # the number given in the paper


def test_feature_maps_shrink_as_in_table_1():
    net = mobilefacenet.MobileFaceNet().eval()
    seen = []
    for module in [net.stem[0], *(net.bottlenecks[i] for i in (4, 5, 11, 12, 14)), *net.head]:
        module.register_forward_hook(lambda module, args, output: seen.append(tuple(output.shape[1:])))

    net(torch.zeros(1, 3, 112, 112))

    assert seen == [
        (64, 56, 56), (64, 28, 28), (128, 14, 14), (128, 14, 14), (128, 7, 7), (128, 7, 7),
        (512, 7, 7), (512, 1, 1), (128, 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("input_size", "kernel"), [(112, 7), (64, 4), (48, 3)])
def test_the_global_convolution_covers_the_whole_feature_map(input_size, kernel):
    net = mobilefacenet.MobileFaceNet(input_size, width=0.5)
    assert net.head[1].conv.kernel_size == (kernel, kernel)
    assert net(torch.zeros(2, 3, input_size, input_size)).shape == (2, 128)


@pytest.mark.parametrize("settings", [{"input_size": 50}, {"input_size": 0}, {"width": 0}, {"depth": 3}])
def test_settings_out_of_range_are_errors(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        embedders.build("mobilefacenet", **settings)


def test_every_parameter_has_a_finite_gradient():
    net = mobilefacenet.MobileFaceNet(**SMALL)
    net(torch.randn(4, 3, 48, 48)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


# ----------------------------------------------------------------------------------------------------- interface


@pytest.mark.parametrize("shape", [(32, 32), (48, 48), (112, 96)])
@pytest.mark.parametrize("flip", [False, True])
def test_faces_of_any_size_give_unit_vectors(shape, flip):
    embedder = embedders.build("mobilefacenet", flip=flip, **SMALL)
    embeddings = embedder(torch.randint(0, 256, (3, 3, *shape), dtype=torch.uint8))
    assert embeddings.shape == (3, 128) and embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(3), atol=1e-5)


def test_an_embedding_does_not_depend_on_its_batch():
    embedder = embedders.build("mobilefacenet", **SMALL).train()  # stays in eval mode
    faces = draw_faces(9)
    difference = (embedder(faces) - torch.cat([embedder(face[None]) for face in faces])).abs().max().item()
    print("largest difference between batches of 9 and of 1:", difference)
    assert difference < 1e-5


def test_with_flip_a_face_and_its_mirror_image_have_equal_embeddings():
    faces = draw_faces(4)
    plain, both = (embedders.build("mobilefacenet", flip=flip, **SMALL) for flip in (False, True))
    both.net.load_state_dict(plain.net.state_dict())
    expected = F.normalize(plain(faces) + plain(faces.flip(3)))
    assert torch.allclose(both(faces), expected, atol=1e-6)
    assert torch.allclose(both(faces), both(faces.flip(3)), atol=1e-6)
    assert not torch.allclose(plain(faces), plain(faces.flip(3)), atol=1e-3)


def test_faces_are_reduced_with_antialiasing_and_normalised_as_in_the_paper():
    """A checkerboard of 0 and 255 averages to grey: (127.5 - 127.5) / 128 = 0."""
    board = ((torch.arange(96)[:, None] + torch.arange(96)) % 2 * 255).to(torch.uint8).expand(1, 3, 96, 96)
    embedder = embedders.build("mobilefacenet", **SMALL)
    seen = []
    embedder.net.register_forward_pre_hook(lambda net, args: seen.append(args[0]))
    embedder(board)
    assert seen[0].shape == (1, 3, 48, 48)
    assert seen[0][:, :, 2:-2, 2:-2].abs().max() < 0.01
    ends = torch.tensor([0, 255], dtype=torch.uint8)
    assert torch.equal(mobilefacenet.normalise(ends), torch.tensor([-255, 255]) / 256)


@pytest.mark.parametrize("faces", [torch.zeros(2, 3, 32, 32), torch.zeros(2, 32, 32, 3, dtype=torch.uint8)])
def test_wrong_arrays_are_errors(faces):
    with pytest.raises(ValueError, match=r"must be uint8 \[B, 3, height, width\]"):
        embedders.build("mobilefacenet", **SMALL)(faces)


def test_a_model_does_not_import_the_packages_of_others():
    code = (
        "import sys; from ppe import embedders; embedders.build('mobilefacenet', input_size=48, width=0.25); "
        "sys.exit(any(m in sys.modules for m in ('facenet_pytorch', 'pytorch_metric_learning')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


# ----------------------------------------------------------------------------------------------------- files


def save_small(path, params=None):
    net = mobilefacenet.MobileFaceNet(**SMALL)
    embedders.save(path, "mobilefacenet", net.state_dict(), SMALL, params)
    return net.eval()


def test_a_saved_embedder_is_loaded_unchanged(tmp_path):
    path = tmp_path / "net.safetensors"
    net = save_small(path, {"seed": 7})
    embedder = embedders.load("mobilefacenet", path)  # the settings come from the file
    faces = draw_faces(2, size=48)
    assert embedder.params == {"seed": 7} and embedder.input_size == 48
    assert torch.allclose(embedder(faces), F.normalize(net(mobilefacenet.normalise(faces))), atol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_of_other_settings_or_another_model_is_an_error(tmp_path):
    path = tmp_path / "net.safetensors"
    save_small(path)
    with pytest.raises(ValueError, match="was made with input_size=48, but input_size=64 is asked for"):
        embedders.load("mobilefacenet", path, input_size=64)
    with pytest.raises(ValueError, match="holds a mobilefacenet, but a facenet is asked for"):
        embedders.load("facenet", path)
    with pytest.raises(ValueError, match=r"'arcface' is not one of \['mobilefacenet', 'facenet', 'dlib', 'onnx'"):
        embedders.load("arcface", path)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999])
def test_a_truncated_file_is_an_error(tmp_path, name, kept):
    whole, cut = tmp_path / name, tmp_path / f"cut-{name}"
    net = save_small(tmp_path / "net.safetensors")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    data = whole.read_bytes()
    cut.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match="truncated"):
        embedders.load("mobilefacenet", cut, **SMALL)


@pytest.mark.parametrize("kept", [0, 1, 100, 2_000, 0.3, 0.9])
def test_a_truncated_file_of_torchs_old_format_is_an_error(tmp_path, kept):
    state = embedders.build("mobilefacenet", **SMALL).net.state_dict()
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match="truncated"):
        embedders.load("mobilefacenet", tmp_path / "cut.pth", **SMALL)


class Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pickle_that_would_run_code_is_an_error(tmp_path, write):
    path, mark = tmp_path / "net.pth", tmp_path / "was-run"
    write({"stem.0.conv.weight": Payload(f"touch {mark}")}, path)
    with pytest.raises(ValueError, match="could run code is not loaded"):
        embedders.load("mobilefacenet", path)
    assert not mark.exists()


@pytest.mark.parametrize("thing", [[torch.zeros(2)], {"epoch": 3}, torch.zeros(2), {0: torch.zeros(2)}])
def test_a_file_without_a_state_dict_is_an_error(tmp_path, thing):
    torch.save(thing, tmp_path / "net.pth")
    with pytest.raises(ValueError, match="is not a state_dict"):
        embedders.load("mobilefacenet", tmp_path / "net.pth")


def test_an_absent_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="is absent"):
        embedders.load("mobilefacenet", tmp_path / "none.pth")


def test_casia_weights_fill_the_model_exactly(weights):
    state = torch.load(weights, map_location="cpu", weights_only=True)
    used = {key for key in state if key.startswith("arcface.")}
    renamed = mobilefacenet.rename_keys({**state, "head.weight": torch.zeros(1)})  # classifier of the training identities
    assert renamed.keys() == mobilefacenet.MobileFaceNet().state_dict().keys()
    assert len(renamed) == len(used)  # no two names coincide
    assert {id(value) for value in renamed.values()} == {id(state[key]) for key in used}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.update({"arcface.sep.scale": torch.zeros(1)}), "unknown head.0.conv.scale"),
        (lambda state: state.update({"arcface.extra.weight": torch.zeros(1)}), "unknown extra.weight"),
        (lambda state: state.pop("arcface.conv_45.project.bn.bias"), "lacks bottlenecks.12.project.bn.bias"),
        (lambda state: state.update({"arcface.features.weight": torch.zeros(64, 512, 1, 1)}), "another shape"),
    ],
)
def test_a_changed_key_is_an_error_on_one_line(weights, tmp_path, change, sentence):
    state = torch.load(weights, map_location="cpu", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=sentence) as error:
        embedders.load("mobilefacenet", tmp_path / "net.pth")
    assert "\n" not in str(error.value)


# ----------------------------------------------------------------------------------------------------- facenet


@pytest.fixture(scope="module")
def facenet_file(tmp_path_factory):
    """Untrained weights with a classifier, as in the published files."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("facenet") / "weights.pt"
    state = InceptionResnetV1().state_dict()
    torch.save({**state, "logits.weight": torch.zeros(4, 512), "logits.bias": torch.zeros(4)}, path)
    return path


def test_facenet_accepts_any_size_and_agrees_with_its_package(facenet_file):
    embedder = embedders.load("facenet", facenet_file)
    reference = InceptionResnetV1().eval()
    reference.load_state_dict(facenet.rename_keys(torch.load(facenet_file, weights_only=True)))
    faces = draw_faces(2, size=160)
    with torch.inference_mode():
        assert torch.allclose(embedder(faces), reference((faces.float() - 127.5) / 128), atol=1e-5)
        assert embedder(faces[:, :, :32, :32]).shape == (2, 512)
    assert embedder.input_size == 160


def test_the_hash_of_facenets_weights_is_recorded_and_then_checked(facenet_file, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(facenet_file.read_bytes())
    assert facenet.find_weights(path) == path
    record = tmp_path / "weights.pt.sha256"
    assert record.read_text() == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  weights.pt\n"
    facenet.find_weights(path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="was recorded at its first use"):
        embedders.load("facenet", path)


def test_facenet_without_a_network_names_the_file_and_its_address(monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ValueError, match="no network") as error:
        embedders.load("facenet", "vggface2")
    assert str(tmp_path / "checkpoints" / "20180402-114759-vggface2.pt") in str(error.value)
    assert facenet.WEIGHTS["vggface2"] in str(error.value)
    with pytest.raises(ValueError, match="vggface3 is absent"):
        embedders.load("facenet", "vggface3")


# ----------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("loss", ["arcface", "triplet"])
def test_the_loss_falls_and_unseen_photos_are_separated(loss):
    faces, labels = draw_identities(6, 12)
    train, seen = torch.arange(72) % 12 < 8, []
    state, losses = train_embedder(
        faces[train], labels[train], loss=loss, resolutions=[16, 32], steps=60, batch_size=24, learning_rate=2e-3,
        seed=1, progress=lambda *line: seen.append(line), **SMALL,
    )  # fmt: skip
    print(loss, "first and last ten:", np.mean(losses[:10]), np.mean(losses[-10:]))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert [line[:2] for line in seen] == [(step, 60) for step in range(1, 61)] and seen[-1][2] == losses[-1]

    embedder = embedders.build("mobilefacenet", **SMALL)
    embedder.net.load_state_dict(state)
    unseen = embedder(faces.view(6, 12, 3, 32, 32)[:, 8:].flatten(0, 1))
    cosine = (unseen @ unseen.T).view(6, 4, 6, 4).mean((1, 3))
    assert cosine.argmax(1).tolist() == list(range(6))


def test_the_same_seed_gives_the_same_bytes_and_keeps_the_global_state():
    faces, labels = draw_identities(4, 4)
    arguments = {"steps": 3, "batch_size": 8, "learning_rate": 1e-3, "resolutions": [16, 32], **SMALL}
    before = torch.get_rng_state()
    first, first_losses = train_embedder(faces, labels, seed=5, **arguments)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    again, losses = train_embedder(faces.numpy(), labels.numpy() * 10 - 3, seed=5, **arguments)
    lazy, _ = train_embedder(LazyRows(faces.flip(0).numpy(), range(15, -1, -1)), labels, seed=5, **arguments)
    other, _ = train_embedder(faces, labels, seed=6, **arguments)
    assert losses == first_losses
    assert all(torch.equal(first[key], again[key]) and torch.equal(first[key], lazy[key]) for key in first)
    assert not torch.equal(first["stem.0.conv.weight"], other["stem.0.conv.weight"])


def test_batches_hold_every_identity_equally_often():
    labels = torch.tensor([0] * 4 + [1] * 30 + [2] * 9)
    batches = draw_batches(labels, 12, torch.Generator().manual_seed(0))
    for _ in range(20):
        rows = next(batches)
        assert labels[rows].bincount().tolist() == [4, 4, 4] and len(rows.unique()) == 12


def test_augmentation_reduces_faces_to_the_resolution():
    """At 4 px no detail finer than a cell is left."""
    faces = draw_faces(64, size=64)
    x = augment(faces, [4], 48, torch.Generator().manual_seed(0))
    y = augment(faces, [4, 48], 48, torch.Generator().manual_seed(0))
    assert x.shape == (64, 3, 48, 48) and 0 <= x.min() and x.max() <= 255

    def roughness(z):
        return (z[..., 1:] - z[..., :-1]).abs().mean((1, 2, 3))

    assert roughness(x).max() < 10
    assert 10 < (roughness(y) > 10).sum() < 54  # each face has its own resolution


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": torch.zeros(16, dtype=torch.int64)}, "faces of 1 identities are given, but at least 2 are needed"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"uint8 \[N, 3, H, W\]"),
        ({"faces": torch.zeros(16, 3, 32, 32)}, r"uint8 \[N, 3, H, W\]"),
        ({"loss": "softmax"}, "loss='softmax' is not one of"),
        ({"resolutions": [64]}, "between 1 and 32"),
        ({"resolutions": []}, "between 1 and 32"),
        ({"steps": 0}, "steps=0"),
        ({"learning_rate": 1e9}, "lower learning_rate"),
    ],
)
def test_wrong_training_arguments_are_errors(change, sentence):
    faces, labels = draw_identities(4, 4)
    arguments = {"faces": faces, "labels": labels, "steps": 30, "batch_size": 8, "learning_rate": 1e-3, "seed": 0}
    with pytest.raises(ValueError, match=sentence):
        train_embedder(**{**arguments, **SMALL, **change})


def test_embedders_trained_side_by_side_are_those_trained_alone_with_one_thread(tmp_path):
    faces, labels = draw_identities(4, 4)
    labels = labels.numpy()
    recipes = {name: RECIPE.model_copy(update={"loss": name, "seed": seed}) for seed, name in enumerate(("arcface", "triplet"))}
    jobs = {name: (recipe, faces, labels, tmp_path / f"{name}.safetensors") for name, recipe in recipes.items()}
    losses = train_recipes(jobs, resolutions=[32])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, recipe in recipes.items():
            alone = tmp_path / f"{name}-alone.safetensors"
            assert train_recipes({name: (recipe, faces, labels, alone)}, resolutions=[32])[name] == losses[name]
            assert alone.read_bytes() == jobs[name][3].read_bytes()
    finally:
        torch.set_num_threads(threads)


def test_the_same_embedder_is_saved_to_the_same_bytes(tmp_path):
    """Several metadata keys would be written in a random order."""
    state = {"weight": torch.arange(4.0)}
    found = set()
    for number in range(12):
        embedders.save(tmp_path / f"{number}.safetensors", "mobilefacenet", state, {"input_size": 48}, {"seed": 1})
        found.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(found) == 1


def test_fewer_pairs_are_drawn_where_faces_were_lost():
    """Photos of strangers that were left out ended a study an hour after the pre-flight checks had counted their pairs."""
    faces, identity = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8), np.repeat(np.arange(8), 3)
    small, options = {"small": embedders.build("mobilefacenet", **SMALL)}, {"resolutions": [32], "num_pairs": 100, "seed": 0}
    results, pairs, _ = verify_embedders(small, faces, identity, **options)
    assert results.num_pairs.tolist() == [48] and len(pairs) == 48, "8 x 3 pairs of one identity, and as many of two"
    with pytest.raises(ValueError, match="num_pairs=100 is not an even number up to 18"):
        verify_embedders(small, faces[:9], identity[:9], **options)
