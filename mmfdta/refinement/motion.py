# Copyright (c) mmfdta authors.
"""How boxes move between and around those that were found: a Gaussian process.

The velocity of a box forgets itself over some frames (an Ornstein-Uhlenbeck process),
its place is the integral: it goes on as it went for a while, and over a long gap it
comes to a straight line. Uniform motion is kept exactly. (StrongSORT's GSI, Sec. 3.4,
has a squared exponential kernel whose length depends on the length of the track, and
is fitted to what linear interpolation has put between.)
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

# Boxes that one system of equations decides on, and those to each side that it sees.
_BLOCK, _MARGIN = 200, 60
_LEAST_NOISE = 0.01


def damp(frames: np.ndarray, memory: float) -> np.ndarray:
    """Return how far a velocity of 1 is expected to lead in some frames."""
    return memory * -np.expm1(-frames / memory)


def regress(
    times: np.ndarray, values: np.ndarray, at: np.ndarray, memory: float, noise: float
) -> np.ndarray:
    """Return the mean of the process where it is asked for.

    Args:
        times: float64 (N,), N > 0, increasing, in frames.
        values: float64 (N, K), what was found then.
        at: float64 (M,), increasing, in frames.
        memory: Frames over which a velocity forgets itself.
        noise: Deviation of what was found, in units of how far the process usually
            moves in a frame.

    Returns:
        float64 (M, K).
    """
    if len(times) < 2:
        return np.repeat(values[:1], len(at), axis=0)
    means = np.empty((len(at), values.shape[1]))
    for first in range(0, len(times), _BLOCK):
        last = first + _BLOCK
        begin = times[first] if first else -np.inf
        end = times[last] if last < len(times) else np.inf
        asked = (at >= begin) & (at < end)
        if asked.any():
            seen = slice(max(first - _MARGIN, 0), last + _MARGIN)
            means[asked] = _regress_block(
                times[seen], values[seen], at[asked], memory, max(noise, _LEAST_NOISE)
            )
    return means


def _regress_block(
    times: np.ndarray, values: np.ndarray, at: np.ndarray, memory: float, noise: float
) -> np.ndarray:
    # The median velocity is taken out, and what is left varies around zero.
    usual = np.median(np.diff(values, axis=0) / np.diff(times)[:, None], axis=0)
    origin = min(times[0], at[0])
    times, at = times - origin, at - origin
    rest = values - values[0] - usual * (times - times[0])[:, None]
    # The place at the origin is not known.
    unknown = (10 * (memory + noise)) ** 2
    system = _covariance(times, times, memory) + unknown
    system[np.diag_indices_from(system)] += noise**2
    weights = cho_solve(cho_factor(system, lower=True, check_finite=False), rest)
    means = (_covariance(at, times, memory) + unknown) @ weights
    return means + values[0] + usual * (at - times[0])[:, None]


def _covariance(one: np.ndarray, other: np.ndarray, memory: float) -> np.ndarray:
    """Covariance of places at times >= 0, (N, M), of a velocity of variance 1."""
    s, t = one[:, None] / memory, other[None] / memory
    decayed = np.exp(-s) + np.exp(-t) - 1 - np.exp(-np.abs(s - t))
    return memory**2 * (2 * np.minimum(s, t) + decayed)
