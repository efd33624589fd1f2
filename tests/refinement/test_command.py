# Copyright (c) mmfdta authors.
"""The command on files: what it reads, writes, keeps, says and refuses."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mmfdta.cli.main import main
from mmfdta.structures.mot_text import read_tracks, write_tracks
from mmfdta.structures.track_embeddings import TrackEmbeddings
from mmfdta.structures.tracks import Tracks

ROWS = """1,1,10,20,30,60,0.25,2,-1,-1
2,1,12,20,30,60,0.5,2,-1,-1
5,1,18.125,20,30,60,0.75,2,-1,-1
1,2,200.12345,20,30,60,0.9,-1,-1,-1
3,2,202,20,30,60,0.9,-1,-1,-1
9,8,400,400,30,60,0.1,5,-1,-1
"""


def walk(frames, x=100.0, identity=1):
    boxes = [[x + 3 * frame, 80, 30, 70] for frame in frames]
    return Tracks.create(frames, [identity] * len(boxes), boxes)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Two people in two sequences, and tracks with gaps and a switch."""
    monkeypatch.chdir(tmp_path)
    for name in ('a', 'b'):
        people = walk(range(1, 31)), walk(range(1, 31), 400, 2)
        write_tracks(tmp_path / f'gt/{name}.txt', Tracks.concatenate(people))
        found = [
            *(walk([*range(1, 9), *range(13, 20)]), walk(range(23, 31), identity=7)),
            *(walk(range(1, 31), 400, 2), walk([3, 4], 700, 9)),
        ]
        write_tracks(tmp_path / f'out/{name}.txt', Tracks.concatenate(found))
    return tmp_path


def refuse(capsys, *arguments) -> str:
    capsys.readouterr()
    assert main(['refine', *map(str, arguments)]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    return line


def scores_of(text: str, row: str) -> list[str]:
    (line,) = [x for x in text.splitlines() if x.split()[:1] == [row]]
    return line.split()[1:]


def test_columns_stay_and_changes_are_counted(tmp_path, capsys):
    (tmp_path / 'in.txt').write_text(ROWS)
    out = tmp_path / 'better.txt'
    steps = ['--interpolate', '--remove-short', '2']
    assert main(['refine', str(tmp_path / 'in.txt'), '--out', str(out), *steps]) == 0
    lines = out.read_text().splitlines()
    kept, gone = ROWS.splitlines()[:5], ROWS.splitlines()[5]
    assert set(kept) <= set(lines)
    assert gone not in lines
    assert sorted(set(lines) - set(kept)) == [
        '2,2,201.062,20,30,60,0.9,-1,-1,-1',
        '3,1,14.042,20,30,60,0.583333,2,-1,-1',
        '4,1,16.083,20,30,60,0.666667,2,-1,-1',
    ]
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table[1:] == [
        ['remove-short', '3', '2', '6', '5', '0', '1', '0', '0'],
        ['interpolate', '2', '2', '5', '8', '3', '0', '0', '0'],
    ]


def test_scores_before_and_after_are_those_of_evaluate(scene, capsys):
    command = ['refine', 'out', '--out', 'better', '--gt', 'gt', '--join', '5']
    assert main([*command, '--interpolate', '--remove-short', '3']) == 0
    said = capsys.readouterr().out
    for results, row in (('out', 'before'), ('better', 'after')):
        assert main(['evaluate', '--gt', 'gt', '--results', results]) == 0
        assert scores_of(said, row) == scores_of(capsys.readouterr().out, 'COMBINED')
    assert scores_of(said, 'after')[0] == '100.000'
    assert float(scores_of(said, 'before')[0]) < 95


def evaluated(capsys, *arguments) -> list[str]:
    """Scores of all sequences that `evaluate` prints."""
    capsys.readouterr()
    assert main(['evaluate', '--gt', 'gt', *map(str, arguments)]) == 0
    return scores_of(capsys.readouterr().out, 'COMBINED')


def test_frames_after_are_read_as_those_before(scene, capsys):
    """Only a track that is removed is in frame 0."""
    for name in ('a', 'b'):
        (scene / f'gt/{name}/gt').mkdir(parents=True)
        text = scene / f'gt/{name}.txt'
        text.rename(scene / f'gt/{name}/gt/gt.txt')
        ini = f'[Sequence]\nname={name}\nseqLength=30\n'
        (scene / f'gt/{name}/seqinfo.ini').write_text(ini)
        people = [walk(range(3, 31)), walk(range(3, 31), 400, 2)]
        write_tracks(scene / f'right/{name}.txt', Tracks.concatenate(people))
        people = [replace(of, frame=of.frame - 1) for of in people]
        people.append(walk([0], 700, 9))
        write_tracks(scene / f'zero/{name}.txt', Tracks.concatenate(people))
    for out in ('better', 'one.txt'):
        chosen = ['--sequences', 'b'] if out == 'one.txt' else []
        command = ['refine', 'zero', '--gt', 'gt', '--out', out, '--remove-short']
        assert main([*command, *chosen]) == 0
        said = capsys.readouterr()
        expected = evaluated(capsys, '--results', 'right', *chosen)
        assert scores_of(said.out, 'after') == expected
        option = '--result-frame-numbers count0'
        assert f'mmfdta evaluate needs {option}' in said.err
        sides = [out] if out == 'better' else ['one.txt', '--gt', 'gt/b']
        assert evaluated(capsys, '--results', *sides, *option.split()) == expected


def test_a_half_is_the_same_before_and_after(scene, capsys):
    """Ground truth of the half, results of all frames."""
    for name in ('a', 'b'):
        (scene / f'gt/{name}/gt').mkdir(parents=True)
        whole = read_tracks(f'gt/{name}.txt')
        (scene / f'gt/{name}.txt').unlink()
        second = whole.select(whole.frame > 16)
        second = replace(second, frame=second.frame - 16)
        write_tracks(scene / f'gt/{name}/gt/gt_val_half.txt', second)
        ini = f'[Sequence]\nname={name}\nseqLength=30\n'
        (scene / f'gt/{name}/seqinfo.ini').write_text(ini)
    half = '--gt-file', 'gt_val_half.txt'
    command = ['refine', 'out', '--out', 'better', '--gt', 'gt', *half]
    assert main([*command, '--join', '5', '--interpolate']) == 0
    said = capsys.readouterr().out
    for row, results in (('before', 'out'), ('after', 'better')):
        assert scores_of(said, row) == evaluated(capsys, '--results', results, *half)


def test_identities_within_classes_stay_apart(scene, capsys):
    """What shows that they count within each class is removed."""

    def of_class(label, *tracks):
        return [replace(t, label=np.full(len(t), label)) for t in tracks]

    truth = [
        *of_class(0, walk(range(1, 31))),
        *of_class(1, walk(range(1, 31), 400, 2)),
    ]
    found = [
        *of_class(0, walk(range(1, 15)), walk([10], 700, 5)),
        *of_class(1, walk(range(16, 31), 400), walk([10], 900, 5)),
    ]
    for text in [*scene.glob('gt/*.txt'), *scene.glob('out/*.txt')]:
        text.unlink()
    write_tracks('gt/a.txt', Tracks.concatenate(truth), numbers=[1, 2])
    write_tracks('out/a.txt', Tracks.concatenate(found), numbers=[1, 2])
    right = [found[0], replace(found[2], identity=found[2].identity + 1)]
    write_tracks('right/a.txt', Tracks.concatenate(right), numbers=[1, 2])
    expected = evaluated(capsys, '--results', 'right')
    for more in (['--gt', 'gt'], []):
        command = ['refine', 'out', '--out', f'better{len(more)}', '--remove-short']
        assert main([*command, *more]) == 0
        said = capsys.readouterr()
        assert 'identities count within each class; those of all but' in said.err
        if more:
            assert scores_of(said.out, 'after') == expected
        assert evaluated(capsys, '--results', f'better{len(more)}') == expected


@pytest.mark.parametrize('kept', [0, 1], ids=['nothing', 'a part'])
def test_what_is_left_after_removal_is_scored_as_it_is(scene, capsys, kept):
    """Not as results that were broken off."""
    short = [row for n in (1, 7, 13) for row in rows_of(n, range(n, n + 4))]
    whole = rows_of(40, range(1, 9)) if kept else []
    (scene / 'out/b.txt').unlink()
    (scene / 'out/a.txt').write_text(''.join(short + whole))
    (scene / 'gt/a.txt').write_text(''.join(rows_of(1, range(1, 17))))
    command = ['refine', 'out/a.txt', '--out', 'few.txt', '--gt', 'gt/a.txt']
    assert main([*command, '--remove-short', '5']) == 0
    said = capsys.readouterr().out
    assert len((scene / 'few.txt').read_text().splitlines()) == 8 * kept
    hota = float(scores_of(said, 'after')[0])
    assert (hota == 0) == (not kept)


def rows_of(identity, frames):
    """Rows of text of somebody who walks to the right."""
    return [f'{frame},{identity},{4 * frame},20,30,60,1,1,1\n' for frame in frames]


def test_without_a_step_the_usual_ones_are_taken(scene, capsys):
    assert main(['refine', 'out', '--out', 'usual', '--report', 'report.json']) == 0
    said = capsys.readouterr().out
    names = [line.split()[0] for line in said.splitlines()[1:]]
    report = json.loads((scene / 'report.json').read_text())['out']
    assert set(report) == {'a', 'b'}
    assert [change['step'].replace('_', '-') for change in report['a']] == names
    assert report['a'][0]['joins'][0]['identity'] == 1
    assert report['a'][0]['joins'][0]['joined'] == 7
    assert report['a'][1]['removed_tracks'] == [[-1, 9]]


def test_several_trackers_zips_and_an_empty_text(scene, capsys):
    shutil.copytree('out', 'runs/one/data')
    shutil.copytree('out', 'runs/two/data')
    (scene / 'runs/two/data/a.txt').write_text('')
    assert main(['refine', 'runs', '--out', 'all', '--gt', 'gt']) == 0
    said = capsys.readouterr().out
    assert {'one', 'two'} == {p.name for p in (scene / 'all').iterdir()}
    assert (scene / 'all/two/a.txt').read_text() == ''
    assert said.count('interpolate') == 2
    assert 'one before' in said
    assert 'two after' in said
    shutil.make_archive('packed', 'zip', 'out')
    assert main(['refine', 'packed.zip', '--out', 'unpacked']) == 0
    assert main(['refine', 'out', '--out', 'plain']) == 0
    for name in ('a.txt', 'b.txt'):
        texts = [(scene / x / name).read_text() for x in ('unpacked', 'plain')]
        assert texts[0] == texts[1] == (scene / 'all/one' / name).read_text()
    capsys.readouterr()
    assert main(['refine', 'out', '--out', 'some', '--sequences', 'b*']) == 0
    assert [p.name for p in (scene / 'some').iterdir()] == ['b.txt']


def test_embeddings_beside_the_text_forbid_a_join(scene, capsys):
    tracks = read_tracks('out/a.txt')
    join = ['--join', '5', '--sequences', 'a', '--embeddings']
    for other, joined in (([1, 0], True), ([0, 1], False)):
        looks = np.where((tracks.identity == 7)[:, None], other, [1, 0])
        columns = tracks.frame, tracks.identity, tracks.label
        TrackEmbeddings(*columns, looks.astype(np.float32)).save('out/a.npz')
        assert main(['refine', 'out', '--out', 'better', *join]) == 0
        assert (7 in read_tracks('better/a.txt').identity) != joined
    line = refuse(capsys, 'out', '--out', 'x', '--embeddings')
    assert line == (
        'mmfdta refine: out/b.npz: no such file, expected embeddings of tracks'
    )
    columns = tracks.frame + 500, tracks.identity, tracks.label
    TrackEmbeddings(*columns, looks.astype(np.float32)).save('far/a.npz')
    line = refuse(capsys, 'out/a.txt', '--out', 'x', '--embeddings', 'far')
    assert 'found embeddings of no box' in line
    assert not (scene / 'x').exists()


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(scene, capsys):
    line = refuse(capsys, 'out', '--out', 'out')
    assert line == (
        'mmfdta refine: --out: out/a.txt is what is refined; name another folder'
    )
    assert 'expected a folder, or a .txt of one' in refuse(
        capsys, 'out', '--out', 'x.txt'
    )
    assert 'no such folder' in refuse(capsys, 'nowhere', '--out', 'x')
    assert 'no results of c' in refuse(capsys, 'out', '--out', 'x', '--sequences', 'c')
    assert '--half: says how tracks are scored' in refuse(
        capsys, 'out', '--out', 'x', '--half', 'first'
    )
    for row, said in (('1,1,0,0,5', 'out/a.txt:1: found 5 columns'), (
        '1,4,0,0,5,5\n1,4,9,9,5,5', 'out/a.txt:2: identity 4 occurs again in frame 1'
    )):  # fmt: skip
        (scene / 'out/a.txt').write_text(row)
        assert said in refuse(capsys, 'out', '--out', 'x')
    assert not (scene / 'x').exists()


def test_sequences_are_found_as_evaluate_finds_them(scene, capsys):
    """A name that looks like a pattern, and MOT17's names of a copy."""
    for side in ('gt', 'out'):
        (scene / f'{side}/a.txt').rename(scene / f'{side}/cam[1].txt')
        (scene / f'{side}/b.txt').rename(scene / f'{side}/cam1.txt')
    assert main(['refine', 'out', '--out', 'x', '--sequences', 'cam[1]']) == 0
    assert [path.name for path in (scene / 'x').iterdir()] == ['cam[1].txt']
    (scene / 'gt/cam1.txt').rename(scene / 'gt/MOT17-02-FRCNN.txt')
    (scene / 'out/cam1.txt').rename(scene / 'out/MOT17-02.txt')
    for number, wanted in enumerate(('MOT17-02-FRCNN', 'MOT17-*-FRCNN')):
        chosen = ['--gt', 'gt', '--sequences', wanted]
        assert main(['refine', 'out', '--out', f'y{number}', *chosen]) == 0
        said = capsys.readouterr().out
        assert [p.name for p in (scene / f'y{number}').iterdir()] == ['MOT17-02.txt']
        for results, row in (('out', 'before'), (f'y{number}', 'after')):
            expected = evaluated(capsys, '--results', results, '--sequences', wanted)
            assert scores_of(said, row) == expected


def test_embeddings_of_one_sequence_are_not_those_of_others(scene, capsys):
    for name in ('a', 'b'):
        tracks = read_tracks(f'out/{name}.txt')
        columns = tracks.frame, tracks.identity, tracks.label
        TrackEmbeddings(*columns, np.ones((len(tracks), 4), np.float32)).save(
            scene / f'{name}.npz'
        )
    command = 'out', '--out', 'x', '--embeddings', 'a.npz', '--join'
    assert '--embeddings: found the file a.npz for 2 sequences' in refuse(
        capsys, *command
    )
    assert not (scene / 'x').exists()
    assert main(['refine', *command, '--sequences', 'a']) == 0


def test_frames_that_lie_apart_are_asked_about(scene, capsys):
    write_tracks('slow/a.txt', walk([*range(5, 60, 5), *range(70, 100, 5)]))
    assert main(['refine', 'slow', '--out', 'x', '--interpolate']) == 0
    said = capsys.readouterr().err
    assert 'slow/a.txt: all frames are 5 apart' in said
    steps = ['--interpolate', '--frame-step', '5']
    assert main(['refine', 'slow', '--out', 'y', *steps]) == 0
    assert capsys.readouterr().err == ''
    assert read_tracks('y/a.txt').frame.tolist() == list(range(5, 100, 5))
    line = refuse(capsys, 'out', '--out', 'z', '--frame-step', '2')
    assert 'found frames 1 and 2, expected multiples of --frame-step 2' in line


def test_frame_numbers_from_zero_stay(scene):
    write_tracks('zero/a.txt', walk([0, 1, 4]))
    assert main(['refine', 'zero', '--out', 'x', '--interpolate']) == 0
    assert read_tracks('out/a.txt').frame.min() == 1
    frames = [int(x.split(',')[0]) for x in (scene / 'x/a.txt').read_text().split()]
    assert frames == [0, 1, 2, 3, 4]


def kitti_rows(frames):
    end = '-1 -1 -1 -1000 -1000 -1000 -10'
    return ''.join(
        f'{f} 3 Car 0 0 -10 {10 + f} 20 {60 + f} 50 {end} 0.5\n' for f in frames
    )


def test_kitti_becomes_text_that_scores_with_its_ground_truth(scene, capsys):
    for place, frames in (('gt', range(12)), ('found', [0, 1, 2, 5, 6, 7, 8, 9, 11])):
        path = scene / f'kitti/{place}/label_02/0000.txt'
        path.parent.mkdir(parents=True)
        rows = kitti_rows(frames)
        if place == 'gt':
            rows = rows.replace(' 0.5', '')
        else:
            rows += kitti_rows([4]).replace('4 3 Car', '4 -1 Car')
        path.write_text(rows)
    steps = ['--interpolate', '--out', 'better']
    assert main(['refine', 'kitti/found/label_02', *steps]) == 0
    assert '1 rows of a negative identity' in capsys.readouterr().err
    found = read_tracks('better/0000.txt')
    assert found.frame.tolist() == list(range(1, 13))
    assert set(found.label.tolist()) == {1}
    assert main(['refine', 'kitti/found/label_02', *steps, '--gt', 'kitti/gt']) == 0
    said = capsys.readouterr().out
    car = [line for line in said.splitlines() if line.startswith('after / car')]
    assert car[0].split()[3] == '100.000'


def test_json_of_coco_vid_needs_its_ground_truth_and_stays_json(scene, capsys):
    truth = dict(
        videos=[dict(id=1, name='v')],
        images=[dict(id=100 + f, video_id=1, frame_id=f) for f in range(6)],
        categories=[dict(id=3, name='car')],
        annotations=[
            dict(
                id=f, image_id=100 + f, category_id=3, instance_id=1, bbox=[f, 0, 9, 9]
            )
            for f in range(6)
        ],
    )
    (scene / 'truth.json').write_text(json.dumps(truth))
    found = [
        dict(image_id=100 + f, category_id=3, track_id=5, bbox=[f, 0, 9, 9], score=0.5)
        for f in (0, 1, 4, 5)
    ]
    (scene / 'found.json').write_text(json.dumps(found))
    assert '--gt' in refuse(capsys, 'found.json', '--out', 'x')
    command = ['refine', 'found.json', '--out', 'x', '--interpolate']
    assert main([*command, '--gt', 'truth.json']) == 0
    records = json.loads((scene / 'x/found.json').read_text())
    assert [r['image_id'] for r in records] == list(range(100, 106))
    assert records[2]['bbox'] == [2, 0, 9, 9]
    assert {(r['track_id'], r['category_id']) for r in records} == {(5, 3)}
    assert scores_of(capsys.readouterr().out.replace(' / car', ''), 'after')[0] == (
        '100.000'
    )


def test_json_of_bdd100k_becomes_text(scene):
    box = lambda f: dict(x1=f, y1=0, x2=f + 9, y2=9)  # noqa: E731
    frames = [
        dict(index=f, labels=[dict(id='5', category='car', box2d=box(f))])
        for f in (0, 1, 4)
    ]
    frames += [dict(index=f, labels=[]) for f in (2, 3)]
    (scene / 'bdd').mkdir()
    (scene / 'bdd/v.json').write_text(json.dumps(frames))
    assert main(['refine', 'bdd', '--out', 'x', '--interpolate']) == 0
    found = read_tracks('x/v.txt')
    assert found.frame.tolist() == [1, 2, 3, 4, 5]
    assert set(found.label.tolist()) == {4}
