# Copyright (c) mmfdta authors.
"""BDD100K, TAO and COCO-VID JSON against the official classes, and their faults."""

import copy
import json

import numpy as np
import pytest
from trackeval.datasets import BDD100K, TAO

from mmfdta.cli.main import main
from mmfdta.evaluation import Settings, evaluate
from mmfdta.evaluation.formats import open_truth

from .formats_oracle import (
    assert_equal_official,
    check,
    load_sides,
    random_boxes,
    random_sides,
)
from .oracle import METRICS

CATEGORIES = (
    *('pedestrian', 'rider', 'car', 'car', 'car', 'truck', 'bicycle'),
    *('other person', 'trailer', 'other vehicle'),
)


def dump(path, document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def bdd_label(identity, category, corners, **more) -> dict:
    box = dict(zip(('x1', 'y1', 'x2', 'y2'), map(float, corners), strict=True))
    return {'id': str(identity), 'category': category, 'box2d': box, **more}


def bdd_frames(tracks, frames: int, categories, rng, attributes: bool) -> list[dict]:
    found = []
    for frame in rng.permutation(frames):
        labels = []
        here = tracks.select(tracks.frame == frame + 1)
        for identity, corners in zip(here.identity, here.xyxy, strict=True):
            more = {'score': 0.5}
            if attributes and rng.random() < 0.8:
                more = {'attributes': {'Crowd': bool(rng.random() < 0.2)}}
            labels.append(
                bdd_label(identity, categories[identity], corners.round(2), **more)
            )
        found.append({'name': f'{frame}', 'index': int(frame), 'labels': labels})
    return found


def write_bdd(folder, seeds) -> None:
    for seed in seeds:
        rng, frames, gt, pred = random_sides(seed)
        categories = rng.choice(CATEGORIES, 64)
        documents = {
            'gt': bdd_frames(gt, frames, categories, rng, True),
            'tracker/data': bdd_frames(pred, frames, categories, rng, False),
        }
        if seed % 2:  # large regions
            for frame in documents['gt']:
                box = random_boxes(rng, 'float', 1)[0]
                box[2:] += box[:2] + 60
                frame['labels'].append(bdd_label(900, 'trailer', box.round(2)))
        for place, document in documents.items():
            dump(folder / place / f'{seed:08x}-{seed:08x}.json', document)


def official_bdd(folder) -> BDD100K:
    return BDD100K(
        {
            'GT_FOLDER': str(folder / 'gt'),
            'TRACKERS_FOLDER': str(folder),
            'TRACKERS_TO_EVAL': ['tracker'],
            'PRINT_CONFIG': False,
        }
    )


def test_bdd100k_equals_official(tmp_path):
    write_bdd(tmp_path, range(32))
    assert_equal_official(tmp_path / 'gt', tmp_path / 'tracker', official_bdd(tmp_path))


def test_ids_of_bdd100k_that_are_one_number_stay_apart(tmp_path):
    labels = [
        bdd_label(identity, 'car', (20 * i, 0, 20 * i + 9, 9))
        for i, identity in enumerate(('1', '01', '2', 1))
    ]
    frames = [
        {'index': 0, 'labels': labels[:3]},
        {'index': 1, 'labels': labels[1:]},
    ]
    dump(tmp_path / 'gt' / 'a.json', frames)
    found = open_truth(tmp_path / 'gt').read('a').tracks
    first, second, third = found.identity[:3].tolist()
    assert len({first, second, third}) == 3
    assert found.identity[3:].tolist() == [second, third, first]


def test_newer_bdd100k_is_the_same(tmp_path):
    """Newer files have other keys, and null for a frame without objects."""
    write_bdd(tmp_path, [4, 5])
    _, before, _ = load_sides(tmp_path / 'gt', tmp_path / 'tracker')
    for path in (tmp_path / 'gt').glob('*.json'):
        text = path.read_text().replace('"index"', '"frameIndex"')
        text = text.replace('"Crowd"', '"crowd"').replace(
            '"labels": []', '"labels": null'
        )
        path.write_text(text)
    _, after, _ = load_sides(tmp_path / 'gt', tmp_path / 'tracker')
    for one, other in zip(before, after, strict=True):
        assert (one.gt.xyxy == other.gt.xyxy).all()
        assert (one.ignored.xyxy == other.ignored.xyxy).all()


def coco_scenes(seeds, tao: bool) -> tuple[dict, list[dict]]:
    """Draw a ground truth and the results of several videos."""
    rng = np.random.default_rng(seeds[0])
    numbers = [3, 5, 8, 11, 20, 31]
    gt: dict = {'videos': [], 'images': [], 'annotations': [], 'tracks': []}
    gt['categories'] = [{'id': n, 'name': f'class {n}'} for n in numbers]
    if tao:
        gt['categories'][0]['merged'] = [{'id': 5, 'name': 'class 5'}]
    results = []
    for seed in seeds:
        _, frames, truth, pred = random_sides(seed)
        video = {'id': seed + 7, 'name': f'part/{seed}', 'width': 9, 'height': 9}
        if tao:
            video['neg_category_ids'] = rng.choice(numbers, 1).tolist()
            video['not_exhaustive_category_ids'] = rng.choice(numbers, 1).tolist()
        gt['videos'].append(video)
        key = 'frame_index' if tao else 'frame_id'
        for frame in rng.permutation(frames):
            gt['images'].append(
                {
                    'id': seed * 100 + int(frame),
                    'video_id': seed + 7,
                    key: int(frame) * 3,
                }
            )
        category = rng.choice(numbers[:5], 64)
        for side, tracks in ((gt['annotations'], truth), (results, pred)):
            if side is results:
                category = np.where(
                    rng.random(64) < 0.7, category, rng.choice(numbers, 64)
                )
            for frame, identity, box in zip(
                tracks.frame, tracks.identity, tracks.xywh.round(2), strict=True
            ):
                record = {
                    'image_id': seed * 100 + int(frame) - 1,
                    'video_id': seed + 7,
                    'category_id': int(category[identity]),
                    'bbox': box.tolist(),
                }
                # Identities are of the whole ground truth, those of results repeat.
                number = int(identity) + (seed * 100 if side is not results else 0)
                record['track_id' if tao else 'instance_id'] = number
                if side is results:
                    record['score'] = round(rng.random(), 2)
                else:
                    record['id'] = len(side)
                    record['iscrowd'] = int(not tao and rng.random() < 0.2)
                side.append(record)
        if not tao:  # large regions, each for its category
            for frame in range(frames):
                box = (random_boxes(rng, 'float', 1)[0] + [0, 0, 60, 60]).round(2)
                gt['annotations'].append(
                    {
                        'image_id': seed * 100 + frame,
                        'category_id': int(rng.choice(numbers[:5])),
                        'bbox': box.tolist(),
                        'instance_id': -1,
                        'iscrowd': 1,
                    }
                )
    seen = {}
    for record in gt['annotations']:
        number = record.get('track_id', record.get('instance_id'))
        seen[number] = {'id': number, 'category_id': record['category_id']}
    gt['tracks'] = list(seen.values())
    rng.shuffle(results)
    return gt, results


def write_texts(folder, gt: dict, results: list[dict]) -> None:
    """Write results as MOTChallenge text, frames counted from 1."""
    folder.mkdir()
    place = {image['id']: image for image in gt['images']}
    for video in gt['videos']:
        rows = []
        for r in results:
            image = place[r['image_id']]
            if image['video_id'] == video['id']:
                frame = image.get('frame_id', image.get('frame_index')) // 3 + 1
                identity = r.get('instance_id', r.get('track_id'))
                rows.append(
                    f'{frame},{identity},{",".join(map(str, r["bbox"]))},{r["score"]},'
                    f'{r["category_id"]},-1,-1\n'
                )
        name = video['name'].replace('/', '-')
        (folder / f'{name}.txt').write_text(''.join(rows))


def test_tao_equals_official(tmp_path):
    gt, results = coco_scenes(range(20), tao=True)
    first = gt['annotations'][0]
    results += [
        {
            'image_id': first['image_id'],
            'category_id': first['category_id'],  # so that they count
            'bbox': [float(i % 20) * 9, float(i // 20) * 9, 30.0, 40.0],
            'track_id': 1000 + i,
            'score': i % 7 / 7,
        }
        for i in range(320)
    ]
    keys = 'image_id', 'category_id', 'bbox'
    results.append({**{key: first[key] for key in keys}, 'track_id': 2, 'score': 1.0})
    dump(tmp_path / 'gt' / 'val.json', gt)
    dump(tmp_path / 'tracker' / 'data' / 'results.json', results)
    dataset = TAO(
        {
            'GT_FOLDER': str(tmp_path / 'gt'),
            'TRACKERS_FOLDER': str(tmp_path),
            'TRACKERS_TO_EVAL': ['tracker'],
            'PRINT_CONFIG': False,
        }
    )
    assert_equal_official(tmp_path / 'gt', tmp_path / 'tracker', dataset)
    tracker, _, remarks = load_sides(tmp_path / 'gt', tmp_path / 'tracker')
    assert tracker.truth.benchmark == 'tao'
    assert any('beyond the 300' in remark for remark in remarks)
    assert any('classes without ground truth' in remark for remark in remarks)
    # The same results as text.
    assert {5, 31} <= {record['category_id'] for record in results}  # one is merged
    write_texts(tmp_path / 'text', gt, results)
    assert_equal_official(tmp_path / 'gt', tmp_path / 'text', dataset)
    assert load_sides(tmp_path / 'gt', tmp_path / 'text')[2] == remarks


def test_text_of_a_class_that_no_category_has(tmp_path, capsys):
    dump(tmp_path / 'gt.json', COCO)
    (tmp_path / 'a.txt').write_text('1,4,0,0,9,9,1,1,-1,-1\n2,4,0,0,9,9,1,2,-1,-1\n')
    sides = ['--gt', str(tmp_path / 'gt.json'), '--results', str(tmp_path / 'a.txt')]
    assert main(['evaluate', *sides]) == 1
    assert 'a.txt:2: found class 2 in column 8' in capsys.readouterr().err


def test_text_of_a_video_without_images(tmp_path, capsys):
    videos = [*COCO['videos'], {'id': 2, 'name': 'b'}]
    dump(tmp_path / 'gt.json', {**COCO, 'videos': videos})
    (tmp_path / 'text').mkdir()
    for name in 'ab':
        (tmp_path / f'text/{name}.txt').write_text('1,4,0,0,9,9,1,1,-1,-1\n')
    sides = ['--gt', str(tmp_path / 'gt.json'), '--results', str(tmp_path / 'text')]
    assert main(['evaluate', *sides]) == 1
    assert 'b.txt:1: found frame 1' in capsys.readouterr().err


@pytest.mark.parametrize('some', [True, False])
def test_text_without_a_class_can_be_of_one(tmp_path, capsys, some):
    """The option fills in what the text with every class says."""
    truth = copy.deepcopy(COCO)
    truth['categories'].append({'id': 2, 'name': 'bus'})
    truth['annotations'] += [
        {**record, 'category_id': 2, 'instance_id': 5, 'bbox': [50, 0, 9, 9]}
        for record in COCO['annotations']
    ]
    dump(tmp_path / 'gt.json', truth)
    cars = ['1,4,0,1,9,9,1,1,-1,-1', '2,4,0,1,9,9,1,1,-1,-1']
    buses = ['1,5,50,0,9,9,1,2,-1,-1'] if some else []

    def score(rows, *options) -> tuple[int, str, str]:
        (tmp_path / 'a.txt').write_text('\n'.join(rows) + '\n')
        sides = '--gt', str(tmp_path / 'gt.json'), '--results', str(tmp_path / 'a.txt')
        code = main(['evaluate', *sides, *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    _, expected, _ = score(cars + buses)
    bare = [row.replace(',1,1,-1,-1', ',1') for row in cars]  # of seven columns
    bare = [row.replace(',1,1,-1', ',1,-1,-1') for row in cars] if some else bare
    for options in ((), ('--classes', 'car', 'bus')):
        code, found, _ = score(bare + buses, '--unclassed', 'car', *options)
        assert (code, found) == (0, expected)
    unclassed = [row.replace(',1,1,-1', ',1,-1,-1') for row in cars]
    code, _, said = score(unclassed + buses)
    assert code == (not some) and '--unclassed NAME' in said
    code, _, said = score(bare + buses, '--unclassed', 'cat')
    assert code == 1 and "found 'cat', expected one of car, bus" in said


@pytest.mark.parametrize('as_annotations', [False, True])
def test_coco_vid_equals_official_class_by_class(tmp_path, as_annotations):
    """Of one class, it is what BDD100K's official class does with crowds."""
    gt, results = coco_scenes(range(40, 56), tao=False)
    dump(tmp_path / 'gt.json', gt)
    document = {**gt, 'annotations': results} if as_annotations else results
    dump(tmp_path / 'results.json', document)
    tracker, sequences, remarks = load_sides(
        tmp_path / 'gt.json', tmp_path / 'results.json'
    )
    assert any('classes without ground truth' in remark for remark in remarks)
    ours = evaluate(sequences, Settings(classes=tracker.truth.classes))
    assert len(ours.classes) == 5
    place = {image['id']: image for image in gt['images']}
    videos = {video['id']: video['name'] for video in gt['videos']}
    for name, number in tracker.truth.classes.items():
        folder = tmp_path / str(number)
        for side, records in (('gt', gt['annotations']), ('tracker/data', results)):
            frames = {
                key: {'index': image['frame_id'], 'labels': []}
                for key, image in place.items()
            }
            for record in records:
                if record['category_id'] != number:
                    continue
                left, top, width, height = record['bbox']
                corners = left, top, left + width, top + height
                crowd = {'Crowd': bool(record.get('iscrowd'))}
                frames[record['image_id']]['labels'].append(
                    bdd_label(record['instance_id'], 'car', corners, attributes=crowd)
                )
            for video, title in videos.items():
                dump(
                    folder / side / f'{title.replace("/", "-")}.json',
                    [f for key, f in frames.items() if place[key]['video_id'] == video],
                )
        dataset = official_bdd(folder)
        for sequence in dataset.seq_list:
            raw = dataset.get_raw_seq_data('tracker', sequence)
            data = dataset.get_preprocessed_seq_data(raw, 'car')
            official = [metric.eval_sequence(data) for metric in METRICS]
            check(ours.of_sequence(sequence, name), official, f'{name} {sequence}')


def test_text_results_for_a_json_ground_truth(tmp_path):
    """MOTChallenge text is read, too; column 8 has the numbers of the categories."""
    gt, results = coco_scenes([44, 45], tao=False)
    dump(tmp_path / 'gt.json', gt)
    dump(tmp_path / 'results.json', results)
    write_texts(tmp_path / 'text', gt, results)
    scores = []
    for path in ('results.json', 'text'):
        tracker, sequences, _ = load_sides(tmp_path / 'gt.json', tmp_path / path)
        ours = evaluate(sequences, Settings(classes=tracker.truth.classes))
        scores.append(ours.over_detections()['HOTA'].tolist())
    assert scores[0] == scores[1]


COCO = {
    'videos': [{'id': 1, 'name': 'a'}],
    'images': [
        {'id': 1, 'video_id': 1, 'frame_id': 0},
        {'id': 2, 'video_id': 1, 'frame_id': 1},
    ],
    'annotations': [
        {'image_id': 1, 'category_id': 1, 'instance_id': 4, 'bbox': [0, 0, 9, 9]},
        {'image_id': 2, 'category_id': 1, 'instance_id': 4, 'bbox': [0, 0, 9, 9]},
    ],
    'categories': [{'id': 1, 'name': 'car'}],
}
RESULTS = [
    {'image_id': 1, 'category_id': 1, 'track_id': 4, 'bbox': [0, 0, 9, 9], 'score': 1},
    {'image_id': 2, 'category_id': 1, 'track_id': 4, 'bbox': [0, 0, 9, 9], 'score': 1},
]
BDD = [
    {'index': 0, 'labels': [bdd_label(1, 'car', (0, 0, 9, 9))]},
    {'index': 1, 'labels': [bdd_label(1, 'car', (0, 0, 9, 9))]},
]


def test_command_scores_json(tmp_path, capsys):
    dump(tmp_path / 'gt.json', COCO)
    dump(tmp_path / 'results.json', RESULTS)
    files = str(tmp_path / 'gt.json'), str(tmp_path / 'results.json')
    assert main(['evaluate', '--gt', files[0], '--results', files[1]]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].split()[1] == '100.000'
    assert 'the ground truth is COCO-VID JSON' in captured.err


def test_a_table_of_many_classes_and_sequences_is_short(tmp_path, capsys):
    """TAO has 800 classes and 1,000 videos; only --out keeps all of them."""
    gt: dict = {'videos': [], 'images': [], 'annotations': []}
    gt['categories'] = [{'id': n, 'name': f'c{n}'} for n in range(20)]
    for number in range(60):
        gt['videos'].append({'id': number, 'name': f'v{number}'})
        gt['images'].append({'id': number, 'video_id': number, 'frame_id': 0})
        annotation = {'image_id': number, 'category_id': number % 20, 'track_id': 1}
        gt['annotations'].append({**annotation, 'bbox': [0, 0, 9, 9]})
    dump(tmp_path / 'gt.json', gt)
    dump(tmp_path / 'results.json', gt['annotations'])
    files = (
        '--gt',
        str(tmp_path / 'gt.json'),
        '--results',
        str(tmp_path / 'results.json'),
    )
    out = tmp_path / 'scores.csv'
    assert main(['evaluate', *files, '--out', str(out), '--processes', '1']) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1 + 20 + 2
    assert '20 classes in 60 sequences' in captured.err
    assert len(out.read_text().splitlines()) == 1 + 20 * 61 + 2


def change(document, keys, value):
    """Return the document with another value at a path of keys; None removes it."""
    changed = copy.deepcopy(document)
    inside = changed
    for key in keys[:-1]:
        inside = inside[key]
    if value is None:
        del inside[keys[-1]]
    elif keys[-1] == '+':
        inside.append(value)
    else:
        inside[keys[-1]] = value
    return changed


NOTE, BOX = 'annotations', ('annotations', 1, 'bbox')
COCO_FAULTS = {
    'no images': (('images',), None, "no 'images'"),
    'no annotations': ((NOTE,), None, "no 'annotations'"),
    'no categories': (('categories',), None, "no 'categories'"),
    'no videos': (('videos',), None, "no 'videos'"),
    'images an object': (('images',), {'1': {}}, '.images: found an object'),
    'videos null': (('videos',), [None], 'videos[0]: found null'),
    'no name': (('videos', 0, 'name'), None, "videos[0]: found no 'name'"),
    'no frame': (('images', 1, 'frame_id'), None, "images[1]: found no 'frame_id'"),
    'no video': (('images', 1, 'video_id'), None, "images[1]: found no 'video_id'"),
    'other video': (('images', 1, 'video_id'), 5, 'images[1].video_id: found 5'),
    'frame twice': (('images', 1, 'frame_id'), 0, 'images[1].frame_id: found 0 of'),
    'image twice': (('images', 1, 'id'), 1, 'images[1].id: found 1 again'),
    'frame a word': (('images', 1, 'frame_id'), 'x', 'images[1].frame_id: found text'),
    'half a frame': (('images', 1, 'frame_id'), 0.5, 'expected a whole number'),
    'category': ((NOTE, 1, 'category_id'), 9, 'annotations[1].category_id: found 9'),
    'category -1': ((NOTE, 1, 'category_id'), -1, 'category_id: found -1'),
    'category 0': ((NOTE, 1, 'category_id'), 0, 'category_id: found 0'),
    'category a name': ((NOTE, 1, 'category_id'), 'car', 'category_id: found text'),
    'no category': ((NOTE, 1, 'category_id'), None, "found no 'category_id'"),
    'category twice': (('categories', '+'), {'id': 1, 'name': 'b'}, 'categories[1]'),
    'image beyond': ((NOTE, 1, 'image_id'), 3, 'annotations[1].image_id: found 3'),
    'image 0': ((NOTE, 1, 'image_id'), 0, 'annotations[1].image_id: found 0'),
    'image text': ((NOTE, 1, 'image_id'), '2', "annotations[1].image_id: found '2'"),
    'no image': ((NOTE, 1, 'image_id'), None, "annotations[1]: found no 'image_id'"),
    'image null': ((NOTE, 1, 'image_id'), [2], 'annotations[1].image_id: found a list'),
    'identity twice': ((NOTE, 1, 'image_id'), 1, 'found identity 4 of class car again'),
    'no identity': (
        (NOTE, 1, 'instance_id'),
        None,
        "annotations[1]: found no 'track_id'",
    ),
    'half an identity': (
        (NOTE, 1, 'instance_id'),
        1.5,
        'expected a whole',
    ),
    'no box': (BOX, None, "annotations[1]: found no 'bbox'"),
    'three numbers': (BOX, [0, 0, 9], 'annotations[1].bbox: found 3 values'),
    'five numbers': (BOX, [0, 0, 9, 9, 1], 'annotations[1].bbox: found 5 values'),
    'a word': (BOX, [0, 0, 'x', 9], "annotations[1].bbox: found 'x'"),
    'null in a box': (BOX, [0, 0, [], 9], 'annotations[1].bbox: found []'),
    'an object as box': (BOX, {'x': 0}, 'annotations[1].bbox: found an object'),
    'nothing': ((NOTE,), [], 'found no annotations'),
}


@pytest.mark.parametrize('case', COCO_FAULTS)
def test_faults_of_coco_vid_are_one_line(tmp_path, capsys, case):
    keys, value, message = COCO_FAULTS[case]
    dump(tmp_path / 'gt.json', change(COCO, keys, value))
    dump(tmp_path / 'results.json', RESULTS)
    fault(tmp_path, capsys, 'gt.json', 'results.json', message, 'gt.json')


RESULT_FAULTS = {
    'image beyond': ((1, 'image_id'), 3, '[1].image_id: found 3'),
    'category': ((1, 'category_id'), 9, '[1].category_id: found 9'),
    'no category': ((1, 'category_id'), None, "[1]: found no 'category_id'"),
    'no identity': ((1, 'track_id'), None, "[1]: found no 'track_id'"),
    'identity twice': ((1, 'image_id'), 1, 'identity 4 of class car again'),
    'three numbers': ((1, 'bbox'), [0, 0, 9], '[1].bbox: found 3 values'),
    'score a word': ((1, 'score'), 'x', "found 'x' for score"),
    'score NaN': ((1, 'score'), float('nan'), 'for score, expected a number'),
    'box infinite': ((1, 'bbox'), [0, 0, float('inf'), 1], 'expected a number'),
    'a number': ((1,), 5, '[1]: found a whole number, expected an object'),
    'other video': ((1, 'video_id'), 3, '[1].video_id: found 3'),
}


@pytest.mark.parametrize('case', RESULT_FAULTS)
def test_faults_of_results_are_one_line(tmp_path, capsys, case):
    keys, value, message = RESULT_FAULTS[case]
    dump(tmp_path / 'gt.json', COCO)
    dump(tmp_path / 'results.json', change(RESULTS, keys, value))
    fault(tmp_path, capsys, 'gt.json', 'results.json', message, 'results.json')


@pytest.mark.parametrize('kind', ['json', 'txt'])
def test_a_broken_tracker_leaves_the_others(tmp_path, capsys, kind):
    other = {**COCO['categories'][0], 'id': 2, 'name': 'bus'}
    dump(tmp_path / 'gt.json', {**COCO, 'categories': [*COCO['categories'], other]})
    paths = [tmp_path / name / f'a.{kind}' for name in ('right', 'wrong')]
    for path, category in zip(paths, (2, 3), strict=True):
        dump(path, change(RESULTS, (1, 'category_id'), category))
        if kind == 'txt':
            rows = [f'1,4,0,0,9,9,1,{number},-1,-1\n' for number in (1, category)]
            path.write_text(rows[0] + rows[1].replace('1,4', '2,4', 1))
    command = ['evaluate', '--gt', str(tmp_path / 'gt.json'), '--results']
    assert main([*command, str(paths[0].parent)]) == 0
    *_, expected = capsys.readouterr().out.splitlines()
    assert main([*command, *(str(path.parent) for path in paths)]) == 1
    captured = capsys.readouterr()
    *_, row = captured.out.splitlines()
    assert row.split()[0] == 'right' and row.split()[1:] == expected.split()[1:]
    said = captured.err.splitlines()
    assert any('right: 1 results are of classes without' in line for line in said)
    (line,) = [line for line in said if 'wrong: not scored: ' in line]
    assert f'{paths[1]}:' in line and 'found' in line


def test_trackers_of_one_name_in_two_formats_are_both_scored(tmp_path, capsys):
    dump(tmp_path / 'gt.json', COCO)
    dump(tmp_path / 'json' / 'ours' / 'a.json', RESULTS)
    for name in ('ours', 'theirs'):
        path = tmp_path / 'texts' / name / 'a.txt'
        path.parent.mkdir(parents=True)
        path.write_text('1,4,0,0,9,9,1,1,-1,-1\n')
    results = [str(tmp_path / name) for name in ('json/ours', 'texts')]
    paths = ['--gt', str(tmp_path / 'gt.json'), '--results', *results]
    assert main(['evaluate', *paths, '--frames', 'all']) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert {row[0]: row[2] for row in rows} == {
        results[0]: '100.000',
        f'{results[1]}/ours': '50.000',
        'theirs': '50.000',
    }


def test_text_results_that_count_from_zero(tmp_path, capsys):
    dump(tmp_path / 'gt.json', COCO)
    dump(tmp_path / 'results.json', RESULTS)
    text, better = tmp_path / 'a.txt', tmp_path / 'better.txt'
    rows = [f'{frame},4,0,0,9,9,1,1,-1,-1\n' for frame in range(3)]
    gt = '--gt', str(tmp_path / 'gt.json')

    def score(results, *options) -> tuple[int, str]:
        code = main(['evaluate', *gt, '--results', str(results), *options])
        said = capsys.readouterr()
        return code, said.err if code else said.out.splitlines()[-1].split()[1]

    option = '--result-frame-numbers'
    text.write_text(rows[0] + rows[1])
    assert score(text, option, 'count0') == (0, '100.000')
    assert 'a.txt:1: found frame 0, expected frames from 1 on' in score(text)[1]
    text.write_text(rows[1] + rows[2])
    assert score(text) == score(text, option, 'count') == (0, '100.000')
    assert 'a.txt:2: found frame 2, but the' in score(text, option, 'count0')[1]
    text.write_text(rows[1])
    truth = [{**record, 'instance_id': n} for n, record in enumerate(RESULTS)]
    dump(tmp_path / 'gt.json', {**COCO, 'annotations': truth[1:]})
    assert score(text, option, 'count0') == (0, '100.000')
    refine = ['refine', str(text), *gt, option, 'count0', '--out', str(better)]
    assert main([*refine, '--remove-short', '1']) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == '100.000'
    assert better.read_text() == text.read_text()
    for results, options, found in (
        (text, ('--frame-numbers', 'count0'), 'COCO-VID JSON as ground truth'),
        (tmp_path / 'results.json', (option, 'count0'), 'COCO-VID JSON as results'),
        (text, (option, 'names'), 'expected count or count0'),
    ):
        code, said = score(results, *options)
        assert code == 1 and found in said and said.count('\n') == 1


@pytest.mark.parametrize('name', ['car', 'Car', 'van'])
def test_categories_of_results_are_those_of_the_ground_truth(tmp_path, capsys, name):
    dump(tmp_path / 'gt.json', COCO)
    own = dict(COCO, annotations=RESULTS, categories=[{'id': 1, 'name': name}])
    dump(tmp_path / 'results.json', own)
    if name == 'van':
        message = "the id 1 is 'van', but 'car' in the ground truth"
        fault(tmp_path, capsys, 'gt.json', 'results.json', message, 'results.json')
        return
    paths = [str(tmp_path / file) for file in ('gt.json', 'results.json')]
    assert main(['evaluate', '--gt', paths[0], '--results', paths[1]]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == '100.000'


def test_classes_that_neither_side_has_are_said(tmp_path, capsys):
    dump(tmp_path / 'gt' / 'a.json', BDD)
    dump(tmp_path / 'results' / 'a.json', BDD)
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, '--processes', '1']) == 0
    said = capsys.readouterr().err
    assert 'both sides have no pedestrian, rider, bus, truck, train and 2 more' in said


@pytest.mark.parametrize('side', ['gt', 'results'])
def test_sizes_in_the_place_of_corners_are_refused(tmp_path, capsys, side):
    """x2 and y2 of BDD100K hold width and height."""
    frames = [
        {'index': i, 'labels': [bdd_label(1, 'car', (90 + i, 80, 110 + i, 90))]}
        for i in range(12)
    ]
    sizes = [
        {'index': i, 'labels': [bdd_label(1, 'car', (90 + i, 80, 20, 10))]}
        for i in range(12)
    ]
    other = {'gt': 'results', 'results': 'gt'}[side]
    dump(tmp_path / side / 'a.json', sizes)
    dump(tmp_path / other / 'a.json', frames)
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'results')
    assert main(['evaluate', *paths, '--processes', '1']) == 1
    said = capsys.readouterr().err
    assert 'width or height is 0 or less in 12 of 12 boxes' in said


LABEL = (1, 'labels', 0)
BDD_FAULTS = {
    'no index': ((1, 'index'), None, "[1]: found no 'index'"),
    'index twice': ((1, 'index'), 0, '[1].index: found 0 again'),
    'index a word': ((1, 'index'), 'x', '[1].index: found text'),
    'half an index': ((1, 'index'), 0.5, 'expected a whole number'),
    'labels an object': ((1, 'labels'), {}, '[1].labels: found an object'),
    'labels text': ((1, 'labels'), 'x', '[1].labels: found text'),
    'frame null': ((1,), [], '[1]: found a list'),
    'category': ((*LABEL, 'category'), 'boat', "category: found 'boat'"),
    'category of detection': ((*LABEL, 'category'), 'bike', "category: found 'bike'"),
    'category a number': ((*LABEL, 'category'), 4, 'category: found a whole number'),
    'no category': ((*LABEL, 'category'), None, "labels[0]: found no 'category'"),
    'upper case': ((*LABEL, 'category'), 'Car', "category: found 'Car'"),
    'no id': ((*LABEL, 'id'), None, "[1].labels[0]: found no 'id'"),
    'identity twice': ((1, 'labels', '+'), BDD[0]['labels'][0], 'identity 1 of class'),
    'no box': ((*LABEL, 'box2d'), None, "labels[0]: found no 'box2d'"),
    'box a list': ((*LABEL, 'box2d'), [0, 0, 9, 9], 'box2d: found a list'),
    'no side': ((*LABEL, 'box2d', 'x2'), None, "box2d: found no 'x2'"),
    'side a word': ((*LABEL, 'box2d', 'x2'), '9', 'box2d.x2: found text'),
    'side NaN': ((*LABEL, 'box2d', 'x2'), float('nan'), 'box2d: found nan for x2'),
}


@pytest.mark.parametrize('side', ['gt', 'results'])
@pytest.mark.parametrize('case', BDD_FAULTS)
def test_faults_of_bdd100k_are_one_line(tmp_path, capsys, case, side):
    keys, value, message = BDD_FAULTS[case]
    for name in ('gt', 'results'):
        document = change(BDD, keys, value) if name == side else BDD
        dump(tmp_path / name / 'a.json', document)
    fault(tmp_path, capsys, 'gt', 'results', message, f'{side}/a.json')


KINDS = {
    'cut off': ('results.json', '[{"image_id": 1', 'results.json:1: found'),
    'no JSON': ('results.json', '1,1,0,0,9,9\n', 'results.json:1: found'),
    'empty': ('results.json', '', 'results.json:1: found'),
    'a number': ('results.json', '5', 'expected a list of results'),
    'text': ('results.json', '"x"', 'expected a list of results'),
    'an object': ('results.json', '{"a": []}', "no 'annotations', but the keys 'a'"),
    'frames': ('results.json', json.dumps(BDD), "[0]: found no 'image_id'"),
    'ground truth cut off': ('gt.json', '{"videos": [', 'gt.json:1: found'),
    'ground truth of images': ('gt.json', '{"images": []}', "no 'videos'"),
    'ground truth of masks': ('gt.json', '{"videos": []}', "no 'images'"),
    'another object': ('gt.json', '{"a": 1}', "no 'videos', but the keys 'a'"),
    'null': ('gt.json', '{"videos": null, "images": []}', '.videos: found null'),
}


@pytest.mark.parametrize('case', KINDS)
def test_wrong_kinds_of_json_are_one_line(tmp_path, capsys, case):
    name, text, message = KINDS[case]
    dump(tmp_path / 'gt.json', COCO)
    dump(tmp_path / 'results.json', RESULTS)
    (tmp_path / name).write_text(text)
    fault(tmp_path, capsys, 'gt.json', 'results.json', message, name)


def fault(root, capsys, gt: str, results: str, message: str, file: str) -> None:
    paths = '--gt', str(root / gt), '--results', str(root / results)
    assert main(['evaluate', *paths, '--processes', '1']) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.count('\n') == 1, captured.err
    assert message in captured.err
    assert str(root / file) in captured.err


def test_frames_that_lack_are_refused(tmp_path, capsys):
    dump(tmp_path / 'gt' / 'a.json', BDD)
    dump(tmp_path / 'results' / 'a.json', BDD[:1])
    message = 'found a result of 1 frames, expected 2'
    fault(tmp_path, capsys, 'gt', 'results', message, 'results/a.json')


def test_several_files_are_refused(tmp_path, capsys):
    dump(tmp_path / 'gt' / 'train.json', COCO)
    dump(tmp_path / 'gt' / 'val.json', COCO)
    dump(tmp_path / 'results.json', RESULTS)
    fault(tmp_path, capsys, 'gt', 'results.json', 'found 2 JSON files', 'gt')


def test_text_that_is_named_comes_before_json_beside_it(tmp_path, capsys):
    dump(tmp_path / 'gt' / 'all.json', COCO)
    labels = tmp_path / 'gt' / 'a' / 'labels' / 'a.txt'
    labels.parent.mkdir(parents=True)
    for path in (labels, tmp_path / 'a.txt'):
        path.write_text('1,4,50,0,9,9,1,1\n2,4,50,0,9,9,1,1\n')
    paths = '--gt', str(tmp_path / 'gt'), '--results', str(tmp_path / 'a.txt')
    assert main(['evaluate', *paths, '--gt-file', '{seq}/labels/{seq}.txt']) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == '100.000'


def test_json_beside_mot_sequences_is_no_ground_truth(tmp_path):
    (tmp_path / 's' / 'gt').mkdir(parents=True)
    (tmp_path / 's' / 'gt' / 'gt.txt').write_text('1,1,0,0,9,9,1,1,1\n')
    dump(tmp_path / 'train.json', COCO)
    assert open_truth(tmp_path) is None
    assert open_truth(tmp_path / 'train.json').title == 'COCO-VID JSON'


@pytest.mark.parametrize('number', [2, 3])
def test_results_of_categories_without_ground_truth_are_named(tmp_path, capsys, number):
    more = [{'id': 2, 'name': 'bus'}, {'id': 3, 'name': 'van'}]
    dump(tmp_path / 'gt.json', dict(COCO, categories=COCO['categories'] + more))
    results = [dict(record, category_id=number) for record in RESULTS]
    dump(tmp_path / 'results.json', results)
    name = {2: 'bus', 3: 'van'}[number]
    message = f'categories {number} {name} (2 rows), none of which has ground truth'
    fault(tmp_path, capsys, 'gt.json', 'results.json', message, 'results.json')


def test_missing_results_are_asked_for_as_json(tmp_path, capsys):
    for name in ('a', 'b'):
        dump(tmp_path / 'gt' / f'{name}.json', BDD)
    dump(tmp_path / 'one' / 'a.json', BDD)
    (tmp_path / 'none').mkdir()
    dump(tmp_path / 'gt.json', COCO)
    for gt, results, words in (
        ('gt', 'one', '1 of 2 sequences have no result, expected b.json'),
        ('gt', 'none', 'no results in it, expected <sequence>.json, such as a.json'),
        ('gt.json', 'none', 'no results in it, expected one .json of all sequences'),
    ):
        paths = '--gt', str(tmp_path / gt), '--results', str(tmp_path / results)
        assert main(['evaluate', *paths, '--processes', '1']) == 1
        assert words in capsys.readouterr().err
