"""The figure of the baselines: order, colours, and the sentence of the verdict."""

import numpy as np
import pandas as pd

from ppe.attacks.rivals import BASELINES
from ppe.plots.appearance import NAMES, plot_baselines, show_appearance
from ppe.plots.style import MEMBER, NEUTRAL, PART


def test_every_baseline_has_a_name_and_the_model_is_on_top():
    assert set(NAMES) == {"nearest", *BASELINES}
    rows = pd.DataFrame({"attack": ["pixel", "inner_face", "nearest"], "value": 0.7, "low": 0.6, "high": [0.8, 0.8, 0.8]})
    axis = plot_baselines(rows, "run").axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == [NAMES[name] for name in ("nearest", "inner_face", "pixel")]
    assert [line.get_color() for line in axis.lines if line.get_marker() == "o"] == [MEMBER, PART, NEUTRAL]


def test_the_verdict_is_a_sentence_with_the_best_rival():
    assert "Identity: " in show_appearance("pixel", 0.2, 0.1, 0.3, True).data
    text = show_appearance("general", 0.02, np.nan, np.nan, False).data
    assert "Appearance: " in text and "general network" in text and "+0.020 (no interval)" in text and "nan" not in text
