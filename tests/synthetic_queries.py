"""Queries whose answer is known: an effect of the person, shared by its photos and by both GANs, plus one of the photo."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score


def draw_queries(num_identities=12, photos=4, effect=0.5, seed=0, member_groups="ab", unequal=False, digits=None):
    """Draw the queries of two groups of people under each half's GAN; ``effect`` is what membership adds."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame({"identity": [f"{g}{i:02}" for g in "ab" for i in range(num_identities)]})
    people["of_person"] = rng.normal(size=len(people))
    counts = rng.integers(1, photos + 1, len(people)) if unequal else photos
    table = people.loc[np.repeat(people.index, counts)]
    table = pd.concat([table.assign(member_group=member_group) for member_group in member_groups], ignore_index=True)
    table["is_member"] = table["identity"].str[0] == table["member_group"]
    table["score"] = table.pop("of_person") + effect * table["is_member"] + rng.normal(size=len(table))
    return table.round({"score": digits}) if digits is not None else table


def auc_of_halves(queries):
    return np.mean([roc_auc_score(part["is_member"], part["score"]) for _, part in queries.groupby("member_group")])
