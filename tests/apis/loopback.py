# Copyright (c) mmfdta authors.
"""A file server on the loopback address that can be told to misbehave."""

import hashlib
import http.server
import threading
from dataclasses import dataclass, field
from email.utils import formatdate


@dataclass
class FileServer:
    """Serves one content under every path.

    Attributes:
        content: What it serves.
        ranges: Whether it can begin in the middle.
        tag: The ETag; empty for none.
        dated: Whether it says when the file was changed.
        breaks: For each request how many bytes are sent before the connection ends;
            whole answers after the last.
        length: What Content-Length says instead of the truth; empty for nothing.
        status: Answers instead of the file, one for each request.
        headers: Sent besides.
        redirect: Path that answers with a redirection to ``/file``, and its headers.
        wait: Set before an answer is sent.
        asked: Method, path and Range of each request.
    """

    content: bytes
    ranges: bool = True
    tag: str = '"1"'
    dated: bool = False
    breaks: list[int] = field(default_factory=list)
    length: str | None = None
    status: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    redirect: dict[str, dict[str, str]] = field(default_factory=dict)
    wait: threading.Event | None = None
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __enter__(self):
        served = self

        class Handler(_Handler):
            server_of = served

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def root(self):
        return f'http://127.0.0.1:{self._server.server_port}'

    @property
    def digest(self):
        return hashlib.sha256(self.content).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    server_of: FileServer

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        served = self.server_of
        served.asked.append((self.command, self.path, self.headers.get('Range')))
        if served.wait is not None:
            served.wait.wait(30)
        if self.path in served.redirect:
            self.send_response(302)
            headers = {'Location': '/file', **served.redirect[self.path]}
            return self.end(headers)
        status = served.status.pop(0) if served.status else 200
        if status >= 400:
            self.send_response(status)
            return self.end({'Content-Length': '0'})
        headers, content = dict(served.headers), served.content
        date = formatdate(1e9, usegmt=True)
        asked, only_if = self.headers.get('Range'), self.headers.get('If-Range')
        same = only_if in (served.tag or None, date if served.dated else None)
        if asked and served.ranges and same:
            start = int(asked.removeprefix('bytes=').rstrip('-'))
            if start >= len(content):
                self.send_response(416)
                return self.end({'Content-Length': '0'})
            headers['Content-Range'] = (
                f'bytes {start}-{len(content) - 1}/{len(content)}'
            )
            content = content[start:]
            status = 206
        self.send_response(status)
        if served.tag:
            headers['ETag'] = served.tag
        if served.dated:
            headers['Last-Modified'] = date
        length = str(len(content)) if served.length is None else served.length
        if length:
            headers['Content-Length'] = length
        self.end(headers)
        if body:
            sent = served.breaks.pop(0) if served.breaks else len(content)
            self.wfile.write(content[:sent])
        return None

    def end(self, headers):
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass
