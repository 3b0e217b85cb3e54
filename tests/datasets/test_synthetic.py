"""Synthetic identities: a photo is a function of identity vector and seed, and a face detector detects it."""

import numpy as np
import pytest
import torch

from ppe.datasets.synthetic import PARAMETERS, draw_photos, draw_steps, read_attributes, sample_identities
from ppe.datasets.synthetic.people import RANGES


@pytest.fixture(scope="module")
def identities():
    return sample_identities(30, seed=5)


def replace(row, **values):
    """The same identity vector with some parameters changed, [1, K]."""
    row = row.clone()[None]
    for name, value in values.items():
        row[0, PARAMETERS.index(name)] = value
    return row


def test_a_larger_population_keeps_the_earlier_identities(identities):
    assert identities.shape == (30, len(PARAMETERS)) and identities.dtype == torch.float32
    assert torch.equal(sample_identities(12, seed=5), identities[:12])
    assert torch.equal(sample_identities(7, seed=5, first=9), identities[9:16])
    assert not torch.equal(sample_identities(12, seed=6), identities[:12])
    assert sample_identities(0, seed=5).shape == (0, len(PARAMETERS))


def test_every_parameter_varies_and_stays_in_its_range():
    many = sample_identities(300, seed=0)
    for column, (name, (low, high, what)) in zip(many.T, RANGES.items(), strict=True):
        assert what and low - 1e-6 <= column.min() and column.max() <= high + 1e-6, name
        assert column.std() > 0.1 * (high - low), name
    assert len(torch.unique(many, dim=0)) == 300


def test_photos_have_the_stated_shape_and_use_the_range_of_grey_levels(identities):
    for size in (32, 57, 128):
        photos = draw_photos(identities[:4], torch.arange(4), size)
        assert photos.shape == (4, 3, size, size) and photos.dtype == torch.uint8
        assert (photos.flatten(1).float().std(1) > 20).all()  # neither black, white nor grey
    assert draw_photos(identities[:0], torch.zeros(0, dtype=torch.int64), 64).shape == (0, 3, 64, 64)


def test_a_photo_does_not_depend_on_its_batch_or_on_earlier_calls(identities):
    seeds = torch.tensor([3, 3, -1, 2**62, 2**32 + 3])
    batch = draw_photos(identities[:5], seeds, 96)
    assert torch.equal(batch, draw_photos(identities[:5], seeds, 96))
    order = [4, 2, 0, 3, 1]
    assert torch.equal(batch[order], draw_photos(identities[order], seeds[order], 96))
    for row in range(5):
        assert torch.equal(batch[row], draw_photos(identities[row : row + 1], seeds[row : row + 1], 96)[0])


def test_torchs_random_state_is_neither_used_nor_changed(identities):
    torch.manual_seed(1)
    first = draw_photos(identities[:1], torch.tensor([8]), 64)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(after, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first, draw_photos(identities[:1], torch.tensor([8]), 64))


def test_every_bit_of_a_photo_seed_has_an_effect(identities):
    seeds = torch.tensor([3, 2**32 + 3, 2**62 + 3, -3])
    photos = draw_photos(identities[:1].expand(4, -1), seeds, 48)
    assert len(torch.unique(photos.flatten(1), dim=0)) == 4


def test_corners_depend_on_the_photo_and_the_middle_on_the_identity(identities):
    # Short hair keeps head and shoulders out of the top corners, an eighth of the frame wide.
    short = torch.cat([replace(row, hair_style=2.5) for row in identities[:6]])
    photos = draw_photos(short, torch.full((6,), 11), 128).int()
    corners = torch.stack((photos[:, :, :16, :16], photos[:, :, :16, -16:]))
    assert (corners == corners[:, :1]).all()
    middle = photos[:, :, 32:96, 40:88]
    assert ((middle[1:] - middle[:1]).abs().float().mean((1, 2, 3)) > 4).all()
    other = draw_photos(short[:1], torch.tensor([12]), 128).int()
    assert not torch.equal(other[0, :, :16, :16], photos[0, :, :16, :16])


def test_light_and_clothes_do_not_depend_on_the_identity(identities):
    # Beside the neck, the lowest rows hold clothes alone.
    short = torch.cat([replace(row, hair_style=1.5) for row in identities[:5]])
    photos = draw_photos(short, torch.full((5,), 21), 128).int()
    left, right = photos[:, :, 124:, 26:38], photos[:, :, 124:, 90:102]
    assert (left == left[:1]).all() and (right == right[:1]).all()


def test_a_parameter_changes_the_part_it_names_and_no_other(identities):
    base = replace(identities[0], hair_style=0.0, glasses_habit=0.0, eye_colour=0.0, mole_y=2.0)
    same_scene = torch.tensor([4])
    photo = draw_photos(base, same_scene, 128).int()
    blue = draw_photos(replace(base[0], eye_colour=0.75), same_scene, 128).int()
    changed = ((photo - blue).abs().amax(1) > 12)[0]  # JPEG slightly changes the whole block
    assert 0 < changed.sum() < 0.02 * 128 * 128  # two irises
    dark_on_pale = {"hair_dark": 1.0, "skin_tone": 0.0, "age": 25}
    bearded = draw_photos(replace(base[0], beard_style=5.5, **dark_on_pale), same_scene, 128).int()
    shaven = draw_photos(replace(base[0], beard_style=0.5, **dark_on_pale), same_scene, 128).int()
    darker = (shaven - bearded).float().mean((0, 1))
    rows = darker.sum(1)
    assert rows[70:100].sum() > 0.8 * rows.sum() > 0  # the lower half of the face


def test_darker_skin_is_darker(identities):
    tones = torch.cat([replace(identities[1], skin_tone=tone, hair_style=0.0, beard_style=0.0) for tone in (0, 0.5, 1)])
    brightness = draw_photos(tones, torch.full((3,), 2), 64)[:, :, 20:44, 24:40].float().mean((1, 2, 3))
    assert brightness[0] > brightness[1] + 10 and brightness[1] > brightness[2] + 10


def test_photos_of_one_identity_differ(identities):
    photos = draw_photos(identities[:1].expand(8, -1), torch.arange(8), 64).float()
    distance = torch.cdist(photos.flatten(1), photos.flatten(1), p=1) / photos[0].numel()
    assert (distance[~torch.eye(8, dtype=torch.bool)] > 3).all()  # mean grey levels


def test_attributes_agree_with_the_parameters(identities):
    bald = replace(identities[0], hair_style=0.0, beard_style=5.5, skin_tone=0.25)
    attributes = read_attributes(torch.cat((bald, identities[1:])))
    assert {"skin_tone", "hair", "beard", "age"} <= attributes.keys()
    assert all(len(values) == 30 for values in attributes.values())
    assert (attributes["hair"][0], attributes["beard"][0], attributes["skin_tone"][0]) == ("bald", "full", 0.25)
    many = read_attributes(sample_identities(400, seed=1))
    assert len(set(many["hair"])) == 13 and len(set(many["beard"])) == 5
    assert set(many["beard"][many["femininity"] > 0.5]) == {"none"}
    assert np.corrcoef(many["skin_tone"], many["hair_dark"])[0, 1] > 0.3  # blond hair on dark skin is rare


@pytest.mark.parametrize(
    ("identities", "seeds", "size", "sentence"),
    [
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), 64, r"identities has shape \[2, 3\], but must be"),
        (torch.zeros(len(PARAMETERS)), torch.zeros(1, dtype=torch.int64), 64, "identities has shape"),
        (sample_identities(2, 0), torch.zeros(3, dtype=torch.int64), 64, r"photo_seeds is torch.int64 \[3\], but must"),
        (sample_identities(2, 0), torch.zeros(2), 64, r"photo_seeds is torch.float32 \[2\], but must be torch.int64"),
        (sample_identities(2, 0), torch.zeros(2, dtype=torch.int64), 31, "size is 31, but must be at least 32"),
        (sample_identities(2, 0) * np.nan, torch.zeros(2, dtype=torch.int64), 64, "not finite"),
    ],
)
def test_wrong_arguments_are_errors(identities, seeds, size, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw_photos(identities, seeds, size)


def test_negative_numbers_are_errors():
    for arguments in ((-1, 0, 0), (1, -1, 0), (1, 0, -1)):
        with pytest.raises(ValueError, match="is -1, but must be at least 0"):
            sample_identities(*arguments)
    with pytest.raises(ValueError, match="identities has shape"):
        read_attributes(torch.zeros(3, 2))


def test_a_face_detector_finds_the_faces_at_their_stated_size(identities):
    from facenet_pytorch import MTCNN

    photos = draw_photos(identities, torch.arange(30) + 100, 128).permute(0, 2, 3, 1).numpy()
    detector = MTCNN(keep_all=False, post_process=False, device="cpu")
    boxes, _, landmarks = detector.detect([np.ascontiguousarray(photo) for photo in photos], landmarks=True)
    found = [row for row in range(30) if boxes[row] is not None]
    assert len(found) >= 27
    width = np.median([boxes[row][0][2] - boxes[row][0][0] for row in found]) / 128
    assert 0.35 < width < 0.5  # about 45 % of the frame, ears included
    left_eye, right_eye, nose, left_mouth, _ = np.median([landmarks[row][0] for row in found], axis=0) / 128
    assert left_eye[0] < nose[0] < right_eye[0] and left_eye[1] < nose[1] < left_mouth[1]


def test_the_steps_of_a_photo_end_with_the_photo(identities):
    steps = draw_steps(identities[3:4], 11, 96)
    assert torch.equal(steps[-1][1], draw_photos(identities[3:4], torch.tensor([11]), 96)[0])
    names = [name for name, _ in steps]
    assert len(set(names)) == 6
    change = [(b.float() - a.float()).abs().mean().item() for (_, a), (_, b) in zip(steps, steps[1:], strict=False)]
    assert min(change) > 0.3, "each step changes the picture visibly"
