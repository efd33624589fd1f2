# Copyright (c) mmfdta authors.
"""Identity scores, computed by the exported graph of association."""

from typing import Any

import numpy as np

from .sessions import run_session


class AssociationScorer:
    """The graph of association as a function of arrays.

    It computes :meth:`mmfdta.models.FDTA.score_identities`.

    Args:
        session: A session of onnxruntime with ``association.onnx``.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(
        self,
        features: np.ndarray,
        missing: np.ndarray,
        words: np.ndarray,
        embeddings: np.ndarray,
    ) -> np.ndarray:
        """Score the ID words for the detections of a frame.

        Args:
            features: The detector's embeddings of N trajectories in the last T frames,
                float32 (T, N, C), any values where missing.
            missing: (T, N) bool, True where a trajectory has no detection.
            words: (N,) int64 ID words of the trajectories.
            embeddings: Embeddings of the detections, float32 (n, C).

        Returns:
            float32 (n, K + 1); the last column is "newborn". T, N and n must be at
            least 1.

        Raises:
            RuntimeError: If onnxruntime cannot compute it.
        """
        feeds = dict(
            features=np.ascontiguousarray(features, np.float32),
            missing=np.ascontiguousarray(missing, bool),
            words=np.ascontiguousarray(words, np.int64),
            embeddings=np.ascontiguousarray(embeddings, np.float32),
        )
        return run_session(self._session, feeds)['scores']
