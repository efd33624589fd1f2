# Copyright (c) mmfdta authors.
"""People keep their numbers over absence and from video to video, by any interface."""

from pathlib import Path

import numpy as np
import pytest
import torch
from exported_colors import write_model
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmfdta.apis import ExportedTracker, MOTInferencer
from mmfdta.cli.main import main
from mmfdta.models import PooledEmbeddings
from mmfdta.models.mot.tracking_by_detection import OnlineTracker
from mmfdta.models.trackers import IdentityGallery
from mmfdta.structures.mot_text import read_tracks
from mmfdta.structures.track_embeddings import TrackEmbeddings

BOX = 24, 30


def blank(*people):
    """A frame with rectangles of some colours, at places of their own."""
    image = np.zeros((120, 160, 3), np.uint8)
    for person, color in people:
        left = 10 + 50 * person
        image[20 : 20 + BOX[1], left : left + BOX[0]] = color
    return image


@MODELS.register_module(force=True)
class ColorDetections(OnlineTracker):
    """Finds rectangles of known colours; an embedding says the colour."""

    def __init__(self, tracker, data_preprocessor, **kwargs) -> None:
        super().__init__(data_preprocessor, **kwargs)
        self.colors = torch.nn.Parameter(torch.zeros(3, 3))
        self.tracker = MODELS.build(tracker)

    def detect(self, imgs, frames):
        for image, frame in zip(imgs, frames, strict=True):
            boxes, labels = [], []
            for label, color in enumerate(self.colors):
                near = (image - color[:, None, None]).abs().amax(0) < 60
                if near.any():
                    y, x = near.nonzero().T
                    boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
                    labels.append(label)
            frame.pred_instances = InstanceData(
                bboxes=torch.tensor(boxes).float().reshape(-1, 4),
                scores=torch.full((len(boxes),), 0.9),
                labels=torch.tensor(labels, dtype=torch.int64),
                embeddings=torch.eye(3)[labels].reshape(-1, 3),
            )
        return frames

    def associate(self, frame, tracker=None):
        frame.pred_track_instances = (tracker or self.tracker).track(frame)
        return frame

    def loss(self, inputs, data_samples, **kwargs):
        raise NotImplementedError


@pytest.fixture(params=['config', 'exported'])
def opened(request, toys, scene):
    """Makes a tracker that forgets who is away for a few frames."""
    if request.param == 'exported':
        folder = write_model(toys.folder / 'model', scene.colors, queries=True)
        return lambda **options: ExportedTracker(folder, threads=1, **options)
    config = Config(dict(toys.config.copy()))
    config.model.type = 'ColorDetections'
    config.model.tracker = dict(type='IoUEmbeddingTracker', miss_tolerance=2)
    return lambda **options: MOTInferencer(
        config, toys.checkpoint, device='cpu', **options
    )


def steps(tracker, scene, *frames):
    """Colour -> number in each frame of a video."""
    tracker.reset()
    found = []
    for people in frames:
        image = blank(*((p, scene.colors[p]) for p in people))
        tracks = tracker.step(np.ascontiguousarray(image[..., ::-1]))
        assert sorted(tracks.label.tolist()) == sorted(people)
        labels, numbers = tracks.label.tolist(), tracks.identity.tolist()
        found.append(dict(zip(labels, numbers, strict=True)))
    return found


AWAY = [(0, 1), (0, 1), *[(1,)] * 12, (0, 1)]


def test_who_returns_keeps_the_number_only_if_asked(opened, scene):
    plain = steps(opened(), scene, *AWAY)
    assert plain[-1][0] != plain[0][0]
    tracker = opened(gallery=IdentityGallery())
    assert steps(tracker, scene, *AWAY)[-1] == {0: 0, 1: 1}
    # So do they in the next video, and who is new there is nobody of the first.
    assert steps(tracker, scene, (2,), (1,), (0,)) == [{2: 2}, {1: 1}, {0: 0}]
    assert 'gallery' in ' '.join(tracker.describe())


def test_a_video_tells_the_next_one(opened, toys, scene, tmp_path):
    """Two programs, one after the other, and a file between them."""
    people = tmp_path / 'people.npz'
    first = opened(gallery=people)
    first(toys.video('one.mp4', 8), out=toys.folder / 'one.txt')
    assert people.is_file()
    numbers = dict(zip(*columns(toys.folder / 'one.txt'), strict=True))
    assert len(numbers) == 3
    second = opened(gallery=people)
    assert len(second.gallery) == 3
    second(toys.video('two.mp4', 8), out=toys.folder / 'two.txt')
    assert dict(zip(*columns(toys.folder / 'two.txt'), strict=True)) == numbers


def test_embeddings_of_tracks_stand_beside_their_text(opened, toys, scene):
    """Each row of the text has the look of its detection, which is its colour here."""
    video, texts = toys.video('v.mp4', 8), []
    for keep in (True, False):
        tracker = opened(keep_embeddings=keep)
        files = [toys.folder / f'{keep}.{suffix}' for suffix in ('txt', 'npz')]
        if not keep:
            with pytest.raises(ValueError, match='False.npz, but embeddings are not'):
                tracker(video, out=files)
        report = tracker(video, out=files if keep else files[0])
        texts.append(read_tracks(report.files[0]))
    found = TrackEmbeddings.load(toys.folder / 'True.npz')
    rows = found.of_rows(texts[0])
    assert sorted(rows) == list(range(len(found))) and len(found) > 15
    assert found.embeddings[rows].argmax(1).tolist() == (texts[0].label - 1).tolist()
    # Nothing else changes, not even with a gallery around.
    np.testing.assert_array_equal(texts[0].identity, texts[1].identity)
    both = opened(gallery=IdentityGallery(), keep_embeddings=True)
    tracks = both.step(blank((0, scene.colors[0]))[..., ::-1].copy())
    assert tracks.embeddings.argmax(1).tolist() == tracks.label.tolist() == [0]
    assert len(tracks.select(tracks.label == 1).embeddings) == 0


def test_the_command_keeps_what_refine_joins_by(toys, monkeypatch, capsys):
    monkeypatch.chdir(toys.folder)
    config = toys.config
    config.dump('plain.py')  # whose model has no tracker
    config.model.type = 'ColorDetections'
    config.model.tracker = dict(type='IoUEmbeddingTracker', miss_tolerance=2)
    config.dump('own.py')
    toys.video('v.mp4', 8)
    model = ['--config=own.py', f'--checkpoint={toys.checkpoint}', '--no-progress']
    track = ['track', 'v.mp4', *model, '--keep-embeddings']
    assert main([*track, '--formats', 'txt']) == 0
    assert main([*track, '--out', 'only.mp4']) == 0
    assert main(['track', 'v.mp4', *model, '--out', 'one.txt', 'two.npz']) == 0
    content = Path('two.npz').read_bytes()
    assert content == Path('v_tracks.npz').read_bytes() == Path('only.npz').read_bytes()
    refine = ['refine', 'v_tracks.txt', '--out', 'better.txt', '--join', '5']
    assert main([*refine, '--embeddings']) == 0
    capsys.readouterr()
    model[0] = '--config=plain.py'
    assert main(['track', 'v.mp4', *model, '--keep-embeddings']) == 1
    assert capsys.readouterr().err.endswith(
        'keep_embeddings: found model.type ColorTracker, whose tracker is given no '
        'embeddings, expected FDTA, MOTIP or a TrackingByDetection with embeddings\n'
    )


def columns(path):
    tracks = read_tracks(path)
    return tracks.label.tolist(), tracks.identity.tolist()


def test_a_video_that_breaks_off_is_remembered(opened, toys, tmp_path):
    people = tmp_path / 'people.npz'
    frames = opened(gallery=people).track(toys.video('one.mp4', 8))
    next(frames)
    assert not people.exists()
    frames.close()
    assert len(IdentityGallery.open(people)) == 1


def test_embeddings_never_replace_the_gallery(opened, toys, monkeypatch):
    monkeypatch.chdir(toys.folder)
    video = toys.video('v.mp4', 8)
    tracker = opened(gallery='people.npz', keep_embeddings=True)
    Path('link.npz').symlink_to('people.npz')
    for _ in range(2):  # before the gallery is there, and after
        for name in ('people.npz', toys.folder / 'people.npz', 'link.npz'):
            with pytest.raises(ValueError, match=r'npz: .* would replace the gallery'):
                next(tracker.track(video, out=['v.txt', name]))
        assert not Path('v.txt').exists()
        tracker(video, out='other.npz')
        assert len(IdentityGallery.open('people.npz')) == 3
        assert len(TrackEmbeddings.load('other.npz'))


@pytest.mark.parametrize(
    ('gallery', 'options'),
    [
        ('people.npz', ['--out=people.txt', '--keep-embeddings']),
        ('v_tracks.npz', ['--keep-embeddings']),
        ('o/v_tracks.npz', ['--out-dir=o', '--formats', 'txt', 'npz']),
    ],
)
def test_the_command_refuses_embeddings_in_place_of_the_gallery(
    toys, scene, capsys, monkeypatch, gallery, options
):
    monkeypatch.chdir(toys.folder)
    folder = str(write_model(toys.folder / 'model', scene.colors, queries=True))
    toys.video('v.mp4', 3)
    command = ['track', 'v.mp4', '--model', folder, '--gallery', gallery, *options]
    assert main(command) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert f'{gallery}: the result would replace the gallery; name' in error[-1]
    assert not list(toys.folder.glob('**/*.npz'))


def test_weights_that_are_others_are_refused(opened, tmp_path):
    people = tmp_path / 'people.npz'
    gallery = IdentityGallery()
    gallery.of_weights('others')
    gallery.update(*(np.ones(1, int), np.ones((1, 4)), *np.ones((2, 1)), np.eye(3)[:1]))
    gallery.save(people)
    with pytest.raises(ValueError, match='found embeddings of others'):
        opened(gallery=people)


def test_models_without_embeddings_or_tracker_are_told(toys, scene, tmp_path):
    folder = write_model(tmp_path / 'model', scene.colors)
    with pytest.raises(ValueError, match='gallery: .* gives no embeddings'):
        ExportedTracker(folder, gallery=tmp_path / 'people.npz')
    with pytest.raises(ValueError, match='gallery: ColorTracker has no tracker'):
        MOTInferencer(
            toys.config, toys.checkpoint, 'cpu', gallery=tmp_path / 'people.npz'
        )


def test_yolox_gets_embeddings_with_the_settings_that_are_named():
    tracker = MOTInferencer(
        'bytetrack_yolox-nano_coco',
        device='cpu',
        allow_random_weights=True,
        cfg_options={'model.embeddings.stripes': 2},
        gallery=IdentityGallery(),
        input_size=64,
    )
    assert isinstance(tracker.model.embeddings, PooledEmbeddings)
    assert tracker.model.embeddings.stripes == 2
    assert len(tracker.step(np.zeros((64, 64, 3), np.uint8))) == 0


def test_embeddings_that_are_made_in_another_way_are_refused(tmp_path):
    """Of the same weights, and of as many numbers."""

    def opened(layer, stripes):
        settings = {'model.embeddings.layers': [layer]}
        settings['model.embeddings.stripes'] = stripes
        return MOTInferencer(
            'bytetrack_yolox-nano_coco',
            device='cpu',
            allow_random_weights=True,
            cfg_options=settings,
            gallery=tmp_path / 'people.npz',
        )

    gallery = opened('backbone.stage1', 6).gallery
    gallery.update(
        *(np.ones(1, int), np.ones((1, 4)), *np.ones((3, 1))[:2], np.ones((1, 192)))
    )
    gallery.save(gallery.path)
    assert len(opened('backbone.stage1', 6).gallery) == 1
    with pytest.raises(ValueError, match='take the same weights, or another gallery'):
        opened('backbone.stage2', 3)


def test_videos_beside_each_other_have_galleries_of_their_own(toys, scene, tmp_path):
    folder = write_model(tmp_path / 'model', scene.colors, queries=True)
    one = ExportedTracker(folder, threads=1, gallery=tmp_path / 'people.npz')
    steps(one, scene, (0,))
    two = one.session()
    assert steps(two, scene, (1,), (0,)) == [{1: 1}, {0: 0}]
    assert len(one.gallery) == 1
    two(toys.video('v.mp4', 3))
    assert not (tmp_path / 'people.npz').exists()


def test_the_command_takes_a_file_and_a_threshold(toys, scene, capsys, monkeypatch):
    monkeypatch.chdir(toys.folder)
    folder = str(write_model(toys.folder / 'model', scene.colors, queries=True))
    one, two = (str(toys.video(f'{name}.mp4', 8)) for name in ('one', 'two'))
    options = ['--model', folder, '--formats', 'txt', '--no-progress', '--threads', '1']
    assert main(['track', one, two, *options, '--gallery', 'people.npz']) == 0
    assert columns(toys.folder / 'one_tracks.txt') == columns(
        toys.folder / 'two_tracks.txt'
    )
    assert 'gallery people.npz: 0 identities' in capsys.readouterr().err
    assert main(['track', one, *options, '--gallery', 'people.npz']) == 0
    assert 'gallery people.npz: 3 identities' in capsys.readouterr().err
    for wrong, message in (
        (['--gallery-thr', '0.5'], '--gallery-thr: is for a gallery'),
        (['--gallery', ''], "gallery: found ''"),
        (['--gallery', 'people.txt'], 'ends with .npz'),
        (['--gallery', one], 'ends with .npz'),
    ):
        assert main(['track', one, *options, *wrong]) != 0
        error = capsys.readouterr().err.strip().splitlines()
        assert message in error[-1]
