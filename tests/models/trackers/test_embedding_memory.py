# Copyright (c) mmfdta authors.
"""What is remembered of embeddings, against a list of frames, on tensors and arrays."""

import numpy as np
import pytest
import torch

from mmfdta.models.trackers import ArrayMemory, EmbeddingMemory

KINDS = {
    'float32': (EmbeddingMemory, lambda x: torch.from_numpy(x)),
    'bfloat16': (EmbeddingMemory, lambda x: torch.from_numpy(x).bfloat16()),
    'arrays': (ArrayMemory, lambda x: x),
    'half arrays': (ArrayMemory, lambda x: x.astype(np.float16)),
}


@pytest.mark.parametrize('length', [1, 2, 3, 7])
@pytest.mark.parametrize('kind', KINDS)
def test_equals_a_list_of_frames(length: int, kind: str):
    rng = np.random.default_rng(length)
    memory_class, make = KINDS[kind]
    memory = memory_class(length, num_words=5)
    frames: list[dict[int, np.ndarray]] = []
    for _ in range(40):
        forgotten = rng.permutation(5)[: rng.integers(0, 2)]
        memory.forget(forgotten)
        for frame in frames:
            for word in forgotten:
                frame.pop(int(word), None)
        words = rng.permutation(5)[: rng.integers(0, 4)]
        found = make(rng.normal(size=(len(words) + 2, 2)).astype(np.float32))
        which = rng.permutation(len(found))[: len(words)]
        features = memory.rows(found, which)
        memory.append(words, features)
        rows = memory.on_host(features)
        assert np.array_equal(rows, memory.on_host(found)[which])
        frames = [*frames, dict(zip(words.tolist(), rows, strict=True))][-length:]

        live = sorted({word for frame in frames for word in frame})
        assert len(memory) == len(frames)
        (columns,) = memory.bring([np.array(live, dtype=np.int64)])
        read = memory.read(columns)
        assert read.dtype == found.dtype
        assert tuple(read.shape) == (len(frames), len(live), 2)
        read = memory.on_host(read)
        assert read.dtype == np.float32
        for t, frame in enumerate(frames):
            for n, word in enumerate(live):
                assert np.array_equal(read[t, n], frame.get(word, np.zeros(2)))


@pytest.mark.parametrize('kind', ['float32', 'arrays'])
def test_what_was_read_is_not_written_to(kind: str):
    memory_class, make = KINDS[kind]
    memory = memory_class(2, num_words=2)
    words = np.array([0, 1])
    with pytest.raises(ValueError, match='nothing is remembered'):
        memory.read(*memory.bring([words]))
    memory.append(words, make(np.ones((2, 1), np.float32)))
    read = memory.read(*memory.bring([words]))
    for _ in range(5):
        memory.append(words, make(np.full((2, 1), 9, np.float32)))
    assert np.array_equal(memory.on_host(read), np.ones((1, 2, 1)))
