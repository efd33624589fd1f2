# Copyright (c) mmfdta authors.
"""The HTTP service of the example, as a process of its own."""

import http.client
import json
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_model import CLASSES

from mmfdta.apis import ExportedTracker

SCRIPT = Path(__file__).parents[2] / 'examples' / 'service.py'


@pytest.fixture(scope='module')
def address(toy):
    command = [sys.executable, str(SCRIPT), str(toy), '--port', '0', '--threads', '1']
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process.stderr.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def ask(address: str, data: bytes | None = None, method: str = 'POST'):
    """Status and content of an answer."""
    request = urllib.request.Request(address, data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def encode(image: np.ndarray) -> bytes:
    return cv2.imencode('.png', image)[1].tobytes()


def answers_of(toy: Path, clip: list[np.ndarray]) -> list[dict]:
    """What the tracker itself says of a video."""
    tracker = ExportedTracker(toy, threads=1)
    said = []
    for number, image in enumerate(clip, start=1):
        found = tracker.step(image)
        rows = found.identity, found.xywh, found.score, found.label
        keys = 'id', 'box', 'score', 'category'
        tracks = [
            dict(zip(keys, values, strict=True))
            for values in zip(*(r.tolist() for r in rows), strict=True)
        ]
        for track in tracks:
            track['category'] = CLASSES[track['category']]
        said.append(dict(frame=number, tracks=tracks))
    return said


def test_videos_are_tracked_side_by_side(address, toy, clip):
    """Each as if it were alone, though their frames come mixed."""
    forwards, backwards = clip, clip[::-1]
    with ThreadPoolExecutor(2) as pool:
        mixed = list(
            pool.map(
                lambda pair: [ask(f'{address}/{n}', encode(i)) for n, i in pair],
                [
                    [('hall', image) for image in forwards],
                    [('yard', image) for image in backwards],
                ],
            )
        )
    for found, video in zip(mixed, (forwards, backwards), strict=True):
        assert [status for status, _ in found] == [200] * len(video)
        assert [answer for _, answer in found] == answers_of(toy, video)
    assert any(answer['tracks'] for _, answer in mixed[0])


def test_a_video_that_ended_begins_anew(address, toy, clip):
    first = answers_of(toy, clip[3:5])
    for _ in range(2):
        assert ask(f'{address}/gate', encode(clip[3])) == (200, first[0])
        assert ask(f'{address}/gate', encode(clip[4])) == (200, first[1])
        assert ask(f'{address}/gate', method='DELETE') == (200, dict(ended=True))
    assert ask(f'{address}/gate', method='DELETE') == (404, dict(ended=False))


def test_a_length_that_is_no_number_is_refused(address):
    host, port = address.removeprefix('http://').split(':')
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request('POST', '/hall', b'', {'Content-Length': 'long'})
    assert connection.getresponse().status == 411
    connection.close()


def test_what_cannot_be_tracked_is_an_answer_and_no_frame(address, toy, clip):
    """The embeddings of a frame of 8 columns have 2 channels."""
    status, answer = ask(f'{address}/narrow', encode(np.zeros((10, 8, 3), np.uint8)))
    assert status == 500 and 'embeddings: found shape (10, 2)' in answer['error']
    expected = answers_of(toy, clip[3:4])[0]
    assert ask(f'{address}/narrow', encode(clip[3])) == (200, expected)


@pytest.mark.parametrize(
    ('body', 'status', 'said'),
    [
        (b'no image', 400, 'no image that OpenCV reads'),
        (b'', 411, 'expected an image'),
    ],
)
def test_what_is_no_image_is_refused_and_the_service_goes_on(
    address, clip, body, status, said
):
    found, answer = ask(f'{address}/broken', body)
    assert found == status and said in answer['error']
    assert ask(f'{address}/broken', encode(clip[0]))[0] == 200
