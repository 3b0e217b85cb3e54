"""Discovery without a suspect: a planted cluster is found, an even spread holds nothing."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from ppe.overrepresentation.density_scan import (
    average_peaks,
    choose_reference,
    count_alarms,
    find_peaks,
    find_thresholds,
    judge_peaks,
    scan_experiment,
)

RADIUS = 0.2


def draw_even(count, seed, width=16):
    return normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


def plant(center, count, seed, spread=0.1):
    noise = torch.randn(count, center.shape[-1], generator=torch.Generator().manual_seed(seed))
    return normalize(center + spread * noise)


@pytest.fixture(scope="module")
def people():
    return np.array(["star", "control"]), draw_even(2, 99)


@pytest.fixture(scope="module")
def baseline():
    return {f"r{i}": draw_even(500, i) for i in range(4)}


def test_a_planted_cluster_is_the_first_place_and_all_of_it(people):
    faces = torch.cat([draw_even(500, 10), plant(people[1][0], 40, 11)])
    peaks, peak = find_peaks(faces, draw_even(2000, 12), RADIUS, 3)
    assert peaks.score.is_monotonic_decreasing and peaks.center[0] >= 500
    assert (peak[500:] == 0).mean() > 0.9 and (peak[:500] == 0).mean() < 0.02
    assert float(average_peaks(faces, peak, 1) @ people[1][0]) > 0.95


def test_scores_are_those_on_paper():
    angle = torch.deg2rad(torch.tensor([0.0, 1, 2, 3, 180, 270], dtype=torch.float64))
    faces = torch.stack([angle.cos(), angle.sin()], dim=1).float()
    reference = faces[[0, 4, 4, 4, 5, 5, 5, 5, 5]]  # one of nine near 0: (1 + 1) / (9 + 1) of the five others are expected
    peaks, peak = find_peaks(faces, reference, 0.1, 5)
    assert peaks.num_faces[0] == 3 and peaks.expected[0] == pytest.approx(1.0)
    assert peaks.score[0] == pytest.approx(3 * np.log(3) - 2)
    assert peak.tolist() == [0, 0, 0, 0, -1, -1] and len(peaks) == 1, "nothing is dense in what is left"


def test_nothing_is_found_in_the_reference_itself(baseline):
    fresh = {f"x{seed}": draw_even(500, seed) for seed in range(60, 80)}
    plan = pd.DataFrame({"identity": "p", "group": list(fresh), "data_share": 0.0, "num_photos": 0})
    options = {"radius": RADIUS, "num_peaks": 1, "against": "generators", "max_background_photos": 2}
    found, peaks = scan_experiment(fresh, baseline, draw_even(300, 50), ["p"], draw_even(1, 51), plan, **options)
    assert not found.value.any() and not peaks.is_true.any()
    assert peaks.is_alarm.mean() <= 0.5, "one in five is expected"


def test_a_place_is_true_only_if_it_is_a_person_who_stands_out(people, baseline):
    names, references = people
    faces = torch.cat([draw_even(500, 20), plant(references[0], 60, 21)])
    peaks, peak = find_peaks(faces, torch.cat(list(baseline.values())), RADIUS, 1)
    for stands_out, is_true in (({"star"}, True), (set(), False), ({"control"}, False)):
        judged = judge_peaks(faces, peaks, peak, names, references, stands_out, (5.0, np.full(2, 0.7)))
        assert judged.identity[0] == "star" and judged.is_alarm[0] and judged.is_true[0] == is_true
    for thresholds in ((1e9, np.full(2, 0.7)), (5.0, np.full(2, 1.0))):
        assert not judge_peaks(faces, peaks, peak, names, references, {"star"}, thresholds).is_true[0]
    assert judge_peaks(faces, peaks.iloc[:0], peak, names, references, {"star"}, (5.0, np.full(2, 0.7))).empty


@pytest.mark.parametrize("against", ["generators", "cohort"])
def test_a_square_is_searched_gan_by_gan(people, baseline, against):
    names, references = people
    real = draw_even(1500, 33)
    generated = {"a": torch.cat([draw_even(440, 30), plant(references[0], 60, 31)]), "b": draw_even(500, 32)}
    plan = pd.DataFrame({"identity": ["star", "star"], "group": ["a", "b"], "data_share": [0.1, 0.0], "num_photos": [70, 0]})
    options = {"radius": RADIUS, "num_peaks": 3, "against": against}
    few, _ = scan_experiment(generated, baseline, real, names, references, plan, **options, max_background_photos=70)
    assert not few.value.any(), "no more photos than anybody of the crowd"
    found, peaks = scan_experiment(generated, baseline, real, names, references, plan, **options, max_background_photos=2)
    density, _ = find_thresholds(baseline, real, references, **options)
    assert (peaks.threshold == density).all()
    assert found.set_index("group").value.to_dict() == {"a": 1.0, "b": 0.0}
    assert peaks[peaks.is_true].data_share.tolist() == [0.1]


def test_thresholds_are_the_densest_place_and_the_nearest_of_other_gans(people, baseline):
    names, references = people
    one = {**baseline, "r9": torch.cat([draw_even(440, 40), plant(references[0], 60, 41)])}
    options = {"radius": RADIUS, "num_peaks": 3, "against": "generators"}
    (density, nearness), (denser, nearer) = (find_thresholds(c, draw_even(9, 1), references, **options) for c in (baseline, one))
    assert denser > density and nearer[0] > 0.95 > nearness[0] and nearer[1] < 0.8


def test_alarms_are_counted_per_gan_with_an_exact_interval():
    peaks = pd.DataFrame({"group": list("aab"), "is_alarm": [True, True, True], "is_true": [False, False, True],
                           "identity": list("xxp")})  # fmt: skip
    table = count_alarms(peaks, list("abcd")).set_index("statistic")
    assert table.loc["generator", "value"].tolist() == [2, 0, 0, 0] and table.value["mean"] == 0.5
    assert table.value["share"] == 0.25 and table.low["share"] == pytest.approx(1 - 0.975**0.25)
    assert table.value["precision"] == pytest.approx(1 / 3)
    assert count_alarms(peaks.iloc[:0], ["a"]).value.tolist() == [0, 0, 0]


def test_a_person_found_in_two_places_of_a_gan_is_one_discovery():
    columns = {"group": list("aabb"), "identity": list("pppx"), "is_alarm": [True] * 4, "is_true": [True, True, True, False]}
    table = count_alarms(pd.DataFrame(columns), list("ab")).set_index("statistic")
    assert table.value["precision"] == pytest.approx(2 / 3), "p in a, p in b, and a false alarm"


def test_the_reference_is_other_crowds_or_real_faces(baseline):
    real = draw_even(3, 1)
    assert len(choose_reference(baseline, real, "generators")) == 2000
    assert choose_reference(baseline, real, "cohort") is real and choose_reference({}, real, "generators") is real


def test_faces_that_are_all_one_are_one_place():
    faces = draw_even(1, 5).repeat(50, 1)
    peaks, peak = find_peaks(faces, draw_even(100, 6), RADIUS, 5)
    assert len(peaks) == 1 and (peak == 0).all() and np.isfinite(peaks.score[0])
