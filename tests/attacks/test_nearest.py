"""Exact search: embeddings are points on a circle, where the nearest one is known, or scikit-learn gives the answer."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from ppe.attacks import blocks, nearest
from ppe.attacks.blocks import propose_roughly, round_rows
from ppe.attacks.nearest import compute_log_density, count_within, find_nearest, find_nearest_pixel, find_top_k


def on_circle(*degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


def draw_unit(rows, width, seed):
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def draw_faces(rows, seed, side=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, 3, side, side), generator=generator, dtype=torch.uint8)


def test_nearest_on_a_circle():
    distance, index = find_nearest(on_circle(10, 100, 350), on_circle(0, 90, 180, 270))
    assert index.tolist() == [0, 1, 0] and index.dtype == torch.int64
    assert distance.dtype == torch.float32
    np.testing.assert_allclose(distance, 1 - np.cos(np.deg2rad([10, 10, 10])), atol=1e-7)


def test_opposite_and_equal_embeddings_are_the_ends_of_the_range():
    assert find_nearest(on_circle(30), on_circle(210))[0].item() == 2
    assert find_nearest(on_circle(30), on_circle(30))[0].item() == pytest.approx(0, abs=1e-7)
    assert find_nearest(on_circle(30), on_circle(30))[0].item() >= 0


@pytest.mark.parametrize("block_size", [1, 2, 3, 4, 100])
def test_ties_go_to_the_lowest_row(block_size):
    database = on_circle(180, 20, -20, 20, -20, 90)  # +20 and -20 degrees are equally far from 0
    distance, index = find_nearest(on_circle(0, 20, -20), database, block_size)
    assert index.tolist() == [1, 1, 2]
    np.testing.assert_allclose(distance, [1 - np.cos(np.deg2rad(20)), 0, 0], atol=1e-7)


def test_agrees_with_scikit_learn():
    query, database = draw_unit(60, 128, 0), draw_unit(700, 128, 1)
    distance, index = find_nearest(query, database, 64)
    search = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute")
    expected, rows = search.fit(database.double().numpy()).kneighbors(query.double().numpy())
    assert index.tolist() == rows[:, 0].tolist()
    np.testing.assert_allclose(distance, expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_block_size_query_batch_and_precision_change_no_bit(precision):
    centre = draw_unit(1, 256, 0)
    database = torch.nn.functional.normalize(centre + 2e-4 * draw_unit(301, 256, 1), dim=1)
    database[200:250] = database[:50]  # ties; float32 cannot rank the others
    query = torch.nn.functional.normalize(centre + 2e-4 * draw_unit(25, 256, 2), dim=1)
    exact = (1 - (query.double()[:, None] * database.double()).sum(2)).clamp(0, 2).float()
    rough = 1 - query @ database.T
    expected = exact.argmin(1)
    assert (rough.argmin(1) != expected).any()  # otherwise the test would be empty
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        for block_size in (1, 7, 100, 300, 301, 8192):
            distance, index = find_nearest(query, database, block_size)
            print(f"block_size {block_size}: sum of distances {distance.double().sum():.17g}, of rows {index.sum()}")
            assert torch.equal(index, expected) and torch.equal(distance, exact.amin(1))
    finally:
        torch.set_float32_matmul_precision(before)
    alone = [find_nearest(query[i : i + 1], database, 8192) for i in range(len(query))]
    assert torch.equal(torch.cat([index for _, index in alone]), expected)
    assert torch.equal(torch.cat([distance for distance, _ in alone]), exact.amin(1))


def draw_kind(kind, rows, width, seed):
    """Unit rows ``spread`` evenly, ``clustered`` around five identities, or ``collapsed`` to nearly one face."""
    centres = draw_unit({"spread": rows, "clustered": 5, "collapsed": 1}[kind], width, 9)
    noise = {"spread": 0.0, "clustered": 0.6, "collapsed": 2e-4}[kind]
    chosen = torch.arange(rows).roll(seed) % len(centres)
    return torch.nn.functional.normalize(centres[chosen] + noise * draw_unit(rows, width, seed), dim=1)


@pytest.mark.parametrize("kind", ["spread", "clustered", "collapsed"])
def test_a_product_of_rounded_rows_changes_no_bit(kind, monkeypatch):
    query, database = draw_kind(kind, 130, 96, 1), draw_kind(kind, 901, 96, 2)
    database[700:] = database[:201].clone()  # ties
    exact = (1 - torch.stack([(row.double() * database.double()).sum(1) for row in query])).clamp(0, 2).float()
    assert kind == "spread" or (-query.bfloat16() @ database.bfloat16().T).argmin(1).ne(exact.argmin(1)).any()
    for is_rough in (True, False):
        monkeypatch.setattr("ppe.attacks.nearest.multiplies_bfloat16", lambda device, is_rough=is_rough: is_rough)
        for block_size in (100, 300, 8192):
            distance, index = find_nearest(query, database, block_size)
            assert torch.equal(index, exact.argmin(1)) and torch.equal(distance, exact.amin(1))


def test_few_pairs_are_measured_one_by_one_where_float32_cannot_rank(monkeypatch):
    query, database = draw_kind("collapsed", 100, 64, 1), draw_kind("collapsed", 2000, 64, 2)
    settle, measured = blocks._settle, []
    monkeypatch.setattr(blocks, "_settle", lambda pairs, *rest: (measured.append(len(pairs)), settle(pairs, *rest)))
    distance, index = find_nearest(query, database, 500)
    exact = (1 - torch.stack([(row.double() * database.double()).sum(1) for row in query])).clamp(0, 2).float()
    assert torch.equal(index, exact.argmin(1)) and torch.equal(distance, exact.amin(1))
    print(f"{sum(measured)} of {exact.numel()} pairs measured")
    assert sum(measured) < 20 * len(query)


@pytest.mark.parametrize("kind", ["spread", "clustered", "collapsed"])
def test_the_error_of_a_product_of_rounded_rows_is_within_its_slack(kind):
    query, database = draw_kind(kind, 300, 128, 1), draw_kind(kind, 500, 128, 2)
    rough, slack = propose_roughly(round_rows(-query), round_rows(database), 132 * 2.0**-24)(slice(None))
    last_rounding = torch.finfo(torch.bfloat16).eps / 2 * rough.double().abs() * 1.01
    error = (rough.double() + query.double() @ database.double().T).abs()
    print(f"largest error {error.max():.2e}, allowed {(slack + last_rounding).max():.2e}")
    assert (error <= slack + last_rounding).all() and slack.max() < 2.0**-7


def test_memmaps_and_arrays_give_the_same_as_tensors(tmp_path):
    query, database = draw_unit(5, 16, 0), draw_unit(50, 16, 1)
    np.save(tmp_path / "database.npy", database.numpy())
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    for got, expected in zip(find_nearest(query.numpy(), mapped, 8), find_nearest(query, database), strict=True):
        assert torch.equal(got, expected)


def test_a_memmap_is_read_block_by_block():
    class Watched(np.ndarray):
        def __getitem__(self, rows):
            read.append(rows.stop - rows.start)
            return np.asarray(self)[rows]

    read = []
    find_nearest(draw_unit(3, 8, 0), draw_unit(50, 8, 1).numpy().view(Watched), 16)
    assert max(read) == 16 and len(read) == 4


def test_no_query_gives_no_result():
    distance, index = find_nearest(torch.empty(0, 4), draw_unit(3, 4, 0))
    assert distance.shape == index.shape == (0,)


@pytest.mark.parametrize(
    ("query", "database", "block_size", "sentence"),
    [
        (torch.tensor([[torch.nan, 0]]), on_circle(0), 8, "query row 0 is not finite"),
        (on_circle(0), torch.tensor([[1.0, 0], [0, 1], [torch.inf, 0]]), 2, "database row 2 is not finite"),
        (on_circle(0), on_circle(0, 90) * 1.001, 8, "database row 0 has norm 1.001"),
        (torch.zeros(1, 2), on_circle(0), 8, "query row 0 has norm 0"),
        (on_circle(0)[0], on_circle(0), 8, r"query is float32 \[2\], but float32 \[rows, D\] is needed"),
        (on_circle(0).double(), on_circle(0), 8, "query is float64"),
        (on_circle(0), draw_unit(3, 4, 0), 8, r"query rows are \[2\] and database rows are \[4\]"),
        (on_circle(0), torch.empty(0, 2), 8, "database has no rows"),
        (on_circle(0), on_circle(0), 0, "block_size=0"),
    ],
)
def test_wrong_input_is_refused_with_a_sentence(query, database, block_size, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_nearest(query, database, block_size)


def test_a_norm_within_tolerance_is_accepted():
    find_nearest(on_circle(0) * 1.00005, on_circle(0))


def test_the_pixel_distance_by_hand():
    black, white = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    one_off = black.clone()
    one_off[0, 1, 2, 3] = 51  # 0.2 in one of 48 grey levels
    distance, index = find_nearest_pixel(torch.cat([black, white]), torch.cat([white, one_off]))
    assert index.tolist() == [1, 0] and distance.dtype == torch.float32
    np.testing.assert_allclose(distance, [0.2 / np.sqrt(48), 0], rtol=1e-6)
    assert find_nearest_pixel(black, white)[0].item() == 1


def test_the_pixel_distance_agrees_with_scikit_learn_for_every_block_size():
    base = draw_faces(1, 0)
    query = (base.int() + draw_faces(20, 1).int() % 3 - 1).clamp(0, 255).to(torch.uint8)  # all within one grey level of the base
    database = (base.int() + draw_faces(301, 2).int() % 3 - 1).clamp(0, 255).to(torch.uint8)
    database[150:] = database[:151].clone()
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(database.flatten(1).double().numpy())
    expected = search.kneighbors(query.flatten(1).double().numpy())[0][:, 0] / 255 / np.sqrt(192)
    lowest = ((query[:, None].int() - database.int()) ** 2).sum((2, 3, 4)).argmin(1)
    for block_size in (1, 10, 300, 301, 8192):
        distance, index = find_nearest_pixel(query, database.numpy(), block_size)
        print(f"block_size {block_size}: sum of distances {distance.double().sum():.17g}, of rows {index.sum()}")
        assert torch.equal(index, lowest)
        np.testing.assert_allclose(distance, expected, rtol=1e-6)


def test_the_pixel_distance_refuses_floats_and_other_sizes():
    with pytest.raises(ValueError, match=r"query is float32 .* but uint8 \[rows, C, H, W\] is needed"):
        find_nearest_pixel(draw_faces(1, 0).float(), draw_faces(1, 0))
    with pytest.raises(ValueError, match="one resolution"):
        find_nearest_pixel(draw_faces(1, 0), draw_faces(1, 0, side=4))


@pytest.mark.parametrize("block_size", [1, 2, 3, 100])
def test_largest_cosines_density_and_counts_on_a_circle(block_size):
    query, database = on_circle(0), on_circle(10, 60, 180, 300)
    cosine = np.cos(np.deg2rad([10, 60, 180, 300]))
    np.testing.assert_allclose(find_top_k(query, database, 3, block_size)[0], np.sort(cosine)[::-1][:3], atol=1e-6)
    assert find_top_k(query, database, 9, block_size).shape == (1, 4), "all rows where there are fewer"
    expected = np.log(np.exp(20 * cosine).mean())
    assert compute_log_density(query, database, 20.0, block_size).item() == pytest.approx(expected, rel=1e-5)
    near = 1 - np.cos(np.deg2rad(61))
    assert count_within(query, database, near, block_size).tolist() == [3]


def test_a_count_of_many_queries_takes_small_blocks(monkeypatch):
    rows = torch.nn.functional.normalize(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)))
    expected, sizes = count_within(rows, rows, 0.5), []
    monkeypatch.setattr(nearest, "MAX_COSINES", 200)
    monkeypatch.setattr(nearest, "read_block", lambda data, start, size: sizes.append(size) or data[start : start + size])
    assert torch.equal(count_within(rows, rows, 0.5), expected) and set(sizes) == {5}


def test_the_density_of_a_very_sharp_kernel_is_finite():
    query, database = draw_unit(5, 64, 0), draw_unit(300, 64, 1)
    density = compute_log_density(query, database, 1e4)
    largest = 1e4 * find_top_k(query, database, 1)[:, 0]
    assert density.isfinite().all() and (density <= largest + 1e-2).all() and (density >= largest - np.log(300) - 1e-2).all()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda q, r: find_top_k(q, r, 0), "k=0 is not at least 1"),
        (lambda q, r: compute_log_density(q, r, 0.0), "concentration=0.0 is not above 0"),
        (lambda q, r: count_within(q, r, 2.5), "epsilon=2.5 is not a cosine distance"),
        (lambda q, r: find_top_k(q, 2 * r, 1), "database row 0 has norm 2"),
    ],
)
def test_sums_over_neighbours_refuse_wrong_input_with_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(draw_unit(2, 8, 0), draw_unit(4, 8, 1))


def test_many_queries_in_tiles_agree_with_one_at_a_time(monkeypatch):
    query, database = draw_unit(300, 32, 0), draw_unit(500, 32, 1)
    whole = find_nearest(query, database, 200)
    monkeypatch.setattr("ppe.attacks.blocks.TILE_ON_CPU", 200 * 7)  # seven queries a tile
    tiled = find_nearest(query, database, 200)
    assert torch.equal(whole[0], tiled[0]) and torch.equal(whole[1], tiled[1])
