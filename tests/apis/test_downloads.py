# Copyright (c) mmfdta authors.
"""Files that are fetched are whole or not there, whatever servers and networks do."""

import errno
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from loopback import FileServer

from mmfdta.apis import downloads
from mmfdta.apis.downloads import DownloadError, Wanted, download, is_current

CONTENT = random.Random(0).randbytes(1_000_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(downloads, '_PAUSE', 0)
    for name in ('http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)


def wanted(server, folder, **known):
    return Wanted(f'{server.root}/file', folder / 'cache' / 'w.pth', 'w', **known)


def left(folder):
    """All files but what tells how to go on."""
    notes = {'.w.pth.part.json'} if any(folder.rglob('.w.pth.part')) else set()
    return {p.name for p in folder.rglob('*') if p.is_file()} - notes


def refusal_of(file):
    """The one line that a failed attempt ends with."""
    with pytest.raises(DownloadError) as caught:
        download(file)
    text = str(caught.value)
    assert '\n' not in text
    assert not file.path.exists()
    return text


def test_a_file_arrives_under_its_name_alone(tmp_path, capsys):
    with FileServer(CONTENT) as server:
        file = wanted(server, tmp_path, size=1_000_000, sha256_prefix=server.digest[:8])
        download(file)
    assert file.path.read_bytes() == CONTENT
    assert [p.name for p in file.path.parent.iterdir()] == ['w.pth']
    assert file.path.stat().st_mode & 0o777 == 0o666 & ~os.umask(os.umask(0o22))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f'fetching {server.root}/file (1.0 MB) to {file.path}'
    assert re.fullmatch(r'w: 1\.0/1\.0 MB  100%  0:00 left  .*/s', said[1])


def test_it_goes_on_where_a_connection_broke(tmp_path):
    with FileServer(CONTENT, breaks=[300_000, 200_000]) as server:
        file = wanted(server, tmp_path)
        download(file)
    assert file.path.read_bytes() == CONTENT
    ranges = [request[2] for request in server.asked]
    assert ranges == [None, 'bytes=300000-', 'bytes=500000-']


def test_another_process_goes_on_where_one_was_killed(tmp_path):
    code = (
        'import signal, sys; from pathlib import Path\n'
        'from mmfdta.apis import downloads as d\n'
        # A shell starts what it runs in the background without it.
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'read = d.http.client.HTTPResponse.read\n'
        'def slow(self, n):\n'
        '    chunk = read(self, 100_000); print(len(chunk), flush=True)\n'
        '    input(); return chunk\n'
        'd.http.client.HTTPResponse.read = slow\n'
        'd.download(d.Wanted(sys.argv[1], Path(sys.argv[2])), progress=False)'
    )
    for ending in (signal.SIGKILL, signal.SIGINT):
        folder = tmp_path / ending.name
        with FileServer(CONTENT) as server:
            file = wanted(server, folder)
            with subprocess.Popen(
                [sys.executable, '-c', code, file.address, str(file.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            ) as process:
                process.stdout.readline()
                process.stdin.write('\n\n')
                process.stdin.flush()
                process.stdout.readline()
                process.stdout.readline()
                process.send_signal(ending)
                process.wait(30)
            assert left(folder) == {'.w.pth.part'}
            download(file, progress=False)
        assert file.path.read_bytes() == CONTENT
        assert left(folder) == {'w.pth'}
        assert server.asked[-1][2] == 'bytes=200000-'


@pytest.mark.parametrize(
    'server',
    [
        FileServer(CONTENT, ranges=False, breaks=[300_000]),
        FileServer(CONTENT, tag='', breaks=[300_000]),
        FileServer(CONTENT, tag='W/"1"', breaks=[300_000]),
        FileServer(CONTENT, tag='', dated=True, breaks=[300_000]),
        FileServer(CONTENT, status=[503, 429]),
        FileServer(CONTENT, length=''),
    ],
    ids=['no ranges', 'no tag', 'weak tag', 'date', 'busy', 'no length'],
)
def test_servers_that_can_less(server, tmp_path):
    with server:
        file = wanted(server, tmp_path, sha256_prefix=server.digest)
        download(file, progress=False)
    assert file.path.read_bytes() == CONTENT
    assert left(tmp_path) == {'w.pth'}


def test_a_file_that_changed_in_between_is_not_patched_together(tmp_path):
    with FileServer(CONTENT, breaks=[300_000] + [0] * 9) as server:
        file = wanted(server, tmp_path)
        refusal_of(file)
        assert left(tmp_path) == {'.w.pth.part'}
        server.breaks.clear()
        server.content, server.tag = CONTENT[::-1], '"2"'
        download(file)
    assert file.path.read_bytes() == CONTENT[::-1]


def test_a_changed_file_with_the_tag_of_the_old_one_is_fetched_once_more(tmp_path):
    with FileServer(CONTENT, breaks=[300_000] + [0] * 9) as server:
        refusal_of(wanted(server, tmp_path))
        server.breaks.clear()
        server.content = CONTENT[::-1]
        file = wanted(server, tmp_path, sha256_prefix=server.digest)
        download(file)
    assert file.path.read_bytes() == CONTENT[::-1]
    assert [request[2] for request in server.asked[-2:]] == ['bytes=300000-', None]


def test_a_server_that_always_breaks_off_is_given_up(tmp_path):
    with FileServer(CONTENT, ranges=False, breaks=[300_000] * 9) as server:
        text = refusal_of(wanted(server, tmp_path))
    assert 'broke off after 300.0 kB of 1.0 MB' in text
    assert len(server.asked) == 4


def test_the_wrong_file_is_refused_and_not_kept(tmp_path):
    with FileServer(CONTENT) as server:
        text = refusal_of(wanted(server, tmp_path, sha256_prefix='0123abcd'))
        assert f'begins with {server.digest[:8]}, expected 0123abcd' in text
        assert left(tmp_path) == set()
        text = refusal_of(wanted(server, tmp_path, size=7))
        assert 'a file of 1000000 bytes, expected 7' in text
        server.length = ''
        text = refusal_of(wanted(server, tmp_path, size=7))
        assert 'it has 1000000 bytes, expected 7' in text
        server.length = '500000'
        text = refusal_of(wanted(server, tmp_path, sha256_prefix=server.digest))
        assert 'SHA-256' in text
        server.length, server.headers = None, {'Content-Type': 'text/html'}
        assert 'a web page came' in refusal_of(wanted(server, tmp_path))
        server.headers, server.content = {}, b''
        assert 'it is empty' in refusal_of(wanted(server, tmp_path))
        server.content = b'\n<!DOCTYPE html><p>Log in'
        assert 'it is a web page' in refusal_of(wanted(server, tmp_path))
        server.content = b'version https://git-lfs.github.com/spec/v1\noid sha256:0'
        assert 'Git LFS' in refusal_of(wanted(server, tmp_path))
    assert left(tmp_path) == set()


def test_a_length_that_is_too_large_is_a_broken_transfer(tmp_path):
    with FileServer(CONTENT, ranges=False, length='2000000') as server:
        assert 'broke off after 1.0 MB of 2.0 MB' in refusal_of(
            wanted(server, tmp_path)
        )


def test_an_archive_that_breaks_off_without_a_word_is_noticed(tmp_path):
    with FileServer(b'PK\3\4' + CONTENT, length='') as server:
        text = refusal_of(wanted(server, tmp_path))
    assert 'it breaks off after 1000004 bytes' in text


@pytest.mark.parametrize('status', [401, 403, 404, 410])
def test_what_is_not_there(status, tmp_path):
    with FileServer(CONTENT, status=[status]) as server:
        text = refusal_of(wanted(server, tmp_path, source='http://page'))
    assert f'the server answers {status} ' in text
    assert text.endswith('; http://page publishes it')
    assert len(server.asked) == 1
    assert left(tmp_path) == set()


def closed_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def test_without_a_network_one_line_says_what_to_fetch_and_where_to_put_it(tmp_path):
    place = tmp_path / 'cache' / 'w.pth'
    for host in (f'127.0.0.1:{closed_port()}', 'no-such-host.invalid'):
        address = f'http://{host}/a/w-0123abcd.pth'
        text = refusal_of(Wanted(address, place, sha256_prefix='0123abcd'))
        assert text.startswith(f'cannot fetch {address}: ')
        assert f'put it as {place} (its SHA-256 begins with 0123abcd)' in text
    assert left(tmp_path) == set()


def test_a_proxy_that_refuses_is_named_without_its_password(tmp_path, monkeypatch):
    proxy = f'127.0.0.1:{closed_port()}'
    monkeypatch.setenv('http_proxy', f'http://me:secret@{proxy}')
    text = refusal_of(Wanted('http://example.invalid/w.pth', tmp_path / 'w.pth'))
    assert (
        f'through the proxy http://{proxy} (of http_proxy): Connection refused' in text
    )
    assert 'secret' not in text
    with FileServer(CONTENT, status=[407]) as server:
        monkeypatch.setenv('http_proxy', server.root)
        text = refusal_of(Wanted('http://example.invalid/w.pth', tmp_path / 'w.pth'))
        assert f'through the proxy {server.root} (of http_proxy): ' in text
        assert 'answers 407' in text
        monkeypatch.setenv('https_proxy', server.root)
        text = refusal_of(Wanted('https://example.invalid/w.pth', tmp_path / 'w.pth'))
        assert f'through the proxy {server.root} (of https_proxy): ' in text


def test_a_silent_server(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, '_SECONDS', 0.05)
    monkeypatch.setattr(downloads, '_ATTEMPTS', 1)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        address = f'http://127.0.0.1:{silent.getsockname()[1]}/w.pth'
        assert 'no answer within' in refusal_of(Wanted(address, tmp_path / 'w.pth'))


def test_an_address_that_is_none(tmp_path):
    text = refusal_of(Wanted('http://127.0.0.1:port/w.pth', tmp_path / 'w.pth'))
    assert text.startswith('cannot fetch http://127.0.0.1:port/w.pth: ')


def test_a_disk_without_space_is_noticed_before(tmp_path):
    with FileServer(CONTENT, length=str(1 << 60)) as server:
        text = refusal_of(wanted(server, tmp_path))
    assert text.startswith(
        f'{tmp_path}/cache: no space for w.pth (1152921504.6 GB need'
    )
    assert left(tmp_path) == set()


class FullDisk:
    """A file on a disk with space for so many bytes."""

    def __init__(self, file, space):
        self.file, self.space = file, space

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, chunk):
        self.space -= len(chunk)
        if self.space < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(chunk)


def test_a_disk_that_fills_up_gets_its_space_back(tmp_path, monkeypatch):
    open_alone = downloads._open_alone
    monkeypatch.setattr(
        downloads, '_open_alone', lambda *args: FullDisk(open_alone(*args), 600_000)
    )
    with FileServer(CONTENT, length='') as server:
        text = refusal_of(wanted(server, tmp_path))
    assert 'no space for w.pth (No space left on device)' in text
    assert left(tmp_path) == set()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), 'cache')

    with FileServer(CONTENT) as server:
        (tmp_path / 'file').touch()
        for folder in (tmp_path / 'file', Path('/proc')):
            file = wanted(server, folder)
            text = refusal_of(file)
            assert text.startswith(f'{folder}/cache: cannot write there (')
            assert 'TORCH_HOME=FOLDER' in text and f'fetch {file.address}' in text
        monkeypatch.setattr('builtins.open', refuse)
        assert 'Read-only file system' in refusal_of(wanted(server, tmp_path))
    assert server.asked == []


@pytest.fixture
def fetch_twice(monkeypatch):
    """A function that fetches a file twice at once, and returns what failed.

    The server answers when one of the two has said that it waits for the other.
    """

    def fetch(server, file):
        failed, server.wait = [], threading.Event()
        monkeypatch.setattr(
            downloads, '_say', lambda text: 'waiting' in text and server.wait.set()
        )

        def run():
            try:
                download(file)
            except DownloadError as error:
                failed.append(error)

        both = [threading.Thread(target=run) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(30)
        return failed

    return fetch


def test_two_at_once_fetch_once(tmp_path, fetch_twice):
    with FileServer(CONTENT) as server:
        file = wanted(server, tmp_path)
        assert fetch_twice(server, file) == []
    assert file.path.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert left(tmp_path) == {'w.pth'}


def test_whoever_waited_goes_on_if_the_first_fails(tmp_path, fetch_twice):
    with FileServer(CONTENT, status=[404]) as server:
        file = wanted(server, tmp_path)
        assert len(fetch_twice(server, file)) == 1
    assert file.path.read_bytes() == CONTENT
    assert left(tmp_path) == {'w.pth'}


def test_a_changed_file_is_replaced_once_by_two_at_once(tmp_path, fetch_twice):
    with FileServer(CONTENT) as server:
        file = wanted(server, tmp_path, follow=True)
        download(file)
        server.content, server.tag = CONTENT[::-1], '"2"'
        assert fetch_twice(server, file) == []
        assert file.path.read_bytes() == CONTENT[::-1]
        assert [method for method, *_ in server.asked].count('GET') == 2
        assert is_current(file) is True
    assert left(tmp_path) == {'w.pth', '.w.pth.json'}


def test_a_file_stays_until_a_newer_one_is_whole(tmp_path):
    with FileServer(CONTENT) as server:
        file = wanted(server, tmp_path, follow=True)
        download(file)
        server.content, server.tag = CONTENT[::-1], '"2"'
        for answers in (
            dict(status=[200, 403]),  # to HEAD and GET
            dict(breaks=[300_000] + [0] * 9),
        ):
            vars(server).update(answers)
            with pytest.raises(DownloadError):
                download(file)
            assert file.path.read_bytes() == CONTENT
            assert is_current(file) is False
            server.breaks.clear()
        server.asked.clear()
        download(file)
        assert server.asked[-1][2] == 'bytes=300000-'
        assert file.path.read_bytes() == CONTENT[::-1]
        assert is_current(file) is True
    assert left(tmp_path) == {'w.pth', '.w.pth.json'}


def test_the_hash_that_hugging_face_states_with_its_redirection(tmp_path):
    with FileServer(CONTENT) as server:
        for stated in ('0' * 64, server.digest):
            server.redirect['/resolve'] = {'X-Linked-Etag': f'"{stated}"'}
            file = Wanted(f'{server.root}/resolve', tmp_path / 'w.pth')
            if stated != server.digest:
                assert 'expected 00000000' in refusal_of(file)
        download(file)
    assert file.path.read_bytes() == CONTENT


def test_a_server_says_whether_the_file_has_changed(tmp_path):
    with FileServer(CONTENT) as server:
        file = wanted(server, tmp_path, follow=True)
        download(file, progress=False)
        assert is_current(file) is True
        server.tag = '"2"'
        assert is_current(file) is False
        server.tag = ''
        assert is_current(file) is None
        server.status = [405]
        assert is_current(file) is None
    assert is_current(file) is None
