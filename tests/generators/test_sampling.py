"""Outputs of trained models: faces by seed, logits of single faces, and files that are complete or absent."""

import numpy as np
import pytest
import torch

from ppe.generators.sampling import (
    compute_logits,
    draw_latents,
    load_discriminator,
    load_generator,
    read_description,
    sample_faces,
    save_faces,
)
from ppe.generators.training.loop import train_generator


@pytest.fixture(scope="module")
def snapshot(photos, small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan")
    recipe = {"family": "fastgan", "settings": small["fastgan"], "kimg": 0.2, "seed": 1, "description": '{"run": "x"}'}
    train_generator(photos, **recipe, folder=folder)
    return folder / "snapshot-000000200.safetensors"


def test_a_generated_face_depends_on_its_seed_and_not_on_the_batch(snapshot, small):
    generator = load_generator(snapshot, "fastgan", 32, small["fastgan"])
    whole = torch.cat(list(sample_faces(generator, range(50), batch_size=50)))
    again = torch.cat(list(sample_faces(generator, range(50), batch_size=50)))
    assert torch.equal(whole, again), "the same bytes for the same call"
    split = torch.cat(list(sample_faces(generator, range(50), batch_size=7)))
    assert (whole.int() - split.int()).abs().max() <= 1
    assert torch.equal(draw_latents([4, 9], 16)[1], draw_latents([9], 16)[0])


def test_a_logit_does_not_depend_on_the_other_faces_of_its_batch(snapshot, photos, small):
    discriminator = load_discriminator(snapshot.parent / "discriminator.safetensors", "fastgan", 32, small["fastgan"])
    assert discriminator.stddev.mean > 0, "the mean over training, not the start"
    faces = torch.cat([photos, photos.flip(3) // 2]).numpy()
    whole = compute_logits(discriminator, faces)
    order = np.random.default_rng(0).permutation(len(faces))
    np.testing.assert_allclose(compute_logits(discriminator, faces[order], batch_size=5), whole[order], atol=1e-5)
    assert whole.shape == (24,) and np.ptp(whole) > 0
    with pytest.raises(ValueError, match="does not hold a fastgan discriminator of 32 px"):
        load_discriminator(snapshot, "fastgan", 32, small["fastgan"])


def test_a_snapshot_holds_its_params_and_files_of_other_models_are_refused(snapshot, small, tmp_path):
    assert read_description(snapshot) == '{"run": "x"}'
    with pytest.raises(ValueError, match="does not hold a fastgan generator of 64 px"):
        load_generator(snapshot, "fastgan", 64, small["fastgan"])
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(snapshot.read_bytes()[:100])
    with pytest.raises(ValueError, match="does not hold"):
        load_generator(broken, "fastgan", 32, small["fastgan"])


def test_a_file_of_faces_is_complete_or_absent(tmp_path):
    blocks = [torch.full((2, 3, 4, 4), 1, dtype=torch.uint8), torch.full((1, 3, 4, 4), 2, dtype=torch.uint8)]
    save_faces(iter(blocks), tmp_path / "a.npy", 3, 4)
    assert np.load(tmp_path / "a.npy")[:, 0, 0, 0].tolist() == [1, 1, 2]
    with pytest.raises(ValueError, match="3 faces of 4 px were generated for .*b.npy, but 4 are needed"):
        save_faces(iter(blocks), tmp_path / "b.npy", 4, 4)
    assert not (tmp_path / "b.npy").exists()
