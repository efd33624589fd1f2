# Copyright (c) mmfdta authors.
"""Next to the released code on the same device, with the same weights.

The released code runs in a process of its own: what is replaced for it stays there.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmfdta.checkpoints import convert_state_dict
from mmfdta.structures.tracks import Tracks

from .bench import THRESHOLDS, Bench, folder
from .checks import Found, NotRunError, aim, check
from .released_code import OPERATOR
from .runs import run_command
from .speed import (
    as_memory,
    frame_runs,
    frames_per_second,
    seconds_per_step,
    step_runs,
    training_at,
    within_memory,
)
from .tracking import judge_tracks, track

_BUILDING = 1200.0
_PATIENCE = 1500.0


class Beside:
    """What the released code gave, and this project's side.

    Args:
        bench: The workbench.

    Attributes:
        full: A workbench with the full model, which the released code has.
        operator: How the released code computes deformable attention.
        reply: What its process found.
    """

    def __init__(self, bench: Bench) -> None:
        checkout = bench.settings.released
        if checkout is None:
            raise NotRunError('no --released')
        if importlib.util.find_spec('einops') is None:
            raise NotRunError('the released code needs einops: pip install einops')
        self.quick = bench.quick
        self.full = Bench(replace(bench.settings, quick=False))
        self.sizes = bench.speed_sizes
        self.full.frame_size = bench.frame_size
        self.full.video_frames = bench.video_frames
        self._folder = folder(bench, 'released').resolve()
        operator, self.operator = build_operator(Path(checkout), self._folder, bench)
        self.reply = self._run(Path(checkout), operator)

    def ask(self, name: str) -> Any:
        """A part of the reply.

        Raises:
            NotRunError: If the released code failed in it.
        """
        part = self.reply[name]
        if isinstance(part, dict) and 'error' in part:
            raise NotRunError(f'the released code: {part["error"]}')
        return part

    def _run(self, checkout: Path, operator: Path | None) -> dict[str, Any]:
        paths = {n: self._folder / f'{n}.pth' for n in ('weights', 'frames', 'clip')}
        model = self.full.model('FDTA')
        state = {k: v.detach() for k, v in model.state_dict().items()}
        torch.save(convert_state_dict(state, to='fdta').state_dict, paths['weights'])
        inferencer = self.full.inferencer('FDTA', self.full.frame_size, 'cpu')
        frames = [
            inferencer.model.data_preprocessor(
                _as_batch(inferencer.preprocessor(picture, t))
            )['inputs']['img'][0, 0]
            for t, picture in enumerate(self.full.video())
        ]
        torch.save(torch.stack(frames), paths['frames'])
        bench = self.measured()
        batch = training_at(bench, self.sizes[0], 'fp32').batch()
        data = inferencer.model.data_preprocessor(batch, training=True)
        clip = dict(
            sample=data['data_samples'][0],
            images=data['inputs']['img'][0],
            depth=data['inputs']['depth'][0],
        )
        torch.save(clip, paths['clip'])
        thresholds = THRESHOLDS['FDTA']
        request = dict(
            checkout=str(checkout),
            device=str(self.full.device),
            operator=operator and str(operator),
            thresholds=dict(
                miss_tolerance=30,
                det_thresh=thresholds['det_thr'],
                newborn_thresh=thresholds['newborn_thr'],
                id_thresh=thresholds['id_thr'],
            ),
            sizes=self.sizes,
            frame_runs=frame_runs(bench),
            step_runs=step_runs(bench),
            **{name: str(path) for name, path in paths.items()},
        )
        asked, reply = self._folder / 'request.json', self._folder / 'reply.json'
        asked.write_text(json.dumps(request), encoding='utf-8')
        reply.unlink(missing_ok=True)
        module = f'{__package__}.released_side'
        command = [sys.executable, '-m', module, str(asked), str(reply)]
        try:
            run_command(command, dict(os.environ), self._folder, _PATIENCE)
        finally:
            for path in paths.values():
                path.unlink()
        return json.loads(reply.read_text('utf-8'))

    def measured(self) -> Bench:
        """The workbench with the full model and as many runs as were asked for."""
        return _Full(self.full, self.quick)


class _Full(Bench):
    """The full model, measured as thoroughly as asked for."""

    def __init__(self, full: Bench, quick: bool) -> None:
        super().__init__(full.settings)
        self._quick = quick

    @property
    def quick(self) -> bool:
        """Few runs."""
        return self._quick

    def config(self, *arguments: Any, **options: Any) -> Any:
        """Read the config of the full model."""
        quick, self._quick = self._quick, False
        try:
            return super().config(*arguments, **options)
        finally:
            self._quick = quick


def _as_batch(sample: dict[str, Any]) -> dict[str, Any]:
    inputs = {name: [value] for name, value in sample['inputs'].items()}
    return dict(inputs=inputs, data_samples=[sample['data_samples']])


def build_operator(checkout: Path, out: Path, bench: Bench) -> tuple[Path | None, str]:
    """Compile the released code's operator in a copy, where that is possible.

    Args:
        checkout: The released code, which stays as it is.
        out: Where the copy goes.
        bench: The workbench.

    Returns:
        Folder that holds the compiled operator, or None, and what to say of it.
    """
    from torch.utils.cpp_extension import CUDA_HOME

    plain = 'its PyTorch path, since its operator '
    if bench.device.type != 'cuda':
        return None, f'{plain}needs a CUDA device'
    if CUDA_HOME is None:
        return None, f'{plain}needs nvcc, which is not there'
    copy = out / 'operator'
    if not list(copy.glob(f'{OPERATOR}*.so')):
        shutil.rmtree(copy, ignore_errors=True)
        ignore = shutil.ignore_patterns('build', 'dist', '*.egg-info')
        shutil.copytree(checkout / 'models/ops', copy, ignore=ignore)
        command = [sys.executable, 'setup.py', 'build_ext', '--inplace']
        environment = {**os.environ, 'MAX_JOBS': str(os.cpu_count() or 1)}
        try:
            run_command(command, environment, copy, _BUILDING)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            shutil.rmtree(copy, ignore_errors=True)
            reason = ' '.join(str(error).split())[:100]
            return None, f'{plain}does not compile ({reason})'
    return copy, 'its own operator, compiled'


def _check(
    name: str, compared: str, allowed: str = ''
) -> Callable[[Callable[[Beside], Found]], Callable[[Bench], Found]]:
    """Make a check that gets both sides."""

    def register(run: Callable[[Beside], Found]) -> Callable[[Bench], Found]:
        def whole(bench: Bench) -> Found:
            return run(_beside(bench))

        return check('released', name, compared, allowed)(whole)

    return register


def _beside(bench: Bench) -> Beside:
    """Both sides, once; what kept the released code from running, again and again."""

    def make() -> Beside | Exception:
        try:
            return Beside(bench)
        except Exception as error:
            return error

    made = bench.remember('released', make)
    if isinstance(made, Exception):
        raise made
    return made


@_check('operator', "the released code's deformable attention")
def _operator(sides: Beside) -> Found:
    return Found(sides.operator)


@_check('tracks', 'identities and boxes of a video, fp32 on both sides', 'the same')
def _tracks(sides: Beside) -> Found:
    expected = []
    for number, frame in enumerate(sides.ask('video'), start=1):
        count = len(frame['identity'])
        boxes = np.array(frame['xywh'], dtype=float).reshape(count, 4)
        expected.append(Tracks.create([number] * count, frame['identity'], boxes))
    found = track(sides.full, 'FDTA', sides.full.device)
    return judge_tracks(found, expected)


def _register_speed() -> None:
    ways: dict[str, tuple[dict[str, Any], float]] = {
        'fp32': ({}, 3.0),
        'fp16': (dict(precision='fp16'), 6.0),
        'fp16, batches of 8': (dict(precision='fp16', batch=8), 0.0),
    }
    for place, title in enumerate(('the largest size', 'the second size')):
        for name, (options, times) in ways.items():

            def run(
                sides: Beside,
                place: int = place,
                options: dict[str, Any] = options,
                times: float = times,
            ) -> Found:
                if place >= len(sides.sizes):
                    raise NotRunError('no such size was asked for')
                size = sides.sizes[place]
                bench = sides.measured()
                bench.check_precision(options.get('precision', 'fp32'))
                theirs = sides.ask(f'{size[0]}x{size[1]}')['frames_per_second']
                ours, _ = within_memory(
                    lambda: frames_per_second(bench, size, **options)
                )
                ratio = ours / theirs
                text = (
                    f'{size[0]}x{size[1]}: {ours:.1f} against {theirs:.1f} frames/s, '
                    f'{ratio:.2f} times'
                )
                numbers = dict(size=size, ours=ours, released=theirs, ratio=ratio)
                if place or not times:
                    return Found(text, numbers=numbers)
                return aim(ratio >= times, text, **numbers)

            goal = f'{times:g} times' if times and not place else ''
            compared = 'frames per second, against the released code in fp32'
            _check(f'frames of {title}, {name}', compared, goal)(run)


_register_speed()


def _register_steps() -> None:
    for name in ('fp32', 'fp16'):

        def step(bench: Bench, name: str) -> tuple[float, int]:
            bench.check_precision(name)
            size = bench.speed_sizes[0]
            return bench.remember(
                f'step {name}',
                lambda: within_memory(lambda: seconds_per_step(bench, size, name)),
            )

        def seconds(sides: Beside, name: str = name, step: Any = step) -> Found:
            theirs = sides.ask('training')['seconds']
            ours, _ = step(sides.full.remember('measured', sides.measured), name)
            ratio = ours / theirs
            text = f'{ours:.3f} against {theirs:.3f} s, {ratio:.2f}'
            numbers = dict(ours=ours, released=theirs, ratio=ratio)
            if name != 'fp32':
                return Found(text, numbers=numbers)
            return aim(ratio <= 0.5, text, **numbers)

        def memory(sides: Beside, name: str = name, step: Any = step) -> Found:
            theirs = sides.ask('training')['peak']
            _, ours = step(sides.full.remember('measured', sides.measured), name)
            if not ours:
                raise NotRunError('memory is counted on a GPU only')
            ratio = ours / theirs
            text = f'{as_memory(ours)} against {as_memory(theirs)}, {ratio:.2f}'
            numbers = dict(ours=ours, released=theirs, ratio=ratio)
            if name != 'fp32':
                return Found(text, numbers=numbers)
            return aim(ratio <= 0.6, text, **numbers)

        against = 'against the released code in fp32'
        first = name == 'fp32'
        _check(
            f'time of a training step, {name}',
            f'seconds with the optimiser, {against}',
            'half' if first else '',
        )(seconds)
        _check(
            f'memory of a training step, {name}',
            f'peak, {against}',
            '0.6' if first else '',
        )(memory)


_register_steps()
