"""The nets and the trainer: shapes, gradients, augmentation, and a training that can be stopped."""

import numpy as np
import pytest
import torch

from ppe.gans import build
from ppe.gans.augment import POLICIES, augment
from ppe.gans.fastgan import SKIPS, compute_group_stddev
from ppe.gans.losses import compute_discriminator_loss, compute_generator_loss, compute_r1_penalty
from ppe.gans.training import publish_training, train_gan
from ppe.sampling import (
    compute_logits,
    draw_latents,
    load_discriminator,
    load_generator,
    read_description,
    sample_faces,
    save_faces,
)

SMALL = {
    "latent_dim": 16, "channel_base": 256, "channel_base_discriminator": 256, "channel_max": 32, "batch_size": 8,
    "learning_rate": 1e-3,
    "discriminator_rate": 1.0, "beta1": 0.0, "beta2": 0.99, "r1_gamma": 0.1, "r1_interval": 4, "redraw_weight": 1.0,
    "ema_kimg": 1.0, "ema_rampup": 0.1, "flip": True, "augment": ["colour", "translation"], "snapshots": [0.0, 0.5, 1.0],
    "checkpoint_seconds": 1e9, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def photos():
    """Twelve pictures of two flat colours with a bright spot: easy to learn, and not all alike."""
    images = torch.full((12, 3, 32, 32), 60, dtype=torch.uint8)
    images[::2, 0] = 200
    images[:, :, 10:16, 12:20] = 240
    return images


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
def test_shapes_skips_and_a_finite_gradient_in_every_parameter(resolution):
    generator, discriminator = build("fastgan", resolution, SMALL)
    assert set(generator.skips) == {str(r) for r in SKIPS if r <= resolution}
    faces = generator(torch.randn(4, 16))
    assert faces.shape == (4, 3, resolution, resolution) and faces.abs().max() <= 1
    logits, maps = discriminator(faces)
    assert logits.shape == (4,) and maps[4].shape[-1] == 4 and maps[8].shape[-1] == 8
    (compute_generator_loss(logits) + discriminator.redraw(faces, maps, (1, 0))).backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_the_discriminators_start_keeps_the_signal():
    """With torch's default start the logit hardly depends on the face, and nothing is learned at 32 px."""
    _, discriminator = build("fastgan", 32, SMALL)
    assert discriminator(torch.randn(64, 3, 32, 32).clamp(-1, 1), stddev=1.0)[0].std() > 0.05


def test_a_fixed_stddev_makes_a_logit_independent_of_its_neighbours():
    _, discriminator = build("fastgan", 32, SMALL)
    discriminator.eval()
    faces = torch.rand(8, 3, 32, 32) * 2 - 1
    alone = torch.cat([discriminator(face[None], stddev=0.3)[0] for face in faces])
    torch.testing.assert_close(discriminator(faces, stddev=0.3)[0], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(discriminator(faces)[0][:4], discriminator(faces[:4])[0], atol=1e-6)


def test_group_stddev_on_paper():
    x = torch.tensor([0.0, 10.0, 2.0, 10.0]).reshape(4, 1, 1, 1)  # strided groups of two: {0, 2} and {10, 10}
    spread = compute_group_stddev(x, 2).flatten()
    torch.testing.assert_close(spread, torch.tensor([1.0, 1e-4, 1.0, 1e-4]))


def test_losses_on_paper():
    zero, three = torch.zeros(2), torch.full((2,), 3.0)
    assert compute_generator_loss(zero).item() == pytest.approx(np.log(2))
    assert compute_discriminator_loss(three, -three).item() == pytest.approx(2 * np.log1p(np.exp(-3)))
    slope = torch.tensor([1.0, 2.0, 2.0])[:, None, None]
    linear = lambda x: ((x * slope).sum(dim=(1, 2, 3)), {})  # noqa: E731
    assert compute_r1_penalty(linear, torch.rand(5, 3, 1, 1)).item() == pytest.approx(9.0)  # |(1, 2, 2)|^2


@pytest.mark.parametrize("name", list(POLICIES))
def test_augmentation_is_a_function_of_the_generator_and_lets_gradients_through(name):
    images = torch.rand(6, 3, 32, 32, requires_grad=True)
    first = augment(images, [name], torch.Generator().manual_seed(5))
    again = augment(images, [name], torch.Generator().manual_seed(5))
    other = augment(images, [name], torch.Generator().manual_seed(6))
    assert torch.equal(first, again) and not torch.equal(first, other) and first.shape == images.shape
    first.sum().backward()
    assert images.grad.abs().sum() > 0
    assert torch.equal(augment(images, [], torch.Generator()), images)


def test_translation_moves_whole_pixels_and_fills_with_zero():
    images = torch.zeros(40, 3, 32, 32)
    images[:, :, 16, 16] = 1
    moved = augment(images, ["translation"], torch.Generator().manual_seed(0))
    assert moved.sum(dim=(1, 2, 3)).eq(3).all(), "the bright pixel is moved, neither lost nor blurred"
    rows = moved[:, 0].amax(2).argmax(1)
    assert rows.min() >= 12 and rows.max() <= 20 and len(rows.unique()) > 5


def test_training_learns_colours_and_losses_are_logged(photos, tmp_path):
    losses = train_gan(photos, gan="fastgan", settings=SMALL, kimg=2.4, seed=3, folder=tmp_path)
    assert [row["images"] for row in losses][-1] == 2400
    assert losses[-1]["loss_redraw"] < losses[0]["loss_redraw"]
    names = sorted(p.name for p in tmp_path.glob("snapshot-*"))
    assert names == ["snapshot-000000000.safetensors", "snapshot-000001200.safetensors", "snapshot-000002400.safetensors"]
    mean = photos.float().mean(dim=(0, 2, 3))
    error = []
    for name in (names[0], names[-1]):
        faces = torch.cat(list(sample_faces(load_generator(tmp_path / name, "fastgan", 32, SMALL), range(64))))
        error.append((faces.float().mean(dim=(0, 2, 3)) - mean).abs().mean().item())
    print("distance of the mean colour before and after:", error)
    assert error[1] < error[0] / 2


def test_a_training_that_was_stopped_ends_with_the_same_bytes(photos, tmp_path, monkeypatch):
    whole, halted = tmp_path / "whole", tmp_path / "halted"
    train_gan(photos, gan="fastgan", settings=SMALL, kimg=0.4, seed=3, folder=whole)

    class Killed(Exception):
        pass

    import ppe.gans.training as training

    step = training._train_step

    def stop(state, number, settings, seed):
        if number == 31:
            raise Killed
        step(state, number, settings, seed)

    monkeypatch.setattr(training, "_train_step", stop)
    with pytest.raises(Killed):
        train_gan(photos, gan="fastgan", settings=SMALL | {"checkpoint_seconds": 0.0}, kimg=0.4, seed=3, folder=halted)
    monkeypatch.setattr(training, "_train_step", step)
    train_gan(photos, gan="fastgan", settings=SMALL, kimg=0.4, seed=3, folder=halted)
    for file in sorted(whole.glob("*.safetensors")):
        assert (halted / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_keeps_the_snapshots(photos, tmp_path):
    settings = SMALL | {"learning_rate": 1e30}
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train_gan(photos, gan="fastgan", settings=settings, kimg=0.4, seed=3, folder=tmp_path, label="run")
    assert (tmp_path / "snapshot-000000000.safetensors").exists()


def test_wrong_photos_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        train_gan(torch.rand(4, 3, 32, 32), gan="fastgan", settings=SMALL, kimg=1, seed=0, folder="/tmp/never")
    with pytest.raises(ValueError, match="is not one of"):
        build("nogan", 32, SMALL)


@pytest.fixture(scope="module")
def snapshot(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan")
    train_gan(photos, gan="fastgan", settings=SMALL, kimg=0.2, seed=1, folder=folder, description='{"run": "x"}')
    return folder / "snapshot-000000200.safetensors"


def test_a_face_is_a_function_of_its_seed_whatever_the_batch(snapshot):
    generator = load_generator(snapshot, "fastgan", 32, SMALL)
    whole = torch.cat(list(sample_faces(generator, range(50), batch_size=50)))
    again = torch.cat(list(sample_faces(generator, range(50), batch_size=50)))
    assert torch.equal(whole, again), "the same bytes for the same call"
    split = torch.cat(list(sample_faces(generator, range(50), batch_size=7)))
    assert (whole.int() - split.int()).abs().max() <= 1
    assert torch.equal(draw_latents([4, 9], 16)[1], draw_latents([9], 16)[0])


def test_the_discriminators_opinion_of_a_face_does_not_depend_on_its_neighbours(snapshot, photos):
    discriminator = load_discriminator(snapshot.parent / "discriminator.safetensors", "fastgan", 32, SMALL)
    assert discriminator.stddev_mean > 0, "the mean over training, not the start"
    faces = torch.cat([photos, photos.flip(3) // 2]).numpy()
    whole = compute_logits(discriminator, faces)
    order = np.random.default_rng(0).permutation(len(faces))
    np.testing.assert_allclose(compute_logits(discriminator, faces[order], batch_size=5), whole[order], atol=1e-5)
    assert whole.shape == (24,) and np.ptp(whole) > 0
    with pytest.raises(ValueError, match="does not hold a fastgan discriminator of 32 px"):
        load_discriminator(snapshot, "fastgan", 32, SMALL)


def test_a_snapshot_says_what_made_it_and_other_nets_are_refused(snapshot, tmp_path):
    assert read_description(snapshot) == '{"run": "x"}'
    with pytest.raises(ValueError, match="does not hold a fastgan generator of 64 px"):
        load_generator(snapshot, "fastgan", 64, SMALL)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(snapshot.read_bytes()[:100])
    with pytest.raises(ValueError, match="does not hold"):
        load_generator(broken, "fastgan", 32, SMALL)


def test_saved_faces_are_whole_or_absent(tmp_path):
    blocks = [torch.full((2, 3, 4, 4), 1, dtype=torch.uint8), torch.full((1, 3, 4, 4), 2, dtype=torch.uint8)]
    save_faces(iter(blocks), tmp_path / "a.npy", 3, 4)
    assert np.load(tmp_path / "a.npy")[:, 0, 0, 0].tolist() == [1, 1, 2]
    with pytest.raises(ValueError, match="4 faces were announced, but 3 came"):
        save_faces(iter(blocks), tmp_path / "b.npy", 4, 4)
    assert not (tmp_path / "b.npy").exists()


def test_publishing_keeps_what_was_trained_and_drops_other_recipes_of_the_run(tmp_path):
    (tmp_path / "run-0123" / "a").mkdir(parents=True)
    for other in ("run-4567", "run-10-4567"):
        (tmp_path / other).mkdir()
    (tmp_path / "run-0123" / "a" / "snapshot-1.safetensors").write_bytes(b"x")
    (tmp_path / "run-0123" / "a" / "finished.json").write_bytes(b"[]")
    publish_training(tmp_path / "run-0123", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out" / "a").iterdir()] == ["snapshot-1.safetensors"]
    assert (tmp_path / "run-0123").exists() and (tmp_path / "run-10-4567").exists(), "another run's recipe"
    assert not (tmp_path / "run-4567").exists(), "another recipe of this run"


def test_a_finished_training_is_not_repeated(photos, tmp_path):
    first = train_gan(photos, gan="fastgan", settings=SMALL, kimg=0.1, seed=3, folder=tmp_path)
    times = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert "checkpoint.pt" not in times
    assert train_gan(photos, gan="fastgan", settings=SMALL, kimg=0.1, seed=3, folder=tmp_path) == first
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == times
