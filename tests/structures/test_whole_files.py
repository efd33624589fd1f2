# Copyright (c) mmfdta authors.
"""Files are whole or not there: errors, full disks, earlier files, permissions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmfdta.structures.whole_files import open_whole, remove_unfinished


def test_a_file_appears_when_it_is_complete(tmp_path: Path):
    path = tmp_path / 'new' / 'a.txt'
    with open_whole(path) as file:
        file.write(b'first half, ')
        file.flush()
        assert not path.exists()
        file.write(b'second half')
    assert path.read_bytes() == b'first half, second half'
    assert [p.name for p in path.parent.iterdir()] == ['a.txt']
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_umask_of_other_threads_is_left_alone(tmp_path: Path, monkeypatch):
    """Two threads that both set and restored it could leave it at 0."""
    monkeypatch.setattr(os, 'umask', lambda mask: pytest.fail('changes the umask'))
    with open_whole(tmp_path / 'a.txt') as file:
        file.write(b'a')
    assert (tmp_path / 'a.txt').read_bytes() == b'a'


@pytest.mark.parametrize('error', [ValueError('no'), KeyboardInterrupt()])
def test_an_error_leaves_the_earlier_file(tmp_path: Path, error: BaseException):
    path = tmp_path / 'a.txt'
    path.write_text('earlier')
    with pytest.raises(type(error)), open_whole(path) as file:
        file.write(b'new')
        raise error
    assert path.read_text() == 'earlier'
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path):
    (tmp_path / 'file').write_text('in the way')
    with (
        pytest.raises(OSError, match=r'file.a.txt'),
        open_whole(tmp_path / 'file' / 'a.txt'),
    ):
        pass
    with pytest.raises(OSError) as caught, open_whole(tmp_path / 'b.txt'):
        raise OSError(28, 'No space left on device')
    assert caught.value.filename == str(tmp_path / 'b.txt')
    assert caught.value.errno == 28


_KILLED = """
import os, sys
from mmfdta.structures.whole_files import open_whole
with open_whole(sys.argv[1]) as file:
    file.write(b'x' * 100000)
    file.flush()
    os._exit(9)  # at once, as if it were killed
"""


def test_a_killed_process_leaves_no_file_under_the_name(tmp_path: Path):
    path = tmp_path / 'a.pth'
    path.write_text('earlier')
    run = subprocess.run([sys.executable, '-c', _KILLED, str(path)])
    assert run.returncode == 9
    assert path.read_text() == 'earlier'
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith('.a.pth.') and left.stat().st_size == 100000
    remove_unfinished(tmp_path, '.txt')
    assert left.exists()
    remove_unfinished(tmp_path, '.pth')
    assert list(tmp_path.iterdir()) == [path]
