"""Numeric domains on the scale from 0 to 1, on which they are uniform: for models that know no other scale."""

from __future__ import annotations

import math
from statistics import NormalDist

from hpctune.space import Domain, Float, Integer, LogUniform, Normal, Quantized
from hpctune.space.numeric import snap

_TAIL = 1e-6
"""What is cut off each tail of a bell curve, so that it has an end."""


def to_unit(domain: Domain, value: float) -> float:
    """Return where ``value`` lies in a Float or Integer, from 0 to 1; an integer lies in the middle of its share."""
    sampler = _exact(domain)
    if isinstance(sampler, Normal):
        return min(max(NormalDist(sampler.mean, sampler.sd).cdf(value), 0.0), 1.0)
    low, high = _ends(domain)
    if isinstance(domain, Integer) and not isinstance(domain.sampler, Quantized):
        value += 0.5
    if isinstance(sampler, LogUniform):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return min(max((value - low) / (high - low), 0.0), 1.0)


def from_unit(domain: Domain, place: float) -> float:
    """Return the value at ``place`` (0 to 1) of a Float or Integer: the reverse of :func:`to_unit`."""
    sampler = _exact(domain)
    if isinstance(sampler, Normal):
        exact = NormalDist(sampler.mean, sampler.sd).inv_cdf(min(max(place, _TAIL), 1 - _TAIL))
        return snapped(domain, exact)
    low, high = _ends(domain)
    if isinstance(sampler, LogUniform):
        exact = math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
    else:
        exact = low + place * (high - low)
    if isinstance(domain, Integer) and not isinstance(domain.sampler, Quantized):
        exact = math.floor(exact)
    return snapped(domain, exact)


def snapped(domain: Domain, value: float) -> float:
    """Return the value of a Float or Integer that is nearest to ``value``: of its type, within bounds, a multiple of q.

    For searchers on libraries that draw from the bounds only.
    """
    if isinstance(domain, Integer):
        return min(max(domain.step * round(value / domain.step), domain.smallest), domain.largest)
    assert isinstance(domain, Float)
    if isinstance(domain.sampler, Quantized):
        value = snap(value, domain.sampler.q)
    return float(min(max(value, domain.lower), domain.upper))


def _exact(domain: Domain) -> object:
    if not isinstance(domain, (Float, Integer)):
        raise TypeError(f"{domain!r} is not numeric.")
    return domain.exact_sampler()


def _ends(domain: Domain) -> tuple[float, float]:
    """The values at 0 and 1. Each multiple of q of a uniform integer gets an equal share."""
    assert isinstance(domain, (Float, Integer))
    if isinstance(domain, Integer) and isinstance(domain.sampler, Quantized):
        if isinstance(domain.exact_sampler(), LogUniform):
            return float(domain.smallest), float(max(domain.largest, domain.smallest + 1))
        return domain.smallest - domain.step / 2, domain.largest + domain.step / 2
    return float(domain.lower), float(domain.upper)
