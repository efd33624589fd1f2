# Copyright (c) mmfdta authors.
"""Archives on the workers of a Ray cluster, against one tracker on one machine."""

import dataclasses
import functools
import json
import os
import secrets
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import ray
import ray_trackers
from exported_colors import write_model

from mmfdta.apis import ExportedTracker, ray_archive
from mmfdta.apis.archive import Archive, track_archive
from mmfdta.apis.ray_archive import RayWorkers, track_archive_on_ray
from mmfdta.cli.errors import explain
from mmfdta.cli.main import main

pytestmark = pytest.mark.dist
ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = ('txt', 'csv', 'jsonl', 'mp4')
# The speed is drawn otherwise.
HOW = dict(caption=False)
LENGTHS = dict(a=9, b=20, c=1, d=14)


@pytest.fixture(scope='module')
def cluster():
    """A cluster of three processors on this machine."""
    before = dict(os.environ), signal.getsignal(signal.SIGTERM)
    os.environ.update(
        PYTHONPATH=os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        RAY_USAGE_STATS_ENABLED='0',
        RAY_raylet_start_wait_time_s='300',
        # Nothing is left in the home of whoever runs the tests.
        RAY_AUTH_TOKEN=secrets.token_hex(16),
    )
    ray.init(
        'local',
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()
    os.environ.clear()
    os.environ.update(before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.fixture
def model(tmp_path, scene):
    """An exported model, which loads fast."""
    return str(write_model(tmp_path / 'model', scene.colors, True))


@pytest.fixture
def videos(toys):
    """Videos of different lengths."""
    (toys.folder / 'in').mkdir()
    return [str(toys.video(f'in/{name}.mp4', n)) for name, n in LENGTHS.items()]


def archive_of(folder, sources, **more):
    return Archive(folder, sources, SUFFIXES, dict(model='colors'), **more)


@pytest.fixture
def track_alone(model):
    """A function: what one tracker makes of the sources."""

    def track(folder, sources):
        archive = archive_of(folder, sources)
        tracker = ExportedTracker(model, threads=1)
        list(track_archive(tracker, archive, archive.waiting(), HOW, explain=explain))
        return archive

    return track


@pytest.fixture
def track_on_ray(model, cluster, tmp_path):
    """A function: what several workers make of the sources."""

    def track(folder, sources, opener=ray_trackers.open_plain, workers=2):
        folder.mkdir(exist_ok=True)
        archive = archive_of(folder, sources)
        open_tracker = functools.partial(opener, model)
        with RayWorkers(open_tracker, folder, workers=workers, explain=explain) as them:
            list(track_archive_on_ray(them, archive, archive.waiting(), HOW))
        return archive

    return track


def contents(folder):
    """Names and bytes of all files but ledgers."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith('archive')
    }


def ledger(folder):
    """What the ledger says of each video, without times."""
    lines = map(json.loads, (folder / 'archive.jsonl').read_text().splitlines())
    entries = [line for line in lines if 'source' in line]
    assert len({entry['source'] for entry in entries}) == len(entries)
    varying = ('seconds', 'ended')
    return sorted(
        ([(k, v) for k, v in entry.items() if k not in varying] for entry in entries),
        key=str,
    )


def test_files_and_ledger_are_those_of_one_machine(
    track_alone, track_on_ray, toys, videos, tmp_path
):
    broken = toys.folder / 'in/broken.mp4'
    broken.write_bytes(b'no video')
    cut = toys.folder / 'in/cut.mp4'
    cut.write_bytes(Path(videos[1]).read_bytes()[:-2000])
    sources = [videos[0], str(broken), str(cut), *videos[1:]]
    alone = track_alone(tmp_path / 'alone', sources)
    on_ray = track_on_ray(tmp_path / 'ray', sources)
    assert contents(tmp_path / 'ray') == contents(tmp_path / 'alone')
    assert ledger(tmp_path / 'ray') == ledger(tmp_path / 'alone')
    assert len(on_ray.failed()) == len(alone.failed()) > 0
    assert on_ray.waiting() == []


def test_what_a_killed_worker_had_begun_is_tracked_again(
    track_alone, track_on_ray, videos, tmp_path
):
    track_alone(tmp_path / 'alone', videos)
    killed = []

    def kill():
        """Kill whoever writes b's tracks, in the middle of the video."""
        growing = tmp_path / 'ray/b_tracks.partial.jsonl'
        while not (growing.exists() and growing.stat().st_size > 500):
            time.sleep(0.005)
        (path,) = growing.parent.glob('.b_tracks.*.txt')
        killed.append(int(path.name.split('.')[2]))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    track_on_ray(tmp_path / 'ray', videos, ray_trackers.open_slow)
    thread.join(5)
    assert killed
    assert contents(tmp_path / 'ray') == contents(tmp_path / 'alone')
    assert ledger(tmp_path / 'ray') == ledger(tmp_path / 'alone')


def test_a_video_that_kills_its_workers_fails_and_no_other(
    track_alone, track_on_ray, toys, videos, tmp_path
):
    deadly = str(toys.video('in/deadly.mp4', 12))
    archive = track_on_ray(
        tmp_path / 'ray', [deadly, *videos], ray_trackers.open_mortal
    )
    ((video, reason),) = archive.failed()
    assert video.source == deadly
    host = socket.gethostname()
    assert reason == (
        f'the worker on {host} was lost: its process ended; so were 2 before it'
    )
    track_alone(tmp_path / 'alone', videos)
    found = contents(tmp_path / 'ray')
    assert found.pop('deadly_tracks.partial.jsonl').count(b'\n') <= 5
    assert found == contents(tmp_path / 'alone')
    # Known to the next run, which may try it again.
    again = archive_of(tmp_path / 'ray', [deadly, *videos])
    assert again.waiting() == []
    assert [video.source for video in again.waiting(retry_failed=True)] == [deadly]


def test_a_video_that_changes_meanwhile_costs_no_worker(
    model, cluster, videos, tmp_path
):
    folder = tmp_path / 'ray'
    folder.mkdir()
    archive = archive_of(folder, videos)
    with open(videos[1], 'ab') as file:
        file.write(b'more')
    open_tracker = functools.partial(ray_trackers.open_plain, model)
    with RayWorkers(open_tracker, folder, workers=1, explain=explain) as them:
        list(track_archive_on_ray(them, archive, archive.waiting(), HOW))
    ((video, reason),) = archive.failed()
    assert (video.source, reason) == (videos[1], 'it has changed meanwhile')
    again = archive_of(folder, videos)
    assert [video.source for video in again.waiting()] == [videos[1]]


def test_workers_that_track_otherwise_are_left_out(track_on_ray, videos, tmp_path):
    archive = track_on_ray(
        tmp_path / 'ray', videos, ray_trackers.open_different, workers=3
    )
    assert archive.waiting() == archive.failed() == []


@pytest.fixture
def opening(model, tmp_path):
    """What a worker is told, here: it sees what the command sees."""
    (tmp_path / 'probe').touch()
    return ray_archive.Opening(
        str(tmp_path),
        str(tmp_path / 'probe'),
        ray_archive.find_versions(),
        functools.partial(ray_trackers.open_plain, model),
        1,
        explain,
    )


def test_machines_that_see_other_files_are_unfit(
    opening, model, videos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    host = socket.gethostname()

    def refused(**changed):
        worker = ray_archive.VideoWorker()
        reason = worker.open(dataclasses.replace(opening, **changed)).reason
        assert reason.startswith(f'{host}: ') and '\n' not in reason
        return reason

    said = refused(folder='/nowhere')
    assert '/nowhere: No such file or directory; start the command in a folder' in said
    assert '/nowhere is another folder there' in refused(probe='/nowhere/probe')
    versions = {**opening.versions, 'numpy': '9'}
    assert ', expected 9; install the same' in refused(versions=versions)
    lacking = functools.partial(ray_trackers.open_plain, '/no/model')
    assert '/no/model' in refused(open_tracker=lacking)

    worker = ray_archive.VideoWorker()
    facts = worker.open(opening)
    assert facts.settings() == ExportedTracker(model, threads=1).settings()
    (video,) = archive_of(tmp_path / 'out', videos[:1]).videos
    said = worker.track(dataclasses.replace(video, size=7), HOW).reason
    assert f'{videos[0]}: found ' in said and 'expected 7 bytes' in said
    os.remove(videos[0])
    assert 'found nothing, expected' in worker.track(video, HOW).reason


def test_without_a_worker_that_is_fit_it_ends_in_one_line(
    track_on_ray, videos, tmp_path
):
    with pytest.raises(RuntimeError, match='no worker is left') as caught:
        track_on_ray(tmp_path / 'ray', videos, ray_trackers.open_dying, workers=1)
    assert 'lost 3 times (its process ended)' in str(caught.value)
    assert explain(caught.value) == str(caught.value)
    assert not list((tmp_path / 'ray').iterdir())


def test_devices_that_the_cluster_lacks_are_refused(cluster, tmp_path):
    with pytest.raises(ValueError, match='has no GPU'):
        RayWorkers(ray_trackers.open_plain, tmp_path, gpu=True).__enter__()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('address', ['ray://host:10001', 'host', ':6379', 'a b'])
def test_addresses_of_other_kinds_are_refused(address, tmp_path, monkeypatch):
    monkeypatch.setattr(ray, 'is_initialized', lambda: False)
    with pytest.raises(ValueError, match='expected HOST:PORT'):
        RayWorkers(ray_trackers.open_plain, tmp_path, address=address).__enter__()


def test_an_address_without_a_cluster_is_refused_at_once(
    free_port, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray, 'is_initialized', lambda: False)
    address = f'127.0.0.1:{free_port}'
    with pytest.raises(ConnectionError, match=f'no cluster at {address}'):
        RayWorkers(ray_trackers.open_plain, tmp_path, address=address).__enter__()


def test_the_command_goes_on_with_and_without_a_cluster(
    cluster, model, toys, videos, tmp_path, capsys, monkeypatch
):
    logged = []  # by a logger that may write elsewhere
    monkeypatch.setattr(ray_archive, 'say', lambda text, *_: logged.append(text))
    broken = toys.folder / 'in/broken.mp4'
    broken.write_bytes(b'no video')
    command = ['track', *videos, str(broken), '--model', model, '--no-progress']
    command += ['--formats', 'txt', 'mp4', '--threads=1', '--out-dir']
    on_ray = ['--ray', '--ray-workers=2']
    alone, there = tmp_path / 'alone', tmp_path / 'ray'
    assert main([*command, str(alone)]) == 1
    said_alone = capsys.readouterr()
    assert main([*command, str(there), *on_ray]) == 1
    said_there = capsys.readouterr()
    assert contents(there) == contents(alone)
    assert ledger(there) == ledger(alone)
    for said in (said_alone, said_there):
        assert said.out.count('tracked ') == len(videos)
        assert '1 of 5 not complete' in said.err
    assert any('workers: 2, each with 1 CPU' in text for text in logged)
    # Either goes on where the other ended.
    broken.write_bytes(Path(videos[0]).read_bytes())
    (alone / 'd_tracks.txt').unlink()
    assert main([*command, str(alone), *on_ray]) == 0
    assert capsys.readouterr().out.count('tracked ') == 2
    assert main([*command, str(there)]) == 0
    assert capsys.readouterr().out.count('tracked ') == 1
    assert contents(there) == contents(alone)


@pytest.mark.parametrize(
    'options, said',
    [
        (['--ray'], 'add --out-dir'),
        (['rtsp://host/1', '--ray', '--out-dir=o'], 'found rtsp://host/1, a camera'),
        (['-', '--ray', '--out-dir=o'], 'standard input, which one machine alone'),
        (['--ray', '--out-dir=o', '--gallery=g.npz'], '--gallery: cannot be had'),
        (['--ray', '--out-dir=o', '--show'], '--show: cannot be had'),
        (['--ray', '--out-dir=o', '--counts=c.csv'], '--counts: cannot be had'),
        (['--ray', '--out-dir=o', '--device=cuda:1'], 'found cuda:1, expected cpu'),
        (['--ray-workers=2', '--out-dir=o'], 'add --ray'),
        (['--ray', 'host', '--out-dir=o'], 'expected HOST:PORT'),
    ],
)
def test_what_one_machine_alone_can_do_is_refused(
    options, said, toys, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, 'is_initialized', lambda: False)
    toys.video('v.mp4', 2)
    assert main(['track', 'v.mp4', *options]) == 1
    text = capsys.readouterr().err
    assert said in text.splitlines()[-1] and 'Traceback' not in text
