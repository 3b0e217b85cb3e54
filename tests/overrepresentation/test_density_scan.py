"""The density scan: a planted cluster is found, an even spread has no peak."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from ppe.overrepresentation.density_scan import (
    CALIBRATIONS,
    average_peaks,
    choose_calibration,
    count_alarms,
    find_peaks,
    find_thresholds,
    judge_peaks,
    scan_embedders,
    scan_experiment,
)

RADIUS = 0.2


def draw_even(count, seed, width=16):
    return normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


def plant(center, count, seed, spread=0.1):
    noise = torch.randn(count, center.shape[-1], generator=torch.Generator().manual_seed(seed))
    return normalize(center + spread * noise)


@pytest.fixture(scope="module")
def identities():
    return np.array(["target", "control"]), draw_even(2, 99)


@pytest.fixture(scope="module")
def baseline():
    return {f"r{i}": draw_even(500, i) for i in range(4)}


def test_a_planted_cluster_is_the_first_peak_and_all_of_it(identities):
    faces = torch.cat([draw_even(500, 10), plant(identities[1][0], 40, 11)])
    peaks, peak = find_peaks(faces, draw_even(2000, 12), RADIUS, 3)
    assert peaks.score.is_monotonic_decreasing and peaks.center[0] >= 500
    assert (peak[500:] == 0).mean() > 0.9 and (peak[:500] == 0).mean() < 0.02
    assert float(average_peaks(faces, peak, 1) @ identities[1][0]) > 0.95


def test_scores_are_those_on_paper():
    angle = torch.deg2rad(torch.tensor([0.0, 1, 2, 3, 180, 270], dtype=torch.float64))
    faces = torch.stack([angle.cos(), angle.sin()], dim=1).float()
    calibration = faces[[0, 4, 4, 4, 5, 5, 5, 5, 5]]  # one of nine near 0: (1 + 1) / (9 + 1) of the five others are expected
    peaks, peak = find_peaks(faces, calibration, 0.1, 5)
    assert peaks.num_faces[0] == 3 and peaks.expected[0] == pytest.approx(1.0)
    assert peaks.score[0] == pytest.approx(3 * np.log(3) - 2)
    assert peak.tolist() == [0, 0, 0, 0, -1, -1] and len(peaks) == 1, "nothing is dense in the rest"


def test_nothing_is_found_in_faces_like_the_calibration(baseline):
    fresh = {f"x{seed}": draw_even(500, seed) for seed in range(60, 80)}
    plan = pd.DataFrame({"identity": "p", "group": list(fresh), "data_share": 0.0, "num_photos": 0})
    options = {"radius": RADIUS, "num_peaks": 1, "against": "generators", "max_background_photos": 2}
    found, peaks = scan_experiment(fresh, baseline, draw_even(300, 50), ["p"], draw_even(1, 51), plan, **options)
    assert not found.value.any() and not peaks.is_true.any()
    assert peaks.is_alarm.mean() <= 0.5, "one in five is expected"


def test_an_alarm_is_true_only_if_its_identity_is_overrepresented(identities, baseline):
    names, templates = identities
    faces = torch.cat([draw_even(500, 20), plant(templates[0], 60, 21)])
    peaks, peak = find_peaks(faces, torch.cat(list(baseline.values())), RADIUS, 1)
    for overrepresented, is_true in (({"target"}, True), (set(), False), ({"control"}, False)):
        judged = judge_peaks(faces, peaks, peak, names, templates, overrepresented, (5.0, np.full(2, 0.7)))
        assert judged.identity[0] == "target" and judged.is_alarm[0] and judged.is_true[0] == is_true
    for thresholds in ((1e9, np.full(2, 0.7)), (5.0, np.full(2, 1.0))):
        assert not judge_peaks(faces, peaks, peak, names, templates, {"target"}, thresholds).is_true[0]
    assert judge_peaks(faces, peaks.iloc[:0], peak, names, templates, {"target"}, (5.0, np.full(2, 0.7))).empty


@pytest.mark.parametrize("against", CALIBRATIONS)
def test_an_experiment_is_scanned_generator_by_generator(identities, baseline, against):
    names, templates = identities
    cohort = draw_even(1500, 33)
    generated = {"a": torch.cat([draw_even(440, 30), plant(templates[0], 60, 31)]), "b": draw_even(500, 32)}
    plan = pd.DataFrame({"identity": ["target", "target"], "group": ["a", "b"], "data_share": [0.1, 0.0], "num_photos": [70, 0]})
    options = {"radius": RADIUS, "num_peaks": 3, "against": against}
    few, _ = scan_experiment(generated, baseline, cohort, names, templates, plan, **options, max_background_photos=70)
    assert not few.value.any(), "no more photos than a background identity"
    found, peaks = scan_experiment(generated, baseline, cohort, names, templates, plan, **options, max_background_photos=2)
    density, _ = find_thresholds(baseline, cohort, templates, **options)
    assert (peaks.threshold == density).all()
    assert found.set_index("group").value.to_dict() == {"a": 1.0, "b": 0.0}
    assert peaks[peaks.is_true].data_share.tolist() == [0.1]


def test_thresholds_are_the_highest_peak_and_the_nearest_of_baseline_generators(identities, baseline):
    names, templates = identities
    one = {**baseline, "r9": torch.cat([draw_even(440, 40), plant(templates[0], 60, 41)])}
    options = {"radius": RADIUS, "num_peaks": 3, "against": "generators"}
    (density, nearness), (denser, nearer) = (find_thresholds(c, draw_even(9, 1), templates, **options) for c in (baseline, one))
    assert denser > density and nearer[0] > 0.95 > nearness[0] and nearer[1] < 0.8


def test_false_alarms_are_counted_per_generator_with_an_exact_interval():
    peaks = pd.DataFrame({"group": list("aab"), "is_alarm": [True, True, True], "is_true": [False, False, True],
                           "identity": list("xxp")})  # fmt: skip
    table = count_alarms(peaks, list("abcd")).set_index("statistic")
    assert table.loc["generator", "value"].tolist() == [2, 0, 0, 0] and table.value["mean"] == 0.5
    assert table.value["share"] == 0.25 and table.low["share"] == pytest.approx(1 - 0.975**0.25)
    assert table.value["precision"] == pytest.approx(1 / 3)
    assert count_alarms(peaks.iloc[:0], ["a"]).value.tolist() == [0, 0, 0]


def test_an_identity_with_two_peaks_in_a_generator_counts_once():
    columns = {"group": list("aabb"), "identity": list("pppx"), "is_alarm": [True] * 4, "is_true": [True, True, True, False]}
    table = count_alarms(pd.DataFrame(columns), list("ab")).set_index("statistic")
    assert table.value["precision"] == pytest.approx(2 / 3), "p in a, p in b, and a false alarm"


def test_the_calibration_is_other_generators_or_the_cohort(baseline):
    cohort = draw_even(3, 1)
    assert len(choose_calibration(baseline, cohort, "generators")) == 2000
    assert choose_calibration(baseline, cohort, "cohort") is cohort and choose_calibration({}, cohort, "generators") is cohort


def test_faces_that_are_all_one_are_one_peak():
    faces = draw_even(1, 5).repeat(50, 1)
    peaks, peak = find_peaks(faces, draw_even(100, 6), RADIUS, 5)
    assert len(peaks) == 1 and (peak == 0).all() and np.isfinite(peaks.score[0])


def test_each_embedder_and_calibration_has_its_tables(identities, baseline):
    names, templates = identities
    generated = {"a": torch.cat([draw_even(440, 30), plant(templates[0], 60, 31)]), "b": draw_even(500, 32)}
    plan = pd.DataFrame({"identity": ["target", "target"], "group": ["a", "b"], "data_share": [0.1, 0.0], "num_photos": [70, 0]})
    both = [dict.fromkeys(("first", "second"), value) for value in (generated, baseline, draw_even(1500, 33))]
    options = {"num_peaks": 2, "max_background_photos": 2}
    radius = {"first": RADIUS, "second": RADIUS / 2}
    shared = (names, dict.fromkeys(("first", "second"), templates), plan)
    detected, peaks, alarms = scan_embedders(*both, *shared, radius=radius, **options)
    keys = [(embedder, against) for embedder in radius for against in CALIBRATIONS]
    for table, measure in ((detected, "detected"), (peaks, "detected"), (alarms, "false_alarms")):
        assert list(table.groupby(["embedder", "calibration"], sort=False).groups) == keys and (table.measure == measure).all()
    known = (generated, baseline, draw_even(1500, 33), names, templates, plan)
    alone, _ = scan_experiment(*known, radius=RADIUS, against="cohort", **options)
    own = detected[(detected.embedder == "first") & (detected.calibration == "cohort")]
    assert own.value.tolist() == alone.value.tolist() == [1.0, 0.0]
