"""Queries whose answer is known: an effect of the identity, shared by photos and generators, plus one of the photo."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score


def draw_queries(num_identities=12, photos=4, effect=0.5, seed=0, member_groups="ab", unequal=False, digits=None):
    """Draw the queries of two groups of identities under each group's generator; membership adds ``effect`` to a score."""
    rng = np.random.default_rng(seed)
    identities = pd.DataFrame({"identity": [f"{g}{i:02}" for g in "ab" for i in range(num_identities)]})
    identities["of_identity"] = rng.normal(size=len(identities))
    counts = rng.integers(1, photos + 1, len(identities)) if unequal else photos
    table = identities.loc[np.repeat(identities.index, counts)]
    table = pd.concat([table.assign(member_group=member_group) for member_group in member_groups], ignore_index=True)
    table["is_member"] = table["identity"].str[0] == table["member_group"]
    table["score"] = table.pop("of_identity") + effect * table["is_member"] + rng.normal(size=len(table))
    return table.round({"score": digits}) if digits is not None else table


def compute_pooled_auc(queries):
    """The mean of the member groups' AUCs, by scikit-learn."""
    return np.mean([roc_auc_score(part["is_member"], part["score"]) for _, part in queries.groupby("member_group")])
