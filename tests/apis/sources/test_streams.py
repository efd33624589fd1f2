# Copyright (c) mmfdta authors.
"""Videos and streams from a server on the loopback address."""

import http.server
import io
import re
import threading

import numpy as np
import pytest
from PIL import Image

from mmfdta.apis.sources import SourceOptions, open_source, video


class Server(http.server.BaseHTTPRequestHandler):
    """A file, whole or cut off while it is sent; and JPEGs without an end."""

    content = b''
    requests: list[str]
    bodies = 0  # JPEGs sent in each connection
    refused = 0  # connections that get an error first
    cuts = 0  # answers that stop in their middle

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer."""
        kind = type(self)
        kind.requests.append(self.path)
        if 'mjpeg' in self.path:
            self._send_images()
            return
        start = re.match(r'bytes=(\d+)', self.headers.get('Range', 'bytes=0'))
        body = self.content[int(start[1]) :] if start else self.content
        self.send_response(206 if 'Range' in self.headers else 200)
        end = len(self.content)
        self.send_header('Content-Range', f'bytes {end - len(body)}-{end - 1}/{end}')
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Accept-Ranges', 'bytes')
        self.end_headers()
        if kind.cuts:
            kind.cuts -= 1
            body = body[: len(body) * 2 // 3]
        self._write(body)

    def _send_images(self) -> None:
        kind = type(self)
        if len(kind.requests) > 1 and kind.refused:
            kind.refused -= 1
            self.send_error(503)
            return
        self.send_response(200)
        self.close_connection = True
        self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
        self.end_headers()
        for index in range(kind.bodies):
            file = io.BytesIO()
            grey = np.full((48, 64, 3), 10 * index, np.uint8)
            Image.fromarray(grey).save(file, 'JPEG')
            self._write(
                b'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: '
                + str(len(file.getvalue())).encode()
                + b'\r\n\r\n'
                + file.getvalue()
                + b'\r\n'
            )

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
        except OSError:  # whoever asked has left
            self.close_connection = True


@pytest.fixture
def server():
    """A server and its address."""
    kind = type('Kind', (Server,), dict(requests=[]))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), kind) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield kind, f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


@pytest.fixture
def quick(monkeypatch):
    """Waits between tries of a thousandth of theirs."""
    monkeypatch.setattr(video, '_FIRST_WAIT', 0.001)
    monkeypatch.setattr(video, '_LONGEST_WAIT', 0.004)


def test_a_file_over_http_is_no_stream(server, clip, read):
    kind, address = server
    kind.content = clip('v.mp4').read_bytes()
    found = read(f'{address}/v.mp4')
    assert found.indices == list(range(20))
    assert not found.source.live and found.source.problem is None


@pytest.mark.parametrize('version', ['HTTP/1.0', 'HTTP/1.1'])
def test_an_index_at_the_end_of_a_file_over_http(server, clip, read, version):
    """FFmpeg goes to and fro, and a server of version 1.1 keeps its connections."""
    kind, address = server
    kind.protocol_version = version
    path = clip('v.mp4', 'mjpeg', pixels='yuvj420p', size=(640, 480))
    kind.content = path.read_bytes() + bytes(100_000)
    found = read(f'{address}/v.mp4')
    assert found.indices == list(range(20))


def test_a_file_that_breaks_off_is_told_or_asked_for_again(server, clip, read):
    kind, address = server
    kind.content = clip('v.mkv', count=200, key_frames=5, size=(160, 120)).read_bytes()
    whole = len(read(f'{address}/v.mkv').numbers)
    assert whole == 200
    kind.cuts = 1
    cut = read(f'{address}/v.mkv')
    assert 0 < len(cut.numbers) < whole and cut.source.problem is not None
    kind.cuts = 1
    again = read(f'{address}/v.mkv', reconnect=2)
    assert again.numbers == list(range(1, 201))
    assert again.source.problem is None


def test_images_without_an_end_are_a_stream_that_ends(server, read):
    kind, address = server
    kind.bodies = 12
    found = read(f'{address}/mjpeg')
    assert found.source.live
    assert found.indices == list(range(12))
    assert 'ended after frame 12' in found.source.problem


def test_a_stream_that_is_lost_comes_back(server, quick, recwarn):
    kind, address = server
    kind.bodies, kind.refused = 12, 2
    source = open_source(f'{address}/mjpeg', SourceOptions(reconnect=4))
    numbers, times = [], []
    for frame in source:
        numbers.append(frame.number)
        times.append(frame.time)
        if len(numbers) == 30:  # a third connection
            source.close()
    assert numbers == list(range(1, 31))
    assert times == sorted(times)
    said = [str(warning.message) for warning in recwarn]
    assert sum('was lost after frame 12; trying' in text for text in said) == 3
    assert sum('is back after' in text for text in said) == 2
    assert sum('lost after frame 24' in text for text in said) == 1


def test_a_stream_that_does_not_come_back(server, quick, read, recwarn):
    kind, address = server
    kind.bodies, kind.refused = 5, 99
    found = read(f'{address}/mjpeg', reconnect=3)
    assert found.numbers == list(range(1, 6))
    assert 'after frame 5, and did not come back in 3 tries' in found.source.problem
    assert len(kind.requests) == 4


def test_errors_of_servers_are_one_line_without_passwords(server):
    kind, address = server
    kind.requests.append('before')
    kind.refused = 1
    for wrong in (f'{address}/mjpeg', 'http://me:secret@127.0.0.1:1/v.mp4'):
        with pytest.raises(OSError, match=r'http://127\.0\.0\.1') as caught:
            open_source(wrong)
        assert 'secret' not in str(caught.value)
        assert '\n' not in str(caught.value)
