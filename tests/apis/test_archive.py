# Copyright (c) mmfdta authors.
"""Archives: what is whole is kept, what failed is noted, results are never mixed."""

import errno
import io
import json
import os
import subprocess
import sys

import pytest

from mmfdta.apis import archive as archives
from mmfdta.apis import window
from mmfdta.apis.archive import Archive, hold_folder, share, track_archive
from mmfdta.apis.progress import ArchiveProgress, format_seconds
from mmfdta.cli.main import main


@pytest.fixture
def command(toys, monkeypatch, capsys):
    """A function: exit code, lines of standard output and of errors of `track`."""
    monkeypatch.chdir(toys.folder)
    toys.config.dump('config.py')
    model = ['--config=config.py', f'--checkpoint={toys.checkpoint}', '--no-progress']

    def run(*more):
        capsys.readouterr()
        code = main(['track', *map(str, more), *model])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


def lines_of(folder, name='archive.jsonl'):
    """The entries of a ledger."""
    lines = (folder / name).read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if 'source' in entry]


def test_a_second_run_keeps_what_is_whole(command, toys):
    for name in ('a', 'b'):
        toys.video(f'{name}.mp4', 4)
    assert command('a.mp4', '--out-dir', 'o')[0] == 0
    before = {path: path.stat() for path in (toys.folder / 'o').glob('a_*')}
    code, out, err = command('*.mp4', '--out-dir', 'o')
    assert code == 0 and [line.split(':')[0] for line in out] == ['b.mp4']
    assert 'o: 1 of 2 are complete there' in '\n'.join(err)
    assert {path: path.stat() for path in before} == before and len(before) == 2
    first, second = lines_of(toys.folder / 'o')
    assert first['source'] == str(toys.folder / 'a.mp4')
    assert first['size'] == (toys.folder / 'a.mp4').stat().st_size
    assert (first['state'], first['frames'], first['tracks']) == ('whole', 4, 2)
    assert second['files'] == ['b_tracks.mp4', 'b_tracks.txt']


def test_counts_that_are_asked_for_are_written(command, toys):
    video = toys.video('v.mp4', 8)
    line = ['--line=0.503,0,0.503,1', '--formats', 'txt']
    assert (
        command('v.mp4', '--out', 'alone.txt', '--counts', 'a.csv', *line[:1])[0] == 0
    )
    expected = (toys.folder / 'a.csv').read_bytes()
    assert command('v.mp4', '--out-dir', 'o', *line)[0] == 0
    # Added, in another file, in the folder, and the same one by another name.
    for name, tracked in (
        *(('b.csv', True), ('b.csv', False), ('c.csv', True), ('o/d.csv', True)),
        (toys.folder / 'o' / 'd.csv', False),
    ):
        code, out, _ = command('v.mp4', '--out-dir', 'o', '--counts', name, *line)
        assert (code, len(out) > 0) == (0, tracked), name
        assert (toys.folder / name).read_bytes() == expected
    *_, last = lines_of(toys.folder / 'o')
    assert last['source'] == str(video) and last['files'] == ['v_tracks.txt', 'd.csv']
    assert not command('v.mp4', '--out-dir', 'o', *line)[1]  # and without any


def test_results_are_those_of_one_video_alone(command, toys):
    toys.video('v.mp4', 7)
    (toys.folder / 'w').mkdir()
    toys.video('w/v.mp4', 12)
    assert command('v.mp4', 'w/v.mp4', '--out-dir', 'o', '--formats', 'csv')[0] == 0
    for source, name in (('v.mp4', 'v'), ('w/v.mp4', 'v_2')):
        assert command(source, '--out', 'alone.csv')[0] == 0
        alone = (toys.folder / 'alone.csv').read_bytes()
        assert (toys.folder / f'o/{name}_tracks.csv').read_bytes() == alone


def test_a_broken_video_costs_only_itself_and_is_tried_again(command, toys, names_in):
    for name in ('a', 'd'):
        toys.video(f'{name}.mp4', 4)
    (toys.folder / 'b.mp4').write_bytes(b'no video' * 99)
    image = toys.images('c', 4) / '3.png'
    pixels = image.read_bytes()
    image.write_bytes(pixels[: len(pixels) // 2])
    sources = ['a.mp4', 'b.mp4', 'c', 'd.mp4', '--out-dir=o', '--formats=txt']
    code, out, err = command(*sources)
    assert code == 1 and len(out) == 3
    assert '2 of 4 not complete: b.mp4, c' in err[-1]
    assert sum('FFmpeg finds no video' in line for line in err) == 1
    states = {e['name']: (e['state'], e['reason']) for e in lines_of(toys.folder / 'o')}
    assert states['a'] == states['d'] == ('whole', None)
    assert states['b'][0] == states['c'][0] == 'failed'
    assert 'b.mp4' in states['b'][1] and '3.png' in states['c'][1]
    assert 'c_tracks.partial.txt' in names_in(toys.folder / 'o')

    code, out, err = command(*sources)  # not tried again unless asked
    assert code == 1 and out == []
    assert sum('failed before: ' in line for line in err) == 2
    code, out, err = command(*sources, '--retry-failed')
    assert code == 1 and [line.split(':')[0] for line in out] == ['c']

    toys.video('b.mp4', 4)  # both are repaired
    image.write_bytes(pixels)
    code, out, err = command(*sources)
    assert code == 0 and [line.split(':')[0] for line in out] == ['b.mp4', 'c']
    files = [f'{name}_tracks.txt' for name in 'abcd']
    assert names_in(toys.folder / 'o') == sorted([*files, 'archive.jsonl'])


def test_other_settings_are_never_mixed_in(command, toys):
    for name in ('a', 'b'):
        toys.video(f'{name}.mp4', 9)
    archive = ('--out-dir=o', '--formats=txt')
    assert command('a.mp4', 'b.mp4', *archive)[0] == 0
    text = (toys.folder / 'o/a_tracks.txt').read_text()
    code, _, err = command('a.mp4', 'b.mp4', *archive, '--max-frames=5')
    assert code == 1 and 'o: 2 videos were tracked there by other settings' in err[-1]
    assert 'max_frames: null there, 5 now' in err[-1] and '--replace' in err[-1]
    code, _, err = command('a.mp4', *archive, '--max-frames=5', '--replace')
    assert code == 1 and f'such as {toys.folder / "b.mp4"}; name all' in err[-1]
    assert (toys.folder / 'o/a_tracks.txt').read_text() == text
    more = (*archive, '--max-frames=5', '--replace')
    code, out, _ = command('a.mp4', 'b.mp4', *more)
    assert code == 0 and len(out) == 2
    shorter = (toys.folder / 'o/a_tracks.txt').read_text()
    assert shorter != text and text.startswith(shorter)
    assert command('a.mp4', 'b.mp4', *more)[1] == []
    # How videos look decides where some are written only.
    more = (*archive, '--max-frames=5', '--trail=3', '--crf=30')
    assert command('a.mp4', 'b.mp4', *more)[:2] == (0, [])


def test_zero_and_no_are_settings(command, toys):
    toys.video('a.mp4', 3)
    assert command('a.mp4', '--out-dir=o', '--formats=webm')[0] == 0
    for option, said in (
        ('--crf=0', 'crf: null there, 0 now'),
        ('--no-show-classes', 'show_classes: null there, false now'),
    ):
        code, _, err = command('a.mp4', '--out-dir=o', '--formats=webm', option)
        assert code == 1 and said in err[-1], option


def test_other_weights_and_formats_are_other_settings(command, toys, names_in):
    toys.video('a.mp4', 3)
    assert command('a.mp4', '--out-dir=o')[0] == 0
    code, _, err = command('a.mp4', '--out-dir=o', '--formats=txt')
    assert code == 1 and 'formats: ["mp4", "txt"] there, ["txt"] now' in err[-1]
    more = ('--out-dir=o', '--formats=txt', '--replace')
    assert command('a.mp4', *more)[0] == 0
    assert names_in(toys.folder / 'o') == ['a_tracks.txt', 'archive.jsonl']
    import torch

    torch.save(dict(state_dict=dict(colors=torch.zeros(3, 3))), toys.checkpoint)
    code, _, err = command('a.mp4', '--out-dir=o', '--formats=txt')
    assert code == 1 and 'weights: ' in err[-1]


def test_what_was_changed_or_removed_is_tracked_again(command, toys):
    video = toys.video('a.mp4', 3)
    assert command('a.mp4', '--out-dir=o', '--formats=txt')[0] == 0
    (toys.folder / 'o/a_tracks.txt').unlink()
    assert len(command('a.mp4', '--out-dir=o', '--formats=txt')[1]) == 1
    toys.video('a.mp4', 5)
    assert len(command('a.mp4', '--out-dir=o', '--formats=txt')[1]) == 1
    os.utime(video, ns=(1, 1))
    assert len(command(video, './a.mp4', '--out-dir=o', '--formats=txt')[1]) == 1
    assert command('a.mp4', '--out-dir=o', '--formats=txt')[1] == []


def test_results_of_a_video_that_is_gone_stay(command, toys, names_in):
    """Its address or the pattern of its images is still in the command."""
    video, images = toys.video('a.mp4', 3), toys.images('i', 3)
    sources = [f'file://{video}', 'i/%d.png', '--out-dir=o', '--formats=txt']
    assert command(*sources)[0] == 0
    video.rename(toys.folder / 'away.mp4')
    images.rename(toys.folder / 'away')
    before = {p: p.read_bytes() for p in (toys.folder / 'o').iterdir()}
    assert command(*sources)[:2] == (0, [])
    code, _, err = command(*sources, '--max-frames=2', '--replace')
    assert code == 1 and '2 videos were tracked there by other settings' in err[-1]
    assert 'or gone, such as' in err[-1]
    assert {p: p.read_bytes() for p in (toys.folder / 'o').iterdir()} == before
    toys.video('a.mp4', 4)
    code, out, _ = command(*sources)
    assert code == 0 and len(out) == 1 and 'tracked 4 frames' in out[0]


def test_one_command_at_a_time_tracks_into_a_folder(command, toys):
    """Else two videos called alike get one name, and one result is lost."""
    for name in ('x', 'y'):
        (toys.folder / name).mkdir()
        toys.video(f'{name}/v.mp4', 2)
    (toys.folder / 'o').mkdir()
    for shared in (False, True):
        with hold_folder(toys.folder / 'o', shared):
            code, _, err = command('x/v.mp4', '--out-dir=o', '--formats=txt')
        assert code == 1 and 'o: another command tracks into it' in err[-1]
        assert list((toys.folder / 'o').iterdir()) == []
    with hold_folder('o', shared=True), hold_folder('o', shared=True):
        pass
    assert command('x/v.mp4', '--out-dir=o', '--formats=txt')[0] == 0
    assert command('y/v.mp4', '--out-dir=o', '--formats=txt')[0] == 0
    assert [entry['name'] for entry in lines_of(toys.folder / 'o')] == ['v', 'v_2']


def test_a_reason_names_its_video_once(command, toys):
    (toys.folder / 'b.mp4').write_bytes(b'')
    for expected in ('mmfdta track: b.mp4: the', 'failed before: b.mp4: the'):
        err = command('b.mp4', '--out-dir=o', '--formats=txt')[2]
        assert expected in '\n'.join(err)


def test_names_do_not_depend_on_what_is_named_beside(command, toys, names_in):
    for place in ('x', 'y', 'z'):
        (toys.folder / place).mkdir()
        toys.video(f'{place}/v.mp4', 2)
    assert command('y/v.mp4', '--out-dir=o', '--formats=txt')[0] == 0
    assert command('x/v.mp4', 'y/v.mp4', '--out-dir=o', '--formats=txt')[0] == 0
    assert command('z/v.mp4', 'x/v.mp4', '--out-dir=o', '--formats=txt')[0] == 0
    names = {e['source'][-7:-4]: e['name'] for e in lines_of(toys.folder / 'o')}
    assert names == {'y/v': 'v', 'x/v': 'v_2', 'z/v': 'v_3'}
    assert len(names_in(toys.folder / 'o')) == 4


def test_odd_names(command, toys, names_in):
    odd = ['a b.mp4', 'new\nline.mp4', 'é#%.mp4', f'{"long" * 60}.mp4', 'q\'"[1].mp4']
    for name in odd:
        toys.video('v.mp4', 2).rename(toys.folder / name)
    code, out, err = command(*odd, '--out-dir=o', '--formats', 'txt', 'mp4')
    assert code == 0 and len(out) == len(odd)
    assert len(names_in(toys.folder / 'o')) == 2 * len(odd) + 1
    assert command(*odd, '--out-dir=o', '--formats', 'txt', 'mp4')[1] == []


def test_results_in_the_folder_of_the_videos_are_not_tracked(command, toys):
    toys.video('a.mp4', 3)
    assert command('*.mp4', '--out-dir=.')[0] == 0
    toys.video('b.mp4', 3)
    code, out, _ = command('*.mp4', '--out-dir=.')
    assert code == 0 and [line.split(':')[0] for line in out] == ['b.mp4']
    assert len(lines_of(toys.folder)) == 2
    # What Ctrl-C leaves; no ledger tells of it.
    toys.video('c.mp4', 3)
    toys.video('c_tracks.partial.mp4', 2)
    code, out, err = command('*.mp4', '--out-dir=.')
    assert code == 0 and [line.split(':')[0] for line in out] == ['c.mp4']
    assert '2 of 3 are complete there' in '\n'.join(err)
    assert not (toys.folder / 'c_tracks.partial.mp4').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['no*.mp4', '--out-dir=o'], 'no*.mp4: matches no video, folder or image'),
        (['*', '--out-dir=o'], '*: matches images (1) and videos (1, such as v.mp4)'),
        (['v.mp4', '--retry-failed'], '--retry-failed: is for files that are tracked'),
        (['v.mp4', '--replace', '--out=x.txt'], '--replace: is for files'),
        (['v.mp4', '--out-dir=o', '--formats=gif'], 'cannot tell what to write'),
        (['v.mp4', '--out-dir=o', '--formats', 'txt', 'txt'], 'named twice'),
        (['v.mp4', 'v_tracks.mp4', '--out-dir=.'], 'v_tracks.mp4: the result would'),
    ],
)
def test_what_cannot_be_is_refused(command, toys, scene, arguments, message):
    toys.video('v.mp4', 2)
    toys.images('shots', 1)
    (toys.folder / 'shots/1.png').rename(toys.folder / '1.png')
    if 'v_tracks.mp4' in arguments:
        toys.video('v_tracks.mp4', 2)
    code, _, err = command(*arguments)
    assert code == 1 and message in err[-1]
    assert not (toys.folder / 'o/archive.jsonl').exists()


def test_folders_of_images_are_videos_of_an_archive(command, toys):
    for name in ('a', 'b'):
        toys.images(f'data/{name}', 3)
    assert len(command('data/*', '--out-dir=o', '--formats=txt')[1]) == 2
    assert command('data/*', '--out-dir=o', '--formats=txt')[1] == []
    (toys.folder / 'data/b/3.png').unlink()
    code, out, _ = command('data/*', '--out-dir=o', '--formats=txt')
    assert code == 0 and out[0].startswith('b: tracked 2 frames')


def test_an_interrupted_archive_goes_on(toys, inferencer):
    """Killed with nothing but the operating system's help, in the middle of a video."""
    for name in ('a', 'b', 'c'):
        toys.video(f'{name}.mp4', 6)
    sources = [str(toys.folder / f'{name}.mp4') for name in 'abc']
    folder = toys.folder / 'o'

    def open_again():
        return Archive(folder, sources, ['txt', 'mp4'], inferencer.settings())

    archive = open_again()
    run = track_archive(inferencer, archive, archive.waiting(), {})
    next(run)
    frames = inferencer.track(sources[1], out=archive.videos[1].files)
    next(frames)
    frames.close()  # leaves what Ctrl-C leaves
    (folder / '.b_tracks.123.mp4').write_bytes(b'left by a killed process')
    with (folder / 'archive.jsonl').open('a') as file:
        file.write('{"source": "half of a li')
    # That of another process, which tracks another video.
    (folder / '.d_tracks.124.mp4').write_bytes(b'is being written')
    again = open_again()
    waiting = again.waiting()
    assert [video.name for video in waiting] == ['b', 'c']
    ended = list(track_archive(inferencer, again, waiting, {}))
    assert [(video.name, reason) for video, _, reason in ended] == [
        ('b', None),
        ('c', None),
    ]
    assert open_again().waiting() == []
    files = {f'{name}_tracks.{suffix}' for name in 'abc' for suffix in ('txt', 'mp4')}
    files |= {'archive.jsonl', '.d_tracks.124.mp4'}
    assert {path.name for path in folder.iterdir()} == files


def test_a_full_disk_ends_all_and_blames_no_video(toys, inferencer, monkeypatch):
    sources = [str(toys.video(f'{name}.mp4', 3)) for name in 'abc']
    archive = Archive(toys.folder / 'o', sources, ['txt'], {})
    run = track_archive(inferencer, archive, archive.waiting(), {})
    next(run)
    write = os.replace

    def full(source, target):
        if str(target).endswith('b_tracks.txt'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(source, target)

    with monkeypatch.context() as context:
        context.setattr(os, 'replace', full)
        with pytest.raises(OSError, match='the disk is full'):
            next(run)
    again = Archive(toys.folder / 'o', sources, ['txt'], {})
    assert [video.name for video in again.waiting()] == ['b', 'c']


def test_a_video_that_is_stopped_in_the_window_waits(toys, inferencer, monkeypatch):
    sources = [str(toys.video(f'{name}.mp4', 3)) for name in 'ab']
    archive = Archive(toys.folder / 'o', sources, ['txt'], {})
    monkeypatch.setattr(window, 'check_display', lambda: None)
    monkeypatch.setattr(window.Window, 'show', lambda window, image: False)
    progress = ArchiveProgress([1, 1], file=io.StringIO())
    how = dict(show=True)
    run = track_archive(inferencer, archive, archive.waiting(), how, progress=progress)
    assert [report.stopped for _, report, _ in run] == [True, True]
    assert (progress.whole, progress.left) == (0, 2)
    assert len(archive.waiting()) == 2


def test_the_order_of_formats_is_no_setting(toys, inferencer):
    sources = [str(toys.video('a.mp4', 3))]
    archive = Archive(toys.folder / 'o', sources, ['txt', 'csv'], {})
    list(track_archive(inferencer, archive, archive.waiting(), {}))
    assert Archive(toys.folder / 'o', sources, ['.csv', 'txt'], {}).waiting() == []


def test_an_error_that_nobody_foresaw_is_noted(toys, inferencer, monkeypatch):
    sources = [str(toys.video(f'{name}.mp4', 3)) for name in 'ab']
    archive = Archive(toys.folder / 'o', sources, ['txt'], {})
    predict, seen = inferencer.predict_prepared, []

    def fail_first(samples, first_frame):
        seen.append(first_frame)
        if len(seen) == 2:
            raise ZeroDivisionError('division\nby zero')
        return predict(samples, first_frame)

    monkeypatch.setattr(inferencer, 'predict_prepared', fail_first)
    ended = track_archive(
        inferencer, archive, archive.waiting(), {}, explain=lambda error: None
    )
    reasons = [reason for _, _, reason in ended]
    assert reasons == ['ZeroDivisionError: division by zero', None]
    failed, _ = lines_of(toys.folder / 'o')
    assert failed['files'] == ['a_tracks.partial.txt']
    assert (toys.folder / 'o/a_tracks.partial.txt').is_file()


def make_videos(toys, sizes):
    """An archive of files of so many bytes; they need not be videos."""
    sources = []
    for number, size in enumerate(sizes):
        path = toys.folder / f'{number}.mp4'
        path.write_bytes(bytes(size))
        sources.append(str(path))
    return Archive(toys.folder / 'o', sources, ['txt'], {}).videos


@pytest.mark.parametrize('world', [1, 2, 3, 7, 40])
def test_shares_are_disjoint_complete_and_even(toys, world):
    videos = make_videos(toys, [7, 3, 3, 50, 1, 20, 20, 0, 9, 11, 30, 2])
    shares = [share(videos, rank, world) for rank in range(world)]
    assert sorted(v.key for part in shares for v in part) == sorted(
        v.key for v in videos
    )
    order = {video.key: place for place, video in enumerate(videos)}
    assert all(
        [order[v.key] for v in part] == sorted(order[v.key] for v in part)
        for part in shares
    )
    # No better than the bound of this way: a mean share and the largest video.
    loads = [sum(video.size for video in part) for part in shares]
    assert max(loads) <= sum(loads) / world + 50
    if world == 3:
        assert max(loads) - min(loads) <= 2


def test_shares_of_addresses_are_counted(toys):
    sources = [f'http://127.0.0.1:1/{number}.mp4' for number in range(7)]
    videos = Archive(toys.folder / 'o', sources, ['txt'], {}).videos
    assert sorted(len(share(videos, rank, 3)) for rank in range(3)) == [2, 2, 3]
    with pytest.raises(ValueError, match='rank: found 3, expected 0 to 2'):
        share(videos, 3, 3)


def test_every_process_writes_its_ledger_and_reads_all(toys, inferencer):
    sources = [str(toys.video(f'{name}.mp4', 3)) for name in 'abcd']
    names = []
    for rank in (0, 1):  # the second begins late
        archive = Archive(toys.folder / 'o', sources, ['txt'], {}, rank=rank)
        names.append([video.name for video in archive.videos])
        mine = share(archive.videos, rank, 2)
        assert len(mine) == 2
        waiting = {video.key for video in archive.waiting()}
        assert {video.key for video in mine} <= waiting
        list(track_archive(inferencer, archive, mine, {}))
        assert len(lines_of(toys.folder / 'o', f'archive-{rank}.jsonl')) == 2
    assert names[0] == names[1]
    assert Archive(toys.folder / 'o', sources, ['txt'], {}).waiting() == []


def test_of_two_ledgers_the_later_entry_counts(toys):
    sources = [str(toys.video('a.mp4', 3))]
    for rank, reason in ((1, 'earlier'), (0, 'later')):
        archive = Archive(toys.folder / 'o', sources, ['txt'], {}, rank=rank)
        archive.record(archive.videos[0], None, reason)
    ((_, reason),) = Archive(toys.folder / 'o', sources, ['txt'], {}).failed()
    assert reason == 'later'


def test_a_ledger_that_is_damaged_costs_a_line(toys, inferencer, caplog):
    sources = [str(toys.video(f'{name}.mp4', 3)) for name in 'abc']
    archive = Archive(toys.folder / 'o', sources, ['txt'], {})
    list(track_archive(inferencer, archive, archive.waiting(), {}))
    path = toys.folder / 'o/archive.jsonl'
    head, first, second, third = path.read_bytes().splitlines()
    wrong = json.dumps({**json.loads(second), 'state': 'perhaps'}).encode()
    path.write_bytes(b'\n'.join([head, b'\xff\x00[', first, wrong, third, b'[1]']))
    said = []
    archives_say, archives.say = archives.say, said.append
    try:
        again = Archive(toys.folder / 'o', sources, ['txt'], {})
    finally:
        archives.say = archives_say
    assert [video.name for video in again.waiting()] == ['b']
    assert len(said) == 3
    for number, text in zip((2, 4, 6), said, strict=True):
        assert f'archive.jsonl: line {number} is no entry of a ledger' in text


def test_the_ledger_holds_no_password(toys):
    archive = Archive(toys.folder, ['http://me:secret@host/v.mp4'], ['txt'], {})
    archive.record(archive.videos[0], None, 'it is away')
    text = (toys.folder / 'archive.jsonl').read_text()
    assert 'secret' not in text and 'http://host/v.mp4' in text
    assert archive.videos[0].source == 'http://me:secret@host/v.mp4'


def test_the_command_shows_no_password(command):
    source = 'http://me:secret@127.0.0.1:1/v.mp4'
    for more in ([], [source], ['--out-dir=o'], ['--out-dir=o']):
        code, out, err = command(source, *more, '--formats=txt')
        assert code == 1 and 'http://127.0.0.1:1/v.mp4' in err[-1]
        assert 'secret' not in '\n'.join(out + err)


def test_one_line_tells_how_far_an_archive_is(tmp_path):
    with (tmp_path / 'log').open('w+') as file:
        progress = ArchiveProgress([100, 300, None], whole=4, failed=1, file=file)
        for failed in (False, True):
            progress.add_frame()
            progress.end_video(100, failed)
        progress.close()
        file.seek(0)
        (line,) = file.read().splitlines()
    assert line.startswith('videos: 5 whole, 2 failed, 1 left, 0:0')
    assert [format_seconds(s) for s in (7.4, 754, 12345)] == [
        '0:07',
        '12:34',
        '3:25:45',
    ]


def test_an_archive_loads_no_torch():
    code = 'import sys, mmfdta.apis.archive; assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)
