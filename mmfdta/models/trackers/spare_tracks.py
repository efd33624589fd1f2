# Copyright (c) mmfdta authors.
"""Objects that are tracked while no ID word is left for them."""

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from scipy.optimize import linear_sum_assignment

# Mean of IoU and cosine similarity. Embeddings alone, however alike, do not exceed it.
_MATCH_THR = 0.5


class SpareTracks:
    """Tracks by overlap and embedding, outside of the ID decoder's vocabulary.

    Args:
        max_missed: A track ends with this many frames without a detection.
        embed_dims: C.
    """

    def __init__(self, max_missed: int, embed_dims: int) -> None:
        self.max_missed = max_missed
        self.embed_dims = embed_dims
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.identities = np.zeros(0, dtype=np.int64)
        self._missed = np.zeros(0, dtype=np.int64)
        self._classes = np.zeros(0, dtype=np.int64)
        self._boxes = np.zeros((0, 4), dtype=np.float32)
        self._embeddings = np.zeros((0, self.embed_dims), dtype=np.float32)

    def __len__(self) -> int:
        """Number of tracks."""
        return len(self.identities)

    def match(
        self, boxes: np.ndarray, embeddings: np.ndarray, classes: np.ndarray | None
    ) -> np.ndarray:
        """Find the tracks again that have no word.

        Args:
            boxes: (n, 4) xyxy of the detections without a word.
            embeddings: (n, C) of them.
            classes: (n,) of them if tracks keep their class, else None.

        Returns:
            (n,) int64 identity of each detection, -1 for none.
        """
        found = np.full(len(boxes), -1, dtype=np.int64)
        if not len(self) or not len(boxes):
            return found
        overlap = bbox_overlaps(
            torch.from_numpy(boxes), torch.from_numpy(self._boxes)
        ).numpy()
        similarity = (overlap + _unit(embeddings) @ _unit(self._embeddings).T) / 2
        if classes is not None:
            similarity[classes[:, None] != self._classes] = -1
        rows, columns = linear_sum_assignment(similarity, maximize=True)
        good = similarity[rows, columns] > _MATCH_THR
        found[rows[good]] = self.identities[columns[good]]
        return found

    def update(
        self,
        identities: np.ndarray,
        boxes: np.ndarray,
        embeddings: np.ndarray,
        classes: np.ndarray,
        promoted: np.ndarray,
    ) -> None:
        """End a frame.

        Args:
            identities: (n,) int64 of the detections that are tracked without a word.
            boxes: (n, 4) xyxy of them.
            embeddings: (n, C) of them.
            classes: (n,) int64 of them.
            promoted: (m,) int64 identities that were given a word.
        """
        self._missed += 1
        unseen = ~np.isin(self.identities, np.concatenate([identities, promoted]))
        unseen &= self._missed < self.max_missed
        missed = np.zeros(len(identities), dtype=np.int64)
        self._missed = np.concatenate([self._missed[unseen], missed])
        self.identities = np.concatenate([self.identities[unseen], identities])
        self._classes = np.concatenate([self._classes[unseen], classes])
        self._boxes = np.concatenate([self._boxes[unseen], boxes])
        self._embeddings = np.concatenate([self._embeddings[unseen], embeddings])


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
