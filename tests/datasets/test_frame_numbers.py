# Copyright (c) mmfdta authors.
"""Every box lands on its image, however a video was cut, renamed and counted.

The identity of a box is the number in the name of its image, which tells where it
belongs.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmfdta.cli.main import main
from mmfdta.datasets import ClipIndex, MOTSequenceDataset, cache, mot_sequence
from mmfdta.datasets.mot_sequence import mot_source
from mmfdta.evaluation.numbering import ScannedSequence, number_sequences
from mmfdta.structures.mot_text import scan_mot_text

PATTERN = '{:06d}.jpg'


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What data sets log, from their files or from their cache."""
    texts: list[str] = []
    for module in (mot_sequence, cache):
        monkeypatch.setattr(module, 'print_log', lambda text, *_: texts.append(text))
    return texts


def write(
    folder: Path,
    numbers: list[int] | range,
    count: Callable[[int, int], int] | None = None,
    pattern: str = PATTERN,
    images: str = 'img1',
    seqinfo: str = '',
    keep: slice = slice(None),
) -> Path:
    """Write a sequence with a box on each image.

    Args:
        folder: The sequence's folder.
        numbers: Numbers of the images.
        count: Frame in the text of the n-th image, from 0, with a number; None
            writes no text.
        pattern: Names of the images.
        images: Their folder.
        seqinfo: Content of ``seqinfo.ini``.
        keep: Which images have a box.
    """
    (folder / images).mkdir(parents=True)
    for number in numbers:
        image = Image.new('RGB', (32, 24), (number % 256, 0, 0))
        image.save(folder / images / pattern.format(number))
    if count is not None:
        rows = [
            f'{count(n, number)},{number},1,2,{3 + number % 7},4,1,1,1\n'
            for n, number in enumerate(numbers)
        ]
        (folder / 'gt').mkdir()
        (folder / 'gt' / 'gt.txt').write_text(''.join(rows[keep]))
    if seqinfo:
        (folder / 'seqinfo.ini').write_text(seqinfo)
    return folder


def by_name(n: int, number: int) -> int:
    return number


def from_one(n: int, number: int) -> int:
    return n + 1


def from_zero(n: int, number: int) -> int:
    return n


def number_in(name: str) -> int:
    """Return the longest number in a name, which is that of the frame here."""
    return int(max(re.findall(r'\d+', Path(name).name), key=len))


def find_misplaced(dataset: MOTSequenceDataset) -> list[tuple[str, int]]:
    """List boxes that are not on the image they belong to; none may be lost."""
    misplaced, boxes = [], 0
    for index, sequence in enumerate(dataset.sequences):
        info = dataset.get_data_info(ClipIndex(index, tuple(range(len(sequence)))))
        pairs = zip(info['gt_frames'], info['gt_ids'], strict=True)
        for frame, identity in pairs:
            name = info['img_paths'][frame]
            misplaced += [] if number_in(name) == identity else [(name, identity)]
            boxes += 1
    assert boxes
    return misplaced


LAYOUTS = {
    'regular': (range(1, 11), PATTERN, by_name, ''),
    'regular, from 0': (range(1, 11), PATTERN, from_zero, 'count from 0'),
    'from 0': (range(10), PATTERN, by_name, 'the numbers in the names'),
    'from 0, counted': (range(10), PATTERN, from_one, 'count the images from 1'),
    'cut-out': (range(3, 13), PATTERN, by_name, 'the numbers in the names'),
    'cut-out, counted': (range(3, 13), PATTERN, from_one, 'count the images from 1'),
    'cut-out, from 0': (range(3, 13), PATTERN, from_zero, 'count the images from 0'),
    'second': (range(1, 20, 2), PATTERN, by_name, 'the numbers in the names'),
    'second, counted': (range(1, 20, 2), PATTERN, from_one, 'count the images from 1'),
    'third': (range(0, 30, 3), PATTERN, by_name, 'the numbers in the names'),
    'third, counted': (range(0, 30, 3), PATTERN, from_one, 'count the images from 1'),
    'gaps': ([1, 2, 4, 5, 9], PATTERN, by_name, 'the numbers in the names'),
    'gaps, counted': ([1, 2, 4, 5, 9], PATTERN, from_one, 'count the images from 1'),
    'no padding': (range(8, 13), '{}.jpg', by_name, 'the numbers in the names'),
    'no padding, 1': (range(1, 12), '{}.png', by_name, ''),
    'prefix': (range(98, 103), 'img{}.jpg', by_name, 'the numbers in the names'),
    'prefix, 1': (range(1, 12), 'frame_{}.png', by_name, ''),
    'suffix': (range(5, 9), '{:05d}_left.png', by_name, 'the numbers in the names'),
    'two numbers': (range(5, 9), 'cam2_{:05d}.jpg', from_one, 'count the images from'),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_boxes_are_on_their_images_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture, said: list[str], layout: str
) -> None:
    """In the data set, from its cache, in CocoVID; and the checker says the same."""
    numbers, pattern, count, reading = LAYOUTS[layout]
    for name in ('a', 'b'):
        write(tmp_path / 'train' / name, numbers, count, pattern)
    root = str(tmp_path)
    assert not find_misplaced(MOTSequenceDataset(root))
    gaps = 2 if layout.startswith('gaps') else 0
    assert len(said) == bool(reading) + gaps
    assert reading in ' '.join(said[:1])
    said.clear()
    assert main(['check-data', 'mot', root]) == 0
    report = capsys.readouterr().out
    assert re.search(rf'^note .*frames .*{reading}', report, re.M) or not reading
    assert main(['prepare-dataset', 'mot', root, '--coco']) == 0
    assert reading in capsys.readouterr().err
    said.clear()
    cached = MOTSequenceDataset(root, ann_file=str(cache_of(tmp_path)))
    assert not find_misplaced(cached)
    assert [reading in line for line in said] == [True] * bool(reading)
    coco = json.loads((tmp_path / 'annotations/train_cocovid.json').read_text())
    names = {image['id']: image['file_name'] for image in coco['images']}
    assert len(coco['annotations']) == 2 * len(numbers)
    for box in coco['annotations']:
        assert number_in(names[box['image_id']]) == box['mot_instance_id']


def cache_of(root: Path) -> Path:
    return root / 'annotations' / 'train_mmfdta.npz'


AMBIGUOUS = {
    'cut-out': (range(3, 13), [3, 10]),
    'from 0': (range(10), [1, 9]),
    'second': (range(1, 20, 2), [3, 7]),
    'third': (range(0, 30, 3), [3, 9]),
    'gap': ([1, 2, 3, 5, 6], [1, 5]),
    'long': (range(5, 100), [7, 50, 90]),
}


@pytest.mark.parametrize('case', AMBIGUOUS)
def test_two_readings_take_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture, case: str
) -> None:
    numbers, frames = AMBIGUOUS[case]
    folder = write(tmp_path / 'train' / 's', numbers)
    (folder / 'gt').mkdir()
    rows = ''.join(f'{frame},{frame},1,2,3,4\n' for frame in frames)
    (folder / 'gt' / 'gt.txt').write_text(rows)
    root = str(tmp_path)
    both = r'gt.txt:\d: frame .*by the number in the name.*counted from 1.*--frame-num'
    with pytest.raises(ValueError, match=both):
        MOTSequenceDataset(root)
    assert main(['check-data', 'mot', root]) == 1
    report = capsys.readouterr().out
    assert re.search(f'error .*{both}', report) and '1 error' in report
    assert re.search('^1 sequences ', report, re.M)
    assert main(['prepare-dataset', 'mot', root]) == 1
    assert re.search(both, capsys.readouterr().err)
    places = {}
    for choice in ('names', 'count'):
        option = ['--frame-numbers', choice]
        assert main(['check-data', 'mot', root, *option]) == 0
        direct = MOTSequenceDataset(root, frame_numbers=choice)
        assert bool(find_misplaced(direct)) == (choice == 'count')
        assert main(['prepare-dataset', 'mot', root, *option]) == 0
        cached = MOTSequenceDataset(root)  # the cache carries the decision
        for dataset in (direct, cached):
            tracks = dataset.sequences[0].annotations.tracks
            places.setdefault(choice, tracks.frame.tolist())
            assert tracks.frame.tolist() == places[choice]
    assert places['count'] == frames
    assert places['names'] == [list(numbers).index(frame) + 1 for frame in frames]


def test_a_cache_of_another_reading_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / 'train' / 's', range(3, 13), by_name, keep=slice(0, 8))
    root = str(tmp_path)
    assert main(['prepare-dataset', 'mot', root, '--frame-numbers', 'count']) == 0
    assert not find_misplaced(MOTSequenceDataset(root, frame_numbers='names'))
    assert find_misplaced(MOTSequenceDataset(root, frame_numbers='count'))
    with pytest.raises(FileNotFoundError, match='run mmfdta prepare-dataset'):
        MOTSequenceDataset(
            root, frame_numbers='names', ann_file=str(cache_of(tmp_path))
        )
    # A text from 0 without a box in frame 0 also fits images from 1: it takes a choice.
    write(tmp_path / 'zero' / 's', range(1, 11), from_zero, keep=slice(1, None))
    zero = dict(data_root=root, split='zero')
    assert main(['prepare-dataset', 'mot', root, '--splits', 'zero']) == 0
    assert find_misplaced(MOTSequenceDataset(**zero))
    assert not find_misplaced(MOTSequenceDataset(**zero, frame_numbers='count0'))
    # Where both readings are the same, each may use it.
    write(tmp_path / 'val' / 's', range(1, 4), by_name)
    assert main(['prepare-dataset', 'mot', root, '--splits', 'val']) == 0
    monkeypatch.setattr(mot_sequence, 'read_sequences', None)
    for choice in ('auto', 'names', 'count'):
        dataset = MOTSequenceDataset(root, 'val', frame_numbers=choice)
        assert not find_misplaced(dataset)


def _add_image(folder: Path) -> None:
    Image.new('RGB', (32, 24)).save(folder / 'img1' / '000000.jpg')


def _rename_image(folder: Path) -> None:
    (folder / 'img1' / '000003.jpg').rename(folder / 'img1' / '000004.jpg')


def _remove_image(folder: Path) -> None:
    (folder / 'img1' / '000003.jpg').unlink()
    (folder / 'gt' / 'gt.txt').write_text('1,1,1,2,3,4\n')


def _move_images(folder: Path) -> None:
    (folder / 'img1').rename(folder / 'frames')
    (folder / 'seqinfo.ini').write_text('[Sequence]\nimDir=frames\n')


def _change_rate(folder: Path) -> None:
    (folder / 'seqinfo.ini').write_text('[Sequence]\nframeRate=7\n')


@pytest.mark.parametrize(
    'change', [_add_image, _rename_image, _remove_image, _move_images, _change_rate]
)
def test_a_cache_of_other_images_is_not_used(tmp_path: Path, change: Callable) -> None:
    folder = write(
        tmp_path / 'train' / 's', range(1, 4), by_name, seqinfo='[Sequence]\nname=s\n'
    )
    (folder / 'gt' / 'gt.txt').write_text('1,1,1,2,3,4\n2,2,1,2,3,4\n')
    assert main(['prepare-dataset', 'mot', str(tmp_path)]) == 0
    change(folder)
    results = []
    for _ in range(2):  # with the cache, and without
        try:
            dataset = MOTSequenceDataset(str(tmp_path))
            info = dataset.get_data_info(ClipIndex(0, (0, 1)))
            rate = dataset.sequences[0].frame_rate
            results.append((info['img_paths'], info['gt_ids'].tolist(), rate))
        except ValueError as error:
            results.append(str(error))
        cache_of(tmp_path).unlink(missing_ok=True)
    assert results[0] == results[1]


def _add_sequence(split: Path) -> None:
    write(split / 'a2', range(1, 4), by_name)


def _remove_sequence(split: Path) -> None:
    shutil.rmtree(split / 'b')


def _add_text(split: Path) -> None:
    (split / 'b' / 'gt').mkdir()
    (split / 'b' / 'gt' / 'gt.txt').write_text('2,2,1,2,3,4\n')


def _add_seqinfo(split: Path) -> None:
    (split / 'b' / 'seqinfo.ini').write_text('[Sequence]\nframeRate=7\n')


@pytest.mark.parametrize(
    'change', [_add_sequence, _remove_sequence, _add_text, _add_seqinfo]
)
def test_a_cache_of_other_sequences_is_not_used(
    tmp_path: Path, said: list[str], change: Callable
) -> None:
    """What is read is what is there, as without a cache."""
    write(tmp_path / 'train' / 'a', range(1, 4), by_name)
    write(tmp_path / 'train' / 'b', range(1, 4))

    def read() -> list[tuple]:
        return [
            (
                s.name,
                s.frame_rate,
                s.annotations and s.annotations.tracks.frame.tolist(),
            )
            for s in MOTSequenceDataset(str(tmp_path), test_mode=True).sequences
        ]

    assert main(['prepare-dataset', 'mot', str(tmp_path)]) == 0
    before = read()
    assert not said
    change(tmp_path / 'train')
    cached = read()
    assert len(said) == 1 and 'Run mmfdta prepare-dataset again' in said[0]
    cache_of(tmp_path).unlink()
    assert before != cached == read()


def test_one_reading_holds_for_the_split(tmp_path: Path) -> None:
    unclear = write(tmp_path / 'train' / 'a', range(3, 13), by_name, keep=slice(0, 8))
    write(tmp_path / 'train' / 'b', range(20, 30), by_name)
    assert not find_misplaced(MOTSequenceDataset(str(tmp_path), sequences=['a']))
    (tmp_path / 'train' / 'b').rename(tmp_path / 'b')
    write(tmp_path / 'train' / 'c', range(20, 30), from_one)
    assert find_misplaced(MOTSequenceDataset(str(tmp_path), sequences=['a']))
    (tmp_path / 'b').rename(tmp_path / 'train' / 'b')
    with pytest.raises(ValueError, match='sequences count in different ways'):
        MOTSequenceDataset(str(tmp_path))
    assert unclear.is_dir()


LOST = {
    'one of many': ([1, 2, 3, 4, 6, 7, 8, 9, 10], range(1, 11), ''),
    'and no box at the end': ([1, 2, 3, 4, 6, 7, 8, 9, 10], range(1, 9), ''),
    'the first': (range(3, 11), range(1, 8), '[Sequence]\nseqLength=10\n'),
    'the last': (range(1, 8), range(1, 11), '[Sequence]\nseqLength=10\n'),
    'half of them': (range(1, 11, 2), range(1, 11), ''),
    'of a cut-out': ([101, 102, 104, 105, 106], range(101, 107), ''),
}


@pytest.mark.parametrize('case', LOST)
def test_images_that_are_missing_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture, case: str
) -> None:
    numbers, frames, seqinfo = LOST[case]
    folder = write(tmp_path / 'train' / 's', numbers, seqinfo=seqinfo)
    (folder / 'gt').mkdir()
    rows = ''.join(f'{frame},{frame},1,2,3,4\n' for frame in frames)
    (folder / 'gt' / 'gt.txt').write_text(rows)
    with pytest.raises(
        ValueError, match=r'gt.txt:\d+: (found )?frame \d+(, but the| has no)'
    ):
        MOTSequenceDataset(str(tmp_path))
    assert main(['check-data', 'mot', str(tmp_path)]) == 1
    assert re.search(r'error .*has no image', capsys.readouterr().out)


@pytest.mark.parametrize(
    ('numbers', 'gap'), [([1, 2, 4, 5], True), (range(2, 9), False), (range(9), False)]
)
def test_a_split_without_text_is_tested_on(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    said: list[str],
    numbers: list[int],
    gap: bool,
) -> None:
    write(tmp_path / 'test' / 's', numbers)
    dataset = MOTSequenceDataset(str(tmp_path), 'test', test_mode=True)
    info = dataset.get_data_info(ClipIndex(0, tuple(range(len(dataset)))))
    assert [number_in(path) for path in info['img_paths']] == list(numbers)
    assert len(said) == gap
    assert main(['check-data', 'mot', str(tmp_path)]) == 0
    report = capsys.readouterr().out
    for text in (*said, report):
        assert ('000004.jpg comes after 000002.jpg' in text) == gap


def test_names_without_numbers_count_in_their_order(tmp_path: Path) -> None:
    folder = write(tmp_path / 'train' / 's', range(3), from_one)
    for name, path in zip('abc', sorted((folder / 'img1').iterdir()), strict=True):
        path.rename(path.with_name(f'{name}.jpg'))
    dataset = MOTSequenceDataset(str(tmp_path))
    ids = [dataset.get_data_info(t)['gt_ids'].tolist() for t in range(3)]
    assert ids == [[0], [1], [2]]
    with pytest.raises(ValueError, match='names carry none'):
        MOTSequenceDataset(str(tmp_path), frame_numbers='names')


def test_an_image_of_another_kind_is_counted_only_if_asked_to(tmp_path: Path) -> None:
    folder = write(tmp_path / 'train' / 's', range(1, 4), from_one)
    Image.new('RGB', (32, 24)).save(folder / 'img1' / 'title.jpg')
    with pytest.raises(ValueError, match='found title.jpg among images'):
        MOTSequenceDataset(str(tmp_path))
    dataset = MOTSequenceDataset(str(tmp_path), frame_numbers='count')
    assert len(dataset) == 4 and not find_misplaced(dataset)
    assert main(['check-data', 'mot', str(tmp_path)]) == 1
    assert main(['check-data', 'mot', str(tmp_path), '--frame-numbers', 'count']) == 0


def test_strays_are_no_frames(
    tmp_path: Path, said: list[str], capsys: pytest.CaptureFixture
) -> None:
    folder = write(tmp_path / 'train' / 's', range(1, 4), by_name) / 'img1'
    for name in ('Thumbs.db', '.DS_Store', 'desktop.ini', '._000001.jpg', 'a.txt'):
        (folder / name).write_text('x')
    (folder / '000001_thumb.jpg').write_text('x')
    (folder / 'masks.png').mkdir()
    assert len(MOTSequenceDataset(str(tmp_path))) == 3
    assert main(['check-data', 'mot', str(tmp_path)]) == 0
    for text in (*said, capsys.readouterr().out):
        assert '1 images such as 000001_thumb.jpg are no frames' in text
    assert len(said) == 1


# seqinfo.ini


@pytest.mark.parametrize(
    ('images', 'seqinfo'),
    [
        ('img', '[Sequence]\nimDir=img\nseqLength=5\nimExt=.jpg\n'),
        ('images/left', '[Sequence]\nimDir=images/left\n'),
        ('frames', 'imDir: frames'),
        ('JPEGImages', '[sequence]\nIMDIR = JPEGImages/ ; of the camera\n'),
        ('.', '[Sequence]\nimDir=.\n'),
    ],
)
def test_im_dir_is_followed_everywhere(
    tmp_path: Path, images: str, seqinfo: str
) -> None:
    root = str(tmp_path)
    folder = write(
        tmp_path / 'train' / 's', range(5), by_name, images=images, seqinfo=seqinfo
    )
    assert not find_misplaced(MOTSequenceDataset(root))
    assert main(['check-data', 'mot', root]) == 0
    maps = tmp_path / 'maps' / 's'
    maps.mkdir(parents=True)
    for t in range(5):
        np.save(maps / f'{t:06d}.npy', np.arange(6.0).reshape(2, 3) + t)
    depth = ['generate-depth', root, '--backend', 'folder', '--maps', str(maps.parent)]
    assert main(depth) == 0
    assert len(list((folder / 'depth').glob('*.png'))) == 5
    assert main(['generate-depth', root, '--check']) == 0
    assert main(['prepare-dataset', 'mot', root]) == 0
    assert not find_misplaced(MOTSequenceDataset(root))


def test_a_missing_im_dir_names_both_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    seqinfo = '[Sequence]\nimDir=img\nseqLength=5\n'
    folder = write(tmp_path / 'train' / 's', range(5), by_name, seqinfo=seqinfo)
    both = 'seqinfo.ini: imDir is img, .*there are images in .*img1'
    with pytest.raises(FileNotFoundError, match=both):
        MOTSequenceDataset(str(tmp_path))
    assert main(['check-data', 'mot', str(tmp_path)]) == 1
    assert re.search(f'error .*{both}', capsys.readouterr().out)
    with pytest.raises(FileNotFoundError, match=both):
        mot_source(folder).read_frames()


@pytest.mark.parametrize(
    ('seqinfo', 'remark'),
    [
        ('[Sequence]\nseqLength=9\n', 'seqLength in seqinfo.ini is 9, but there are 5'),
        ('[Sequence]\nseqLength=3\n', 'seqLength in seqinfo.ini is 3, but there are 5'),
        ('[Sequence]\nseqLength=0\n', 'seqLength in seqinfo.ini is 0, but there are 5'),
        ('[Sequence]\nimExt=.png\n', 'imExt in seqinfo.ini is .png'),
        ('[Sequence]\nframeRate=30.0\n', ''),
        ('seqLength=5', ''),
        ('', ''),
    ],
)
def test_images_count_whatever_seqinfo_says(
    tmp_path: Path, said: list[str], seqinfo: str, remark: str
) -> None:
    write(tmp_path / 'train' / 's', range(1, 6), by_name, seqinfo=seqinfo)
    dataset = MOTSequenceDataset(str(tmp_path))
    assert len(dataset) == 5 and not find_misplaced(dataset)
    assert len(said) == bool(remark)
    assert all(remark in line for line in said)


@pytest.mark.parametrize('first', [0, 1])
@pytest.mark.parametrize('choice', ['auto', 'count'])
def test_texts_alone_are_as_long_as_evaluation_takes_them(
    tmp_path: Path, first: int, choice: str
) -> None:
    """Where one text of a split has a frame 0, all of them count from 0."""
    count = from_one if first else from_zero
    write(tmp_path / 'train' / 'a', range(1, 11), count)
    write(tmp_path / 'train' / 'b', range(1, 7), count, keep=slice(3, 6))
    texts = []
    for name in ('a', 'b'):
        folder = tmp_path / 'train' / name
        shutil.rmtree(folder / 'img1')
        text = scan_mot_text(folder / 'gt' / 'gt.txt', first_frame=0)
        texts.append(ScannedSequence(name, text, text))
    dataset = MOTSequenceDataset(str(tmp_path), text_only=True, frame_numbers=choice)
    assert not find_misplaced(dataset)
    scored, _ = number_sequences(texts)
    for ours, theirs in zip(dataset.sequences, scored, strict=True):
        assert len(ours) == theirs.num_frames
        assert ours.annotations.tracks.frame.tolist() == theirs.gt.frame.tolist()
    for check in dataset.checks():
        assert not [f for f in check().findings if 'has no image' in f.message]


def test_a_text_alone_is_counted_from_0_if_asked_to(tmp_path: Path) -> None:
    """Its frame 0 has no box, which only the user knows."""
    folder = write(tmp_path / 'train' / 'a', range(1, 11), from_zero, keep=slice(1, 10))
    shutil.rmtree(folder / 'img1')
    settings = dict(data_root=str(tmp_path), text_only=True)
    dataset = MOTSequenceDataset(**settings, frame_numbers='count0')
    assert len(dataset) == 10 and not find_misplaced(dataset)
    assert len(MOTSequenceDataset(**settings)) == 9


@pytest.mark.parametrize('seqinfo', ['', '[Sequence]\nimDir=frames\n'])
def test_text_without_images_is_said(
    tmp_path: Path, said: list[str], capsys: pytest.CaptureFixture, seqinfo: str
) -> None:
    write(tmp_path / 'train' / 'a', range(1, 4), by_name)
    folder = write(tmp_path / 'train' / 'b', [], by_name, seqinfo=seqinfo)
    (folder / 'img1').rmdir()
    lacking = f'b: holds gt/gt.txt, but no folder {"frames" if seqinfo else "img1"}'
    assert [s.name for s in MOTSequenceDataset(str(tmp_path)).sequences] == ['a']
    assert len(said) == 1 and lacking in said[0]
    assert main(['check-data', 'mot', str(tmp_path)]) == 0
    assert re.search(f'warning .*{lacking}', capsys.readouterr().out)
    shutil.rmtree(tmp_path / 'train' / 'a')
    with pytest.raises(FileNotFoundError, match=f'found no sequence.*{lacking}'):
        MOTSequenceDataset(str(tmp_path))


def test_sequences_without_a_split_are_found_by_im_dir(tmp_path: Path) -> None:
    seqinfo = '[Sequence]\nimDir=frames\n'
    write(tmp_path / 's', range(5), by_name, images='frames', seqinfo=seqinfo)
    assert MOTSequenceDataset.find_splits(str(tmp_path)) == ['']
    assert main(['check-data', 'mot', str(tmp_path)]) == 0
