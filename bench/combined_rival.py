"""Does the face recognition model still lead where the measures that see no identity are joined to one?

    python bench/combined_rival.py .studies/lfw-cpu lfw-32-fastgan-40-seed2
    python bench/combined_rival.py . synthetic-32-fastgan-10

The rule of the study compares the attack with each rival alone (``ppe.evaluation.appearance``). Here the rivals' scores of each
photo are standardised over the photos that are asked about, and joined in two ways: their
sum, and a logistic regression that is fitted on the other identities. Reads the scores that ``5_attack`` left, and generates
nothing.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from ppe.attacks.rivals import RIVALS
from ppe.attacks.selection import select_queries
from ppe.config import load_params, load_table
from ppe.statistics.intervals import bootstrap_identities, compare_attacks

FOLDS = 5
"""Parts of the identities of which each is scored by a rule that was fitted on the others."""


def join_rivals(scores, members):
    """Queries of the rivals joined: dict, name -> DataFrame as of ``select_queries``; and each rival alone."""
    parts = {name: select_queries(scores[scores.attack == name], members, "identity_membership") for name in RIVALS}
    first = parts[RIVALS[0]]
    assert all((part.image_id == first.image_id).all() for part in parts.values())
    columns = pd.DataFrame({name: part.score for name, part in parts.items()})
    standard = columns.groupby(first.member_group).transform(lambda score: (score - score.mean()) / (score.std() or 1))
    fitted = np.zeros(len(first))
    for others, own in GroupKFold(FOLDS).split(standard, groups=first.identity):  # a person in both would be known again
        rule = LogisticRegression().fit(standard.iloc[others], first.is_member.iloc[others])
        fitted[own] = rule.decision_function(standard.iloc[own])
    return {"sum": first.assign(score=standard.sum(axis=1)), "fitted": first.assign(score=fitted), **parts}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of the project, or of a study's copy of it")
    parser.add_argument("run")
    args = parser.parse_args()
    params = load_params(root=args.study.resolve())
    scores = load_table(params.attack_folder(args.run) / "scores.csv")
    members = load_table(params.generators_folder(args.run) / "members.csv")
    joined = join_rivals(scores, members)
    for embedder in params.datasets[params.runs[args.run].dataset].embedders[:2]:
        own = scores[(scores.attack == "nearest") & (scores.embedder == embedder)]
        model = select_queries(own, members, "identity_membership")
        own_auc = bootstrap_identities(model)["value"]
        print(f"{args.run}, {embedder}: AUC {own_auc:.3f}")
        for name, rival in joined.items():
            row = compare_attacks(model, rival, num_resamples=params.attack.num_resamples)
            value = bootstrap_identities(rival)["value"]
            print(f"  {name:17} AUC {value:.3f}, lead {row['value']:+.3f} [{row['low']:.3f}, {row['high']:.3f}]")


if __name__ == "__main__":
    main()
