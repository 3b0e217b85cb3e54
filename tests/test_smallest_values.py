"""The smallest values that params.yaml allows: a study of them runs from the photos to the claims."""

import pandas as pd
import pytest
import yaml
from smoke_study import make_study, run

from ppe.config import load_params

RUN = {"num_identities": 2, "train_photos": 1, "query_photos": 1, "kimg": 0.001, "num_generated": 10}
EXPERIMENT = {"num_overrepresented": 2, "data_shares": [0, 0.25], "num_photos": 4, "max_background_photos": 1, "query_photos": 1,
              "num_controls": 1, "kimg": 0.001, "num_generated": 10}  # fmt: skip
DATASET = {"num_identities": 12, "num_auxiliary": 8, "auxiliary": {"last": 8}, "photos_per_identity": 3, "num_pairs": 20}
FASTGAN = {"batch_size": 2, "snapshots": [0.0, 1.0], "latent_dim": 1, "channel_base": 1, "channel_base_discriminator": 1,
           "channel_max": 1, "r1_interval": 1}  # fmt: skip
STYLEGAN2 = {"batch_size": 2, "snapshots": [0.0, 1.0], "latent_dim": 1, "style_dim": 1, "mapping_layers": 1, "channel_base": 32,
             "channel_base_discriminator": 32, "channel_max": 1, "path_length_interval": 1, "r1_interval": 1}  # fmt: skip
EDM = {"batch_size": 2, "snapshots": [0.0, 1.0], "channels": [16], "attention_side": 0, "num_steps": 2, "warmup_kimg": 1e-6,
       "max_gradient": 1e-6}  # fmt: skip
ATTACK = {"num_resamples": 1, "num_permutations": 200, "num_shuffles": 1, "concentrations": [1e-6], "top_shares": [1e-6],
          "cohort_sizes": [2], "learned_regularisation": 1e-6, "num_tuning_games": 1, "false_match_rate": 1e-6,
          "verdict_fpr": 1e-6, "num_untrained": 1, "num_snapshot_faces": 2, "efforts": [1]}  # fmt: skip


@pytest.mark.hard
@pytest.mark.parametrize("generator", ["fastgan", "stylegan2", "edm"])
def test_a_study_of_the_smallest_values_runs_to_the_claims(root, tmp_path, generator):
    study = make_study(root, tmp_path / "study")
    content = yaml.safe_load((study[0] / "params.yaml").read_text())
    content["runs"]["tiny"] |= RUN | {"generator": generator}
    if generator == "fastgan":
        content["experiments"] = {name: line | EXPERIMENT for name, line in content["experiments"].items()}
    else:
        content["experiments"] = {}
    content["datasets"]["tiny"] |= DATASET
    content["generators"]["fastgan"] |= FASTGAN
    content["generators"]["stylegan2"] |= STYLEGAN2
    content["generators"]["edm"] |= EDM
    content["attack"] |= ATTACK
    content["overrepresentation"] = {"match_rate": 1e-6, "top_k": 1, "num_peaks": 1}
    (study[0] / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    run(["dvc", "repro"], study)
    claims = pd.read_csv(load_params(root=study[0]).results_folder() / "claims.csv")
    assert {"C1", "C2", "C3", "C4"} == set(claims.claim)
    assert not (claims.verdict == "supported").any()
