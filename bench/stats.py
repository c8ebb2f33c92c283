# SPDX-License-Identifier: MPL-2.0
"""Medians with intervals, and verdicts that may be "inconclusive".

Runs of one round stand next to each other in time, forward and backward
(A B B A), so a ratio is taken within a round, and then the median of the
rounds.  Its interval comes from order statistics: no shape of the noise is
assumed.  The A/A control, one engine against itself in the same rounds, says
how small a difference this run can see at all.
"""

from math import comb


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def interval(values, confidence=0.95):
    """The narrowest pair of order statistics that holds the true median with
    this confidence, and the confidence it has; with few values all of them."""
    ordered = sorted(values)
    n = len(ordered)
    low, held = 0, 1 - 2 * 0.5 ** n
    for k in range(1, n // 2):
        # P(fewer than k+1 values, or more, lie below the median)
        outside = 2 * sum(comb(n, i) for i in range(k + 1)) * 0.5 ** n
        if 1 - outside < confidence:
            break
        low, held = k, 1 - outside
    return ordered[low], ordered[n - 1 - low], held


def rounds_of(rates):
    """Two runs make a round; what a round gave is their harmonic mean, the
    rate over both."""
    return [2 / (1 / a + 1 / b) for a, b in zip(rates[::2], rates[1::2])]


def ratio(ours, theirs):
    """Median and interval of ours / theirs, round by round."""
    ratios = [a / b for a, b in zip(rounds_of(ours), rounds_of(theirs))]
    low, high, held = interval(ratios)
    return {"middle": median(ratios), "low": low, "high": high,
            "confidence": held, "rounds": len(ratios)}


def control(rates):
    """The A/A control: the first run of each round against the second."""
    ratios = [a / b for a, b in zip(rates[::2], rates[1::2])]
    low, high, held = interval(ratios)
    return {"middle": median(ratios), "low": low, "high": high,
            "confidence": held, "rounds": len(ratios)}


def verdict(found, target, at_least=True, aa=None):
    """"reached", "missed", or "inconclusive": when the interval spans the
    target, when the target is closer than the A/A control is from 1, or when
    there are too few rounds to say anything."""
    if found["confidence"] < 0.85:
        return "inconclusive"
    blur = abs(aa["middle"] - 1) if aa else 0
    low, high = found["low"] / (1 + blur), found["high"] * (1 + blur)
    if low <= target <= high and low != high:
        return "inconclusive"
    return "reached" if (found["middle"] >= target) == at_least else "missed"
