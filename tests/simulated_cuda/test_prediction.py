# Copyright (c) mmfdta authors.
"""Every tracker on a simulated GPU: the tracks of the CPU, and what the host waits for.

The numbers are exact: who adds a wait has to find a way without it, and who takes one
away writes the smaller number here.
"""

import pytest
from device_fixtures import assert_budget

BOXES = {'models/detectors/outputs.py:host_detections': 1}
SCORES = {'models/trackers/fdta_tracker.py:on_host': 1}
YOLOX = {'models/detectors/yolox.py:find_on_host': 1}
EMBEDDINGS = {'models/trackers/given_embeddings.py:given_embeddings': 1}
# Waits per frame, by place; nothing is copied to the device in a way that blocks.
WAITS = {
    'fdta': BOXES | SCORES,
    'dancetrack': BOXES | SCORES,
    'motip': BOXES | SCORES,
    'motr': BOXES,
    'boxes': BOXES | SCORES,
    'boxes-looks': BOXES | SCORES,
    'bytetrack': BOXES,
    'ocsort': BOXES,
    'sort': BOXES,
    'iou-embedding': BOXES | EMBEDDINGS,
    'bytetrack-yolox': YOLOX,
    # Pooling waits for nothing: boxes are on the host, and maps stay on the device.
    'iou-embedding-yolox': YOLOX | EMBEDDINGS,
}


def check(found: dict, waits: dict[str, int]) -> None:
    """Compare the counts of a stretch with a budget per frame."""
    assert found['tracks'] > 5 * found['frames']
    frames = found['frames']
    expected = {place: count * frames for place, count in waits.items()}
    assert_budget(found['counts'], waits=expected, blocking_copies={}, float64={})


@pytest.mark.parametrize('name', WAITS)
def test_frame(simulated_cuda, name: str) -> None:
    found = simulated_cuda('case_prediction', 'frames', name=name)
    check(found, WAITS[name])
    assert found['counts']['attention'].keys() <= {'memory-efficient'}


@pytest.mark.parametrize(
    'tracker',
    [
        dict(protocol='hungarian'),
        dict(protocol='id-max'),
        dict(num_classes=3, class_aware=True),
    ],
    ids=str,
)
def test_ways_of_association(simulated_cuda, tracker: dict) -> None:
    found = simulated_cuda('case_prediction', 'frames', name='fdta', **tracker)
    check(found, WAITS['fdta'])


def test_more_objects_than_words(simulated_cuda) -> None:
    """Those without a word are compared by their embeddings, on the host."""
    found = simulated_cuda('case_prediction', 'frames', name='fdta', overflow='keep')
    check(found, WAITS['fdta'] | dict.fromkeys(SCORES, 3))


@pytest.mark.parametrize('name', ['fdta', 'motr', 'bytetrack'])
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision(simulated_cuda, name: str, dtype: str) -> None:
    found = simulated_cuda('case_prediction', 'frames', name=name, dtype=dtype)
    check(found, WAITS[name])
    assert 'math' not in found['counts']['attention'], found['counts']['table']


@pytest.mark.parametrize('name', ['ByteTrack', 'OCSORT', 'SORT'])
def test_models_of_mmdetection(simulated_cuda, name: str) -> None:
    """They track as on a CPU; how often they wait is theirs to say."""
    found = simulated_cuda('case_prediction', 'frames', name=name, num_frames=4)
    assert found['tracks'] > 100


def test_tracker_of_ones_own(simulated_cuda) -> None:
    found = simulated_cuda('case_prediction', 'scaffolded')
    check(found, BOXES | EMBEDDINGS)


@pytest.mark.parametrize('batch', [3, 8])
def test_batches_of_frames(simulated_cuda, batch: int) -> None:
    """The detector's results come in one copy per batch."""
    found = simulated_cuda(
        'case_prediction', 'frames', name='fdta', batch=batch, num_frames=2 * batch
    )
    assert_budget(
        found['counts'],
        waits={**BOXES, **dict.fromkeys(SCORES, batch)},
        blocking_copies={},
    )
