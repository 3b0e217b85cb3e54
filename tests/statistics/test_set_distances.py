"""Fréchet and kernel distances whose value is known, and FID."""

import numpy as np
import pytest
import torch
from scipy import stats

from ppe.statistics import set_distances
from ppe.statistics.set_distances import compute_fid, compute_frechet_distance, compute_kernel_distance, measure_moments


def test_the_frechet_distance_of_diagonal_gaussians():
    rng = np.random.default_rng(0)
    mean1, mean2 = rng.normal(size=(2, 6))
    sd1, sd2 = rng.uniform(0, 2, size=(2, 6))
    sd1[0] = 0  # not of full rank
    expected = ((mean1 - mean2) ** 2).sum() + ((sd1 - sd2) ** 2).sum()
    distance = compute_frechet_distance(mean1, np.diag(sd1**2), mean2, np.diag(sd2**2))
    assert distance == pytest.approx(expected, rel=1e-9)
    turn = stats.ortho_group.rvs(6, random_state=0)  # a rotation of the space changes no distance
    turned = [turn @ mean1, turn @ np.diag(sd1**2) @ turn.T, turn @ mean2, turn @ np.diag(sd2**2) @ turn.T]
    assert compute_frechet_distance(*turned) == pytest.approx(expected, rel=1e-6)
    assert compute_frechet_distance(*turned[2:], *turned[:2]) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_of_a_set_to_itself_is_zero_also_with_few_samples():
    few = np.random.default_rng(0).normal(size=(5, 20))
    mean, cov = few.mean(0), np.cov(few.T)
    assert 0 <= compute_frechet_distance(mean, cov, mean, cov) < 1e-6
    assert compute_frechet_distance(mean, cov, mean + 2, cov) == pytest.approx(80, abs=1e-6)


def test_the_frechet_distance_refuses_wrong_shapes():
    with pytest.raises(ValueError, match="with one D"):
        compute_frechet_distance(np.zeros(3), np.eye(3), np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="not finite"):
        compute_frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), np.full((2, 2), np.nan))


def draw_unit(count, width, seed, centre=None):
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    rows = rows if centre is None else rows * 0.1 + centre
    return torch.nn.functional.normalize(rows, dim=1)


def test_the_kernel_distance_on_paper():
    """Two sets of two: (1, 0) twice against (0, 1) twice. Within: 2^3; across: 1^3; 8 + 8 - 2."""
    x, y = torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[0.0, 1], [0, 1]])
    assert compute_kernel_distance(x, y) == pytest.approx(14.0)
    assert compute_kernel_distance(x, x) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="at least two"):
        compute_kernel_distance(x[:1], y)


def test_the_kernel_distance_of_two_samples_of_one_population_is_about_zero():
    values = [compute_kernel_distance(draw_unit(30, 8, s), draw_unit(40, 8, s + 100)) for s in range(100)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 10, "unbiased: of both signs"
    assert compute_kernel_distance(draw_unit(30, 8, 1), draw_unit(40, 8, 2, torch.ones(8))) > 10 * np.std(values)


class Rows:
    """An array that remembers how many rows were read of it at a time."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, key):
        rows = self.array[key]
        self.most = max(self.most, len(rows))
        return rows


def test_distances_of_embeddings_read_a_block_at_a_time_and_are_those_of_the_whole(monkeypatch):
    x, y = draw_unit(100, 6, 1), draw_unit(70, 6, 2)
    whole = [*measure_moments(x), compute_kernel_distance(x, y)]
    np.testing.assert_allclose(whole[0], x.double().mean(0), rtol=1e-12)
    np.testing.assert_allclose(whole[1], np.cov(x.double().numpy(), rowvar=False), rtol=1e-10)
    monkeypatch.setattr(set_distances, "BLOCK", 16)
    first, second = Rows(x), Rows(y)
    for one, other in zip(whole, [*measure_moments(first), compute_kernel_distance(first, second)], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    assert first.most == second.most == 16
    assert np.isnan(measure_moments(x[:1])[1]).all()


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """A file with the right names and shapes; the published weights are not part of the project."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda net, state: None)
        torch.manual_seed(0)
        net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=path)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(net.state_dict(), path)
    return path


def test_fid_is_zero_for_the_same_faces_and_grows_with_the_change(inception):
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    same = compute_fid(faces, faces[::-1], inception, batch_size=3, min_faces=4)
    little, much = (compute_fid(faces, faces // n + 20, inception, min_faces=4) for n in (2, 8))
    assert same < 1e-3 * little and little < much


def test_fid_holds_a_batch_of_faces_and_a_block_of_features(inception, monkeypatch):
    """The features of 2,048 numbers a face are what would grow: 16 GB for a million faces."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    rng, seen, merged = np.random.default_rng(0), [], []
    faces = Rows(rng.integers(0, 256, (45, 3, 4, 4), dtype=np.uint8))
    merge = set_distances._merge_moments

    def embed(net, batch):
        seen.append(tuple(batch.shape))
        return [batch.float().flatten(1)]

    def note(blocks):
        return merge(merged.append(len(block)) or block for block in blocks)

    monkeypatch.setattr(FeatureExtractorInceptionV3, "forward", embed)
    whole = compute_fid(faces.array, faces.array // 2, inception, min_faces=45)
    monkeypatch.setattr(set_distances, "BLOCK", 12)
    monkeypatch.setattr(set_distances, "_merge_moments", note)
    seen.clear()
    halves = Rows(faces.array // 2)
    blocks = compute_fid(faces, halves, inception, batch_size=5, min_faces=45)
    assert blocks == pytest.approx(whole, rel=1e-6)
    assert set(seen) == {(5, 3, 4, 4)} and faces.most == halves.most == 5 and max(merged) == 10
    small = compute_fid(faces, faces, inception, batch_size=5, min_faces=45, prepare=lambda batch: batch[:, :, :2, :2])
    assert small < 1e-3 and seen[-1] == (5, 3, 2, 2)


def test_fid_refuses_few_faces_and_other_files(inception, tmp_path):
    faces = np.zeros((8, 3, 16, 16), np.uint8)
    with pytest.raises(ValueError, match="FID of 8 generated and 8 real faces: at least 2048 a side are needed"):
        compute_fid(faces, faces, inception)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold InceptionV3's weights"):
        compute_fid(faces, faces, tmp_path / "other.pth", min_faces=8)
    torch.save(print, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="does not hold InceptionV3's weights"):
        compute_fid(faces, faces, tmp_path / "code.pth", min_faces=8)
