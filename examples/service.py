# Copyright (c) mmfdta authors.
"""Track frames that come over HTTP, with an exported model and no PyTorch.

    pip install 'mmfdta[runtime]'
    python examples/service.py exported
    curl --data-binary @0001.jpg http://127.0.0.1:8000/hall    # tracks, as JSON
    curl -X DELETE http://127.0.0.1:8000/hall                  # the video has ended

The path names the video: frames of one are tracked in the order in which they come,
and videos do not see each other. Several cameras share one model.
"""

import argparse
import json
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from mmfdta.apis import ExportedTracker, TrackingSession

LARGEST_FRAME = 64 << 20  # bytes of a request
MOST_VIDEOS = 64  # each keeps a window of embeddings, some megabytes


class Video:
    """A video that is being tracked: its state, and one frame at a time."""

    def __init__(self, session: TrackingSession) -> None:
        self.session = session
        self.lock = threading.Lock()


class Videos:
    """The videos that are being tracked.

    Args:
        model: Whose networks all of them use.
    """

    def __init__(self, model: ExportedTracker) -> None:
        self._model = model
        self._videos: dict[str, Video] = {}
        self._lock = threading.Lock()

    def step(self, name: str, image: np.ndarray) -> dict:
        """Track the next frame of a video.

        Args:
            name: Of the video; a new one begins.
            image: uint8 (H, W, 3) BGR.

        Returns:
            Number of the frame from 1, and its tracks.

        Raises:
            OverflowError: If there are too many videos.
            ValueError: If the image or what is found in it cannot be tracked.
            RuntimeError: If the networks cannot be computed, as for lack of memory.
        """
        with self._lock:
            if name not in self._videos:
                if len(self._videos) >= MOST_VIDEOS:
                    raise OverflowError(f'{MOST_VIDEOS} videos are tracked already')
                self._videos[name] = Video(self._model.session())
            video = self._videos[name]
        with video.lock:  # frames of a video come one after the other
            tracks = video.session.step(image)
            number = video.session.num_frames
        columns = tracks.identity, tracks.xywh, tracks.score, tracks.label
        rows = [column.tolist() for column in columns]
        names = dict(enumerate(self._model.classes))
        found = [
            dict(id=identity, box=box, score=score, category=names.get(label, label))
            for identity, box, score, label in zip(*rows, strict=True)
        ]
        return dict(frame=number, tracks=found)

    def end(self, name: str) -> bool:
        """Forget a video; say whether it was there."""
        with self._lock:
            return self._videos.pop(name, None) is not None


class Handler(BaseHTTPRequestHandler):
    """Answers requests; `videos` is set by `main`."""

    videos: Videos
    protocol_version = 'HTTP/1.1'

    def do_POST(self) -> None:
        """Track the image in the body."""
        text = self.headers.get('Content-Length', '')
        length = int(text) if text.isdecimal() else 0
        if not 0 < length <= LARGEST_FRAME:
            self.close_connection = True  # whatever the body is, it is not read
            text = f'found {length} bytes, expected an image of 1 to {LARGEST_FRAME}'
            too_large = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            status = too_large if length else HTTPStatus.LENGTH_REQUIRED
            return self._answer(status, dict(error=text))
        data = np.frombuffer(self.rfile.read(length), np.uint8)
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        except cv2.error:  # such as more pixels than OpenCV allows
            image = None
        if image is None:
            text = 'the body is no image that OpenCV reads, such as a JPEG or PNG'
            return self._answer(HTTPStatus.BAD_REQUEST, dict(error=text))
        try:
            return self._answer(HTTPStatus.OK, self.videos.step(self.path, image))
        except OverflowError as error:
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, str(error)
        except (ValueError, RuntimeError) as error:
            status, text = HTTPStatus.INTERNAL_SERVER_ERROR, str(error)
        return self._answer(status, dict(error=text))

    def do_DELETE(self) -> None:
        """End a video."""
        ended = self.videos.end(self.path)
        status = HTTPStatus.OK if ended else HTTPStatus.NOT_FOUND
        self._answer(status, dict(ended=ended))

    def _answer(self, status: HTTPStatus, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model', help='folder that mmfdta export wrote')
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=8000)
    parser.add_argument('--provider', default='cpu')
    parser.add_argument('--threads', type=int)
    options = parser.parse_args()
    model = ExportedTracker(
        options.model, provider=options.provider, threads=options.threads
    )
    Handler.videos = Videos(model)
    server = ThreadingHTTPServer((options.host, options.port), Handler)
    print(f'http://{options.host}:{server.server_port}', file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == '__main__':
    main()
