"""The one rule of all verdicts: a test decides, corrected for the number of verdicts; an interval says how large an effect is."""

import numpy as np
import pandas as pd

from ppe.statistics.multiple_testing import adjust_holm

JUDGED = ("supported", "appearance", "not supported", "inconclusive")
TESTED = ("C1", "C2", "C4")
"""Claims that are tested. C3 sums C1 up: it is supported only where each of its settings is, which needs no correction."""
MORE = {
    "C1": "a longer training, which can leak more; with more identities, each leaks less",
    "C2": "numbers of identities that lie further apart, or several trainings of each",
    "C4": "more identities, more photos of each, or a longer training",
}
"""What would change an inconclusive verdict."""


def decide(p_value, high, small, alpha):
    """Decide one verdict by the one rule.

    Parameters
    ----------
    p_value : float, one-sided in the direction of the claim, corrected for the number of verdicts; NaN: no test.
    high : float. The upper end of the effect's 95 % interval; NaN: none.
    small : float. An effect below it is small.
    alpha : float. ``verdicts.alpha``.

    Returns
    -------
    str, one of ``JUDGED`` but *appearance*, for which ``correct_verdicts`` needs more
        *Supported* if p is below ``alpha``. Else *not supported* if the interval ends below ``small``: the effect, if any, is
        small. Else *inconclusive*.
    """
    if p_value < alpha:
        return "supported"
    return "not supported" if high < small else "inconclusive"


def correct_verdicts(claims, alpha):
    """Correct the p-values of a table of claims for their number (Holm 1979), and decide each verdict anew.

    The family is every verdict of the table on C1, C2 and C4: those of a study in its ``claims.csv``, those of all studies on the
    pages that sum them up. So a verdict may be weaker there. Evidence that is only shown is not counted.

    C1 says two things, that there is a leak and that it is one of identity. The p-value of both is the larger of the two. For
    *supported* it must be below ``alpha``, too, corrected in the same way.

    Parameters
    ----------
    claims : DataFrame with ``ppe.claims.evidence.COLUMNS``.
    alpha : float. ``verdicts.alpha``: the chance of one false *supported* or more in the table, if no claim were true.

    Returns
    -------
    DataFrame: the same with new ``p_adjusted``, ``lead_p_adjusted``, ``verdict`` and ``what_would_change``.
    """
    claims = claims.copy()
    is_judged = claims.claim.isin(TESTED) & claims.verdict.isin(JUDGED)
    tested = claims.p_value.where(is_judged).astype(np.float64)
    claims["p_adjusted"] = adjust_holm(tested.to_numpy())
    has_rivals = claims.leak_of.isin(["identity", "appearance"]) & tested.notna()
    lead_p = claims.lead_p.astype(np.float64).fillna(1)  # without an interval nothing is shown to be identity
    both = tested.mask(has_rivals, np.fmax(tested, lead_p))
    claims["lead_p_adjusted"] = pd.Series(adjust_holm(both.to_numpy()), claims.index).where(has_rivals)
    for index, row in claims[is_judged].iterrows():
        verdict = decide(row.p_adjusted, row.high, row.small, alpha)
        if verdict == "supported" and (row.leak_of == "appearance" or row.lead_p_adjusted >= alpha):
            verdict = "appearance"
        claims.loc[index, ["verdict", "what_would_change"]] = verdict, describe_change(row.claim, verdict, row.small, alpha)
    return claims


def describe_change(claim, verdict, small, alpha):
    """What would change a verdict: str."""
    if verdict == "supported":
        return f"a rerun whose corrected p is {alpha:g} or more{'' if claim == 'C4' else ', or whose control fails'}"
    return f"a rerun whose interval reaches {small:.3g}" if verdict == "not supported" else MORE[claim]
