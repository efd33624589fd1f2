# Copyright (c) mmfdta authors.
"""Images, seqinfo.ini and frame numbers: what users' folders look like."""

import re
from pathlib import Path

import numpy as np
import pytest

from mmfdta.structures.frames import (
    AmbiguousFrames,
    FrameNumbers,
    SequenceFrames,
    SequenceInfo,
    decide_frame_numbers,
    find_frames,
    list_images,
    number_images,
    read_seqinfo,
)
from mmfdta.structures.mot_text import ScannedText
from mmfdta.structures.tracks import Tracks


def make_text(frames: list[int], name: str = 'gt.txt') -> ScannedText:
    count = len(frames)
    tracks = Tracks.create(
        frames, np.arange(count), np.tile([1.0, 2, 3, 4], (count, 1))
    )
    return ScannedText(name, tracks, np.full(count, -1.0), np.arange(1, count + 1))


def make_frames(names: list[str], expected: int | None = None) -> SequenceFrames:
    numbers = number_images(names, 'img1')
    return SequenceFrames('img1', len(names), tuple(names), numbers, expected)


def numbered(numbers: range | list[int], pattern: str = '{:06d}.jpg') -> SequenceFrames:
    return make_frames([pattern.format(number) for number in numbers])


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


# Images of a folder


def test_strays_are_no_images(tmp_path: Path) -> None:
    names = ['000001.jpg', '000002.JPG', '000003.jpeg']
    strays = ['Thumbs.db', '.DS_Store', 'desktop.ini', '._000001.jpg', 'notes.txt']
    strays += ['000001_thumb.jpg', 'thumbnail.png', '000001.xml', '000001', '@eaDir']
    touch(tmp_path, names + strays)
    touch(tmp_path / 'thumbnails.jpg', ['000001.jpg'])
    assert list_images(tmp_path) == names


def test_a_video_of_thumbs_keeps_its_images(tmp_path: Path) -> None:
    names = ['thumb_01.png', 'thumb_02.png']
    assert list_images(touch(tmp_path, names)) == names


@pytest.mark.parametrize(
    'pattern', ['{}.jpg', 'img{}.png', 'frame_{}.jpg', 'cam2_{}_left.png', '{}.TIF']
)
def test_images_are_in_the_order_of_their_numbers(tmp_path: Path, pattern: str) -> None:
    names = [pattern.format(number) for number in range(8, 13)]
    found = list_images(touch(tmp_path, names))
    assert found == names
    assert number_images(found, tmp_path).tolist() == [8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ('names', 'numbers'),
    [
        (['000001_17.jpg', '000002_19.jpg', '000003_20.jpg'], [1, 2, 3]),
        (['t9_0.jpg', 't10_1.jpg', 't30_2.jpg'], [0, 1, 2]),
        (['IMG_3.jpg', 'img_4.jpg', 'IMG_5.jpg'], [3, 4, 5]),
        (['seq01_00007.jpg'], [7]),
        (['a.jpg', 'b.jpg', 'c.jpg'], None),
        (['1_5.jpg', '2_6.jpg', '3_7.jpg'], None),  # which of them?
        (['a1f.jpg', '9c.jpg', 'x.jpg', '77d0.jpg'], None),
        (
            ['1403636579763555584.png', '1403636579813555456.png'],
            [1403636579763555584, 1403636579813555456],
        ),
        (['9' * 30 + '1.png', '9' * 30 + '2.png'], None),
    ],
)
def test_numbers_of_names(names: list[str], numbers: list[int] | None) -> None:
    found = number_images(names, 'img1')
    assert (None if found is None else found.tolist()) == numbers


@pytest.mark.parametrize(
    'twins',
    [
        ['000001.jpg', '000001.png'],
        ['1.jpg', '01.jpg'],
        ['img1.jpg', 'img1.jpeg', 'img2.jpg'],
        ['frame_000.png', 'frame_000.PNG', 'frame_001.png'],
        ['cam2_1.jpg', 'cam2_1.bmp'],
    ],
)
def test_two_images_of_a_number_are_refused(twins: list[str]) -> None:
    with pytest.raises(ValueError, match=f'{twins[0]} and {twins[1]}.*imExt'):
        number_images(twins, 'img1')


@pytest.mark.parametrize(
    'stray',
    ['cover.jpg', '000001_mask.png', 'copy of 000001.jpg', '1(1).jpg', 'x1.jpg'],
)
def test_an_image_of_another_kind_is_named(stray: str) -> None:
    names = [f'{t:06d}.jpg' for t in range(1, 6)]
    with pytest.raises(ValueError, match='--frame-numbers count') as caught:
        number_images([*names, stray], 'img1')
    assert f'found {stray} among images such as 000001.jpg' in str(caught.value)
    assert number_images([*names, stray], 'img1', allow_mixed=True) is None


def test_two_cameras_in_a_folder_are_refused() -> None:
    names = [f'{side}_{t}.jpg' for side in ('left', 'right') for t in range(5)]
    with pytest.raises(ValueError, match='names of one kind'):
        number_images(names, 'img1')


# seqinfo.ini

REGULAR = '[Sequence]\nname=s\nimDir=img1\nframeRate=30\nseqLength=12\nimWidth=64\n'


@pytest.mark.parametrize(
    'content',
    [
        REGULAR,
        'seqLength=12\nimWidth=64\nframeRate=30',
        '[sequence]\nSEQLENGTH = 12\nimwidth = 64\nframerate = 30.0\n',
        '[SequenceInfo]\nseqLength: 12\nimWidth: 64\nframeRate: 30',
        '\ufeff[Sequence]\r\nseqLength=12\r\nimWidth=64\r\nframeRate=30\r\n',
        '# made by hand\n[Sequence] ; one\nseqLength=12 # of 20\nimWidth=64 ; px\n'
        ';seqLength=20\nframeRate=30',
        '  [ Sequence ]  \n   seqLength  =  12   \n\n imWidth=64\nframeRate=3e1',
        REGULAR + 'seqLength=12\n',
        '[Other]\nseqLength=99\n' + REGULAR,
        '[Sequence]\nseqLength="12"\nimWidth=64.0\nframeRate=30\nname=a=b:c\n',
    ],
)
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_dialects_of_seqinfo(tmp_path: Path, content: str, encoding: str) -> None:
    path = tmp_path / 'seqinfo.ini'
    path.write_bytes(content.encode(encoding))
    info = read_seqinfo(path)
    assert (info.length, info.width, info.frame_rate) == (12, 64, 30.0)
    assert info.height is None


@pytest.mark.parametrize(
    ('content', 'line', 'key'),
    [
        ('[Sequence]\nseqLength=many\n', 2, 'seqLength'),
        ('[Sequence]\nseqLength=12.5\n', 2, 'seqLength'),
        ('[Sequence]\nseqLength=-1\n', 2, 'seqLength'),
        ('[Sequence]\nseqLength=1_2\n', 2, 'seqLength'),
        ('[Sequence]\n\nframeRate=29,97\n', 3, 'frameRate'),
        ('[Sequence]\nseqLength=12\nseqLength=13\n', 3, 'seqLength'),
        ('[a]\nseqLength=12\n[b]\nseqLength=13\n', 4, 'seqLength'),
        ('seqLength=dozen\n', 1, 'seqLength'),
        ('[Sequence]\nseqLength 12\n', 2, 'seqLength'),
        ('<html>\n', 1, '<html>'),
        ('{"seqLength": 12, "imDir": 3}', 1, 'seqLength'),
        ('[Sequence\nseqLength=12\n', 1, 'Sequence'),
    ],
)
def test_bad_seqinfo_is_named(
    tmp_path: Path, content: str, line: int, key: str
) -> None:
    path = tmp_path / 'seqinfo.ini'
    path.write_text(content)
    with pytest.raises(ValueError, match=f'seqinfo.ini:{line}: ') as caught:
        read_seqinfo(path)
    assert key in str(caught.value)
    assert re.search(r'Sequence|\[b\]|outside of any section', str(caught.value))


def test_seqinfo_is_read_as_it_was_written(tmp_path: Path) -> None:
    info = SequenceInfo(30, 480, 640, 12.5, 'img1', '.jpg', 'a name')
    path = tmp_path / 'seqinfo.ini'
    path.write_text(info.text())
    assert read_seqinfo(path) == info


def test_no_seqinfo_knows_nothing() -> None:
    assert read_seqinfo(None).length is None


@pytest.mark.parametrize(
    ('im_dir', 'folder'),
    [
        ('img', 'img'),
        ('images/left', 'images/left'),
        (r'images\left', 'images/left'),
        ('frames/', 'frames'),
        ('.', '.'),
        ('', 'img1'),
    ],
)
def test_im_dir_is_followed(tmp_path: Path, im_dir: str, folder: str) -> None:
    touch(tmp_path / folder, ['000001.png', '000002.png'])
    (tmp_path / 'seqinfo.ini').write_text(f'[Sequence]\nimDir={im_dir}\nseqLength=2\n')
    frames = find_frames(tmp_path)
    assert frames.names == ('000001.png', '000002.png')
    assert not frames.remarks


def test_a_missing_im_dir_is_named_beside_the_images(tmp_path: Path) -> None:
    touch(tmp_path / 'img1', ['000001.jpg'])
    (tmp_path / 'seqinfo.ini').write_text('[Sequence]\nimDir=img\nseqLength=9\n')
    with pytest.raises(FileNotFoundError, match='imDir is img,.*images in .*img1'):
        find_frames(tmp_path)


def test_length_is_that_of_the_images_else_of_seqinfo(tmp_path: Path) -> None:
    (tmp_path / 'seqinfo.ini').write_text('[Sequence]\nimDir=img1\nseqLength=9\n')
    assert find_frames(tmp_path).length == 9
    touch(tmp_path / 'img1', ['Thumbs.db'])
    assert find_frames(tmp_path).length == 9
    touch(tmp_path / 'img1', ['000001.jpg', '000002.jpg'])
    frames = find_frames(tmp_path)
    assert frames.length == 2
    assert 'seqLength in seqinfo.ini is 9, but there are 2 images' in frames.remarks[0]


@pytest.mark.parametrize('content', [None, '', '[Sequence]\nname=s\n', 'seqLength=0'])
def test_a_length_may_be_unknown(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / 'seqinfo.ini').write_text(content)
    assert find_frames(tmp_path) is None


@pytest.mark.parametrize('im_ext', ['.png', 'png', '*.PNG'])
def test_im_ext_chooses_images(tmp_path: Path, im_ext: str) -> None:
    touch(tmp_path / 'img1', ['1.png', '1.jpg', '2.png', '2.jpg'])
    (tmp_path / 'seqinfo.ini').write_text(f'[Sequence]\nimExt={im_ext}\n')
    assert find_frames(tmp_path).names == ('1.png', '2.png')


def test_im_ext_of_no_image_is_said(tmp_path: Path) -> None:
    touch(tmp_path / 'img1', ['1.png', '2.png'])
    (tmp_path / 'seqinfo.ini').write_text('[Sequence]\nimExt=.jpg\n')
    frames = find_frames(tmp_path)
    assert frames.length == 2
    assert 'imExt in seqinfo.ini is .jpg' in frames.remarks[0]


# The rule


@pytest.mark.parametrize(
    ('images', 'text', 'places', 'said'),
    [
        # What everyone has.
        (range(1, 11), [1, 5, 10], [1, 5, 10], ''),
        (range(1, 11), [], [], ''),
        # Numbered from 0.
        (range(10), [0, 5, 9], [1, 6, 10], 'numbers in the names'),
        (range(10), [1, 5, 10], [1, 5, 10], 'count the images from 1'),
        (range(1, 11), [0, 5, 9], [1, 6, 10], 'frames count from 0'),
        # Cut out of a longer video.
        (range(3, 13), [3, 8, 12], [1, 6, 10], 'numbers in the names'),
        (range(3, 13), [1, 6, 10], [1, 6, 10], 'count the images from 1'),
        (range(3, 13), [0, 5, 9], [1, 6, 10], 'count the images from 0'),
        (range(500, 510), [501, 502], [2, 3], 'numbers in the names'),
        # Every second or third image.
        (range(1, 20, 2), [1, 3, 19], [1, 2, 10], 'numbers in the names'),
        (range(0, 30, 3), [0, 3, 27], [1, 2, 10], 'numbers in the names'),
        (range(0, 30, 3), [1, 2, 10], [1, 2, 10], 'count the images from 1'),
        (range(1, 20, 2), [1, 2, 3], [1, 2, 3], 'count the images from 1'),
        (range(0, 30, 3), [0, 1, 2], [1, 2, 3], 'count the images from 0'),
        # Gaps.
        ([1, 2, 3, 5, 6], [1, 3, 5, 6], [1, 3, 4, 5], 'numbers in the names'),
        ([1, 2, 3, 5, 6], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], 'count the images'),
        ([10**15, 10**15 + 7, 10**15 + 9], [1, 2], [1, 2], 'count the images'),
    ],
)
def test_the_reading_that_fits_is_taken_and_said(
    images: list[int], text: list[int], places: list[int], said: str
) -> None:
    frames, rows = numbered(images), make_text(text)
    decided = decide_frame_numbers([(frames, rows)])
    assert decided.place(frames, rows).tolist() == places
    assert said in decided.remark
    assert bool(decided.remark) == bool(said)


@pytest.mark.parametrize(
    ('images', 'text', 'by_names', 'by_count'),
    [
        (range(3, 13), [3, 10], '000003.jpg', '000005.jpg'),
        (range(10), [1, 9], '000001.jpg', '000000.jpg'),
        (range(1, 20, 2), [1, 3], '000003.jpg', '000005.jpg'),
        (range(0, 30, 3), [3, 6], '000003.jpg', '000006.jpg'),
        ([1, 2, 3, 5, 6], [1, 5], '000005.jpg', '000006.jpg'),
    ],
)
def test_two_readings_are_an_error_that_names_both(
    images: list[int], text: list[int], by_names: str, by_count: str
) -> None:
    frames, rows = numbered(images), make_text(text, 's/gt/gt.txt')
    with pytest.raises(ValueError, match=r'^s/gt/gt.txt:\d: frame') as caught:
        decide_frame_numbers([(frames, rows)])
    message = str(caught.value)
    assert f'{by_names}, by the number in the name' in message
    assert f'{by_count}, counted from 1' in message
    assert "frame_numbers='names' or 'count' (--frame-numbers)" in message
    for choice, name in (('names', by_names), ('count', by_count)):
        chosen = decide_frame_numbers([(frames, rows)], choice)
        assert name in {frames.names[i - 1] for i in chosen.place(frames, rows)}
        assert chosen.choice == choice
        assert chosen.remark


@pytest.mark.parametrize(
    ('images', 'text'),
    [
        (range(1, 11), [1, 11]),  # more frames than images
        ([1, 2, 3, 4, 6, 7, 8, 9, 10], range(1, 11)),  # one image lost
        ([1, 2, 3, 4, 6, 7, 8, 9, 10], range(1, 9)),  # and no box at the end
        (range(3, 13), [2, 12]),
        (range(1, 11), [0, 10]),  # from 0 and from 1 at once
        (range(1, 20, 2), [2, 19]),
    ],
)
def test_a_row_without_image_is_an_error_with_file_and_line(
    images: list[int], text: list[int]
) -> None:
    with pytest.raises(ValueError, match=r'^gt.txt:\d+: (found )?frame \d+'):
        decide_frame_numbers([(numbered(images), make_text(list(text)))])


def test_fewer_images_than_seqinfo_says_are_not_counted() -> None:
    names = [f'{t}.jpg' for t in range(3, 11)]  # the first two are lost
    rows = make_text(list(range(1, 8)))
    with pytest.raises(ValueError, match='images seem to be missing'):
        decide_frame_numbers([(make_frames(names, 10), rows)])
    assert decide_frame_numbers([(make_frames(names, 8), rows)]).choice == 'count'
    forced = decide_frame_numbers([(make_frames(names, 10), rows)], 'count')
    assert forced.positions(make_frames(names), rows.tracks.frame).tolist() == list(
        range(1, 8)
    )


def test_one_sequence_decides_for_all() -> None:
    unclear = numbered(range(3, 13)), make_text([3, 10])
    by_names = numbered(range(100, 110)), make_text([100])
    by_count = numbered(range(100, 110)), make_text([1])
    assert decide_frame_numbers([unclear, by_names]).choice == 'names'
    assert decide_frame_numbers([by_count, unclear]).choice == 'count'
    from_zero = numbered(range(1, 11)), make_text([0])
    decided = decide_frame_numbers(
        [(numbered(range(1, 11)), make_text([5])), from_zero]
    )
    assert decided.positions(unclear[0], np.array([5])).tolist() == [6]
    with pytest.raises(ValueError, match='a.txt:1.*; and b.txt:1.*different ways'):
        decide_frame_numbers(
            [
                (numbered(range(100, 110)), make_text([1], 'a.txt')),
                (numbered(range(100, 110)), make_text([100], 'b.txt')),
            ]
        )


def test_names_without_numbers_are_counted() -> None:
    frames, rows = make_frames(['a.jpg', 'b.jpg', 'c.jpg']), make_text([1, 3])
    decided = decide_frame_numbers([(frames, rows)])
    assert decided.place(frames, rows).tolist() == [1, 3]
    assert 'in the order of their names' in decided.remark
    with pytest.raises(ValueError, match=r'gt.txt:1: .*names carry none'):
        decide_frame_numbers([(frames, rows)], 'names')


def test_a_known_length_is_enough() -> None:
    frames = SequenceFrames.of_length('s', 4)
    for text, places in (([1, 4], [1, 4]), ([0, 3], [1, 4])):
        decided = decide_frame_numbers([(frames, make_text(text))])
        assert decided.place(frames, make_text(text)).tolist() == places
    with pytest.raises(ValueError, match=r'frame 5, but.* 4 frames .*seqLength in s'):
        decide_frame_numbers([(frames, make_text([5]))])


def test_a_half_keeps_the_numbers_of_its_names() -> None:
    half = numbered(range(1, 11)).cut(6, 10)
    assert half.length == 4
    counted, named = make_text([1, 4]), make_text([7, 10])
    assert decide_frame_numbers([(half, counted)]).choice == 'count'
    decided = decide_frame_numbers([(half, named)])
    assert decided.place(half, named).tolist() == [1, 4]


def test_results_may_lack_frame_0_where_the_truth_counts_from_it() -> None:
    frames = numbered(range(1, 11))
    with pytest.raises(AmbiguousFrames, match='000003.jpg, .*or 000004.jpg, counted'):
        decide_frame_numbers([(frames, make_text([3, 9]))], from_zero=True)
    reaching = make_text([3, 10])
    decided = decide_frame_numbers([(frames, reaching)], from_zero=True)
    assert decided.place(frames, reaching).tolist() == [3, 10]
    chosen = decide_frame_numbers([(frames, make_text([3, 9]))], 'count0')
    assert chosen.positions(frames, np.array([3, 9])).tolist() == [4, 10]
    assert 'from 0' in chosen.remark


def test_another_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="'number', expected one of auto, names"):
        decide_frame_numbers([], 'number')


@pytest.mark.parametrize('first', [0, 1])
def test_frames_outside_have_no_place(first: int) -> None:
    frames = numbered(range(3, 8))
    asked = np.array([-5, first - 1, first, first + 4, first + 5, 10**12])
    counted = FrameNumbers(first=first).positions(frames, asked)
    assert counted.tolist() == [0, 0, 1, 5, 0, 0]
    by_names = FrameNumbers(True).positions(frames, np.array([-1, 2, 3, 7, 8, 10**12]))
    assert by_names.tolist() == [0, 0, 1, 5, 0, 0]
