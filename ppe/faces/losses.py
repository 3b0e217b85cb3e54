"""What became of the photos of a data set, and who has too few faces left."""

import numpy as np

MAX_LOST = 0.02
"""Share of photos without a face, or of foreign photos, above which a study says so."""


def describe_fate(table):
    """What became of each photo, in a few words.

    table : DataFrame of ``ppe.faces.check_identities``. Returns ndarray [N] of str: the reason where there is no face.
    """
    fates = [
        (~table.detected, table.reason),
        (table.duplicate_of != "", "duplicate"),
        (table.is_foreign, "face found, more like somebody else"),
        (table.another_face, "face found, not the largest"),
        (table.turned > 0, "face found after a turn"),
    ]
    return np.select([condition for condition, _ in fates], [words for _, words in fates], "face found").astype(str)


def describe_losses(table, name, needs):
    """Say what a study should know about the photos that it does not use.

    Parameters
    ----------
    table : DataFrame, faces.csv: identity, detected, reason, is_foreign; role.
    name : str, of the data set.
    needs : dict of str -> int
        Photos that an attacked identity needs, by run.

    Returns
    -------
    list of str, one sentence each. Empty if at most ``MAX_LOST`` of the photos have no face, and as many are foreign.
    """
    lost, foreign, said = ~table.detected, table.is_foreign & table.detected, []
    if lost.mean() > MAX_LOST:
        reasons = table.reason[lost].value_counts()
        most = f"the most frequent reason (of {reasons.iloc[0]})" if len(reasons) > 1 else "the reason"
        said.append(f"{lost.sum()} of {len(table)} files of {name} ({lost.mean():.1%}) give no face; {most}: {reasons.index[0]}")
        photos = table[table.role != "auxiliary"].groupby("identity").detected.agg(["size", "sum"])
        for run, need in needs.items():
            short = int(((photos["size"] >= need) & (photos["sum"] < need)).sum())
            if short:
                said.append(f"because of it {short} identities have fewer than the {need} photos that {run} needs")
    if foreign.mean() > MAX_LOST:
        said.append(f"{foreign.sum()} of {len(table)} photos of {name} ({foreign.mean():.1%}) are no more like their person's "
                    "other photos than a stranger's: look at them (is_foreign). Some may be right; leave_out_foreign: "
                    "true leaves all of them out")  # fmt: skip
    return said
