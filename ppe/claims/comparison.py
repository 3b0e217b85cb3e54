"""What a rerun changed: its headlines against the committed intervals."""

import numpy as np
import pandas as pd

from ppe.evaluation.collection import select_headline


def compare_headlines(committed, fresh, rules):
    """Compare the headlines of a rerun with the committed intervals.

    committed, fresh : DataFrame of ``ppe.evaluation.collection.collect_rows``; rules : the section ``verdicts`` of params.

    Returns a DataFrame, a row a run: run, committed, low, high, fresh, moved ("moved", "within", "no interval", "gone", "new").
    """
    rows = []
    for run in dict.fromkeys([*committed.run, *fresh.run]):
        pair = [table[table.run == run] for table in (committed, fresh)]
        old, new = (select_headline(table, run, rules.min_verification_auc) if len(table) else None for table in pair)
        row = {"run": run, **dict.fromkeys(["committed", "low", "high", "fresh"], np.nan)}
        if old is not None:
            row |= {"committed": old.value, "low": old.low, "high": old.high}
        if new is not None:
            row["fresh"] = new.value
        if old is None or new is None:
            moved = "new" if old is None else "gone"
        elif not np.isfinite(old.low):
            moved = "no interval"
        else:
            moved = "within" if old.low <= new.value <= old.high else "moved"
        rows.append({**row, "moved": moved})
    return pd.DataFrame(rows)
