# Copyright (c) mmfdta authors.
"""Kalman filters with constant velocity, for N boxes at once.

The filter is that of SORT (arXiv 1602.00763) with the noise of DeepSORT (arXiv
1703.07402), as in MMDetection's ``KalmanFilter``. It tracks centre x, centre y, ratio
w / h and height. None of its matrices connects two of these four, so that each has its
own mean, velocity and three covariances, and no matrix needs to be inverted.

A state is (N, 5, 4) float64: mean, velocity, variance of the mean, covariance of both,
variance of the velocity, each for the four quantities.
"""

import numpy as np

HEIGHT = 3
_MEAN, _VELOCITY, _MEAN_VAR, _COVAR, _VELOCITY_VAR = range(5)
# Standard deviations relative to the height; those of the ratio are absolute.
_POSITION, _SPEED = 1 / 20, 1 / 160


def measure(boxes: np.ndarray) -> np.ndarray:
    """Convert boxes xyxy (n, 4) to centre x and y, ratio w / h and height (n, 4)."""
    low, high = boxes[:, :2], boxes[:, 2:]
    width, height = (high - low).T
    return np.column_stack([(high + low) / 2, width / height, height])


def boxes_of(states: np.ndarray) -> np.ndarray:
    """Return the boxes of states (N, 5, 4), xyxy (N, 4) float32."""
    x, y, ratio, height = states[:, _MEAN].astype(np.float32).T
    width = ratio * height
    half_width, half_height = width / 2, height / 2
    return np.column_stack(
        [x - half_width, y - half_height, x + half_width, y + half_height]
    )


def begin(measured: np.ndarray) -> np.ndarray:
    """Initialise states with measurements.

    Args:
        measured: (n, 4), see :func:`measure`.

    Returns:
        States (n, 5, 4).
    """
    states = np.zeros((len(measured), 5, 4))
    states[:, _MEAN] = measured
    height = measured[:, HEIGHT]
    states[:, _MEAN_VAR] = _variances(2 * _POSITION * height, 1e-2)
    states[:, _VELOCITY_VAR] = _variances(10 * _SPEED * height, 1e-5)
    return states


def predict(states: np.ndarray) -> np.ndarray:
    """Return the states (N, 5, 4) one frame later."""
    mean, velocity, mean_var, covar, velocity_var = states.swapaxes(0, 1)
    height = mean[:, HEIGHT]
    after = np.empty_like(states)
    after[:, _MEAN] = mean + velocity
    after[:, _VELOCITY] = velocity
    spread = mean_var + 2 * covar + velocity_var
    after[:, _MEAN_VAR] = spread + _variances(_POSITION * height, 1e-2)
    after[:, _COVAR] = covar + velocity_var
    after[:, _VELOCITY_VAR] = velocity_var + _variances(_SPEED * height, 1e-5)
    return after


def correct(states: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return the states (N, 5, 4) after measurements (N, 4) of the same boxes."""
    mean, velocity, mean_var, covar, velocity_var = states.swapaxes(0, 1)
    noise = _variances(_POSITION * mean[:, HEIGHT], 1e-1)
    gain, velocity_gain = np.array([mean_var, covar]) / (mean_var + noise)
    surprise = measured - mean
    after = np.empty_like(states)
    after[:, _MEAN] = mean + gain * surprise
    after[:, _VELOCITY] = velocity + velocity_gain * surprise
    after[:, _MEAN_VAR] = mean_var - gain * mean_var
    after[:, _COVAR] = covar - gain * covar
    after[:, _VELOCITY_VAR] = velocity_var - velocity_gain * covar
    return after


def stop_growing(states: np.ndarray, which: np.ndarray) -> None:
    """Set the velocity of the height of some boxes to 0, in place.

    Args:
        states: (N, 5, 4).
        which: (N,) bool, or indices.
    """
    states[which, _VELOCITY, HEIGHT] = 0


def _variances(deviation: np.ndarray, of_ratio: float) -> np.ndarray:
    """Return variances (n, 4) of deviations (n,), with a constant one for the ratio."""
    deviations = np.repeat(deviation[:, None], 4, axis=1)
    deviations[:, 2] = of_ratio
    return deviations**2
