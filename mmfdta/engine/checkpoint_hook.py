# Copyright (c) mmfdta authors.
"""Writes complete checkpoints, keeps the last good one, and finds it to resume."""

import copy
import difflib
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.evaluation import CocoMetric
from mmdet.registry import HOOKS
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor

from mmfdta.checkpoints import matching_weights
from mmfdta.evaluation.mot_metric import LESS_IS_BETTER, MORE_IS_BETTER, MOTMetric
from mmfdta.structures.whole_files import open_whole, remove_unfinished

_SUFFIX = '.pth'
# Name under which MMEngine stores the steps of the checkpoints that are kept.
_KEPT = 'keep_ckpt_ids'
# Scores of boxes that MMDetection's CocoMetric reports by default.
_COCO_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


class WholeFileBackend(LocalBackend):
    """MMEngine's backend for local files, which appear only when they are complete."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write bytes.

        Raises:
            OSError: If it cannot be written; the message says how to continue.
        """
        try:
            with open_whole(filepath) as file:
                file.write(obj)
        except OSError as error:
            full = ', the disk is full' if error.errno == errno.ENOSPC else ''
            raise OSError(
                error.errno,
                f'cannot write the checkpoint{full} ({error.strerror}); earlier '
                'checkpoints are complete, continue from the last one with --resume',
                str(filepath),
            ) from error


register_backend('whole_file', WholeFileBackend, force=True)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's hook, which never loses the last good checkpoint.

    MMEngine's own hook writes under the final name, so that a killed process leaves
    half a file. It also removes outdated checkpoints (``max_keep_ckpts``, or a new best
    score) before the new one is written: with ``max_keep_ckpts=1`` a full disk leaves
    none. And it stores which checkpoints there are in one place for all hooks of a run,
    so that after a resume one hook would look for the files of another.

    Without ``backend_args`` files are local.

    ``save_best`` takes scores with or without the prefix of their metric (``mot/HOTA``,
    ``HOTA``) and ``auto`` for the first one. For the scores of `MOTMetric` the hook
    knows whether more or less is better; others need a ``rule``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault('backend_args', dict(backend='whole_file'))
        super().__init__(*args, **kwargs)
        # Where the hook's own `keep_ckpt_ids` are stored.
        place = os.path.join(self.out_dir or '', self.filename_tmpl)
        self._kept_key = f'{_KEPT}_{place}'

    def before_train(self, runner: Runner) -> None:
        """Find the folder; remove unfinished files of killed runs from it.

        Raises:
            ValueError: If the validation will not report the score of ``save_best``, or
                its ``rule`` is missing or wrong.
        """
        if self.save_best and runner.val_loop is not None:
            scores = [_scores_of(m) for m in runner.val_loop.evaluator.metrics]
            known = [key for keys in scores for key in keys or ()]
            self._find_scores(known, complete=None not in scores)
        # Earlier versions stored only what MMEngine stores.
        hub = runner.message_hub
        of_all = hub.get_info(_KEPT, [])
        hub.update_info(_KEPT, hub.get_info(self._kept_key, of_all))
        super().before_train(runner)
        hub.update_info(_KEPT, of_all)
        if is_main_process():
            remove_unfinished(self.out_dir, _SUFFIX)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Copy to the host what other hooks, such as `EMAHook`, have added.

        This hook runs after them. A machine without the device can then load the file.
        """
        for key, value in checkpoint.items():
            checkpoint[key] = _on_the_host(value)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, then remove the oldest if there is one too many."""
        outdated = None
        if self.max_keep_ckpts > 0:
            kept = self.keep_ckpt_ids
            is_new = not kept or kept[-1] != step
            if is_new and len(kept) == self.max_keep_ckpts:
                # MMEngine then sees one less and removes nothing.
                outdated = self.filename_tmpl.format(kept.popleft())
            stored = [*kept, step] if is_new else [*kept]
            runner.message_hub.update_info(self._kept_key, stored)
        super()._save_checkpoint_with_step(runner, step, meta)
        if outdated is not None:
            self._remove(os.path.join(self.out_dir, outdated))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save a better checkpoint, then remove the one that was best."""
        if not self.save_best:
            return
        self._find_scores(metrics)
        single = len(self.key_indicators) == 1
        if not single:
            info = runner.message_hub.runtime_info
            for key in self.key_indicators:
                self.best_ckpt_path_dict.setdefault(key, info.get(f'best_ckpt_{key}'))
        name = 'best_ckpt_path' if single else 'best_ckpt_path_dict'
        before = getattr(self, name)
        # Without a path MMEngine removes nothing.
        setattr(self, name, None if single else dict.fromkeys(before))
        super()._save_best_checkpoint(runner, metrics)
        after = getattr(self, name)
        if single:
            before, after = {'': before}, {'': after}
        paths = {key: after[key] or path for key, path in before.items()}
        setattr(self, name, paths[''] if single else paths)
        for path in {path for path in before.values() if path} - set(paths.values()):
            self._remove(path)

    def _init_rule(
        self, rules: Sequence[str | None], key_indicators: Sequence[str]
    ) -> None:
        """Set the rules of known scores; those of others may be missing for now."""
        given = list(rules) * (len(key_indicators) if len(rules) == 1 else 1)
        known = [rule_of(key) for key in key_indicators]
        for key, rule, right in zip(key_indicators, given, known, strict=True):
            if rule not in (None, *self.rule_map):
                raise ValueError(f"rule={rule!r}: expected 'greater' or 'less'")
            if rule and right and rule != right:
                raise ValueError(
                    f'save_best={key!r} with rule={rule!r} would keep the worst '
                    f'checkpoint; leave rule out, or set it to {right!r}'
                )
        self.key_indicators = list(key_indicators)
        self.rules = [rule or right for rule, right in zip(given, known, strict=True)]
        self.is_better_than = {
            key: self.rule_map[rule]
            for key, rule in zip(self.key_indicators, self.rules, strict=True)
            if rule
        }

    def _find_scores(self, reported: Iterable[str], complete: bool = True) -> None:
        """Replace the names in `save_best` by the full names of the scores.

        Args:
            reported: Scores that a validation reports, with their prefixes.
            complete: Whether these are all scores.

        Raises:
            ValueError: If one is not among them, or has no rule.
        """
        names = list(reported)
        found = []
        for key in self.key_indicators:
            fits = [name for name in names if name.rpartition('/')[2] == key]
            if key in names or not (names or complete):
                fits = [key]
            elif key == 'auto':
                fits = names[:1]
            if len(fits) > 1:
                raise ValueError(
                    f'save_best={key!r}: the validation gives {" and ".join(fits)}; '
                    'write one of them'
                )
            if complete and not fits:
                short = {name.rpartition('/')[2].lower(): name for name in names}
                near = difflib.get_close_matches(key.lower(), [*short], 1)
                hint = f' (did you mean {short[near[0]]!r}?)' if near else ''
                listed = ', '.join(names[:40]) + (', ...' if len(names) > 40 else '')
                raise ValueError(
                    f'save_best={key!r}: the validation gives no such score{hint}; it '
                    f'gives {listed or "none"}'
                )
            found += fits or [key]
        if len(set(found)) < len(found):
            raise ValueError(f'save_best={self.save_best}: names a score twice')
        self._init_rule(self.rules, found)
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            if rule is None and key != 'auto':
                raise ValueError(
                    f"save_best={key!r} needs rule='greater' or rule='less', whichever "
                    'is better'
                )

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)


def _on_the_host(value: object) -> object:
    """Copy tensors to the host; state dicts keep their class and attributes."""
    if isinstance(value, dict):
        copied = copy.copy(value)
        for key, item in value.items():
            copied[key] = _on_the_host(item)
        return copied
    return apply_to(value, lambda item: isinstance(item, Tensor), Tensor.cpu)


def _scores_of(metric: BaseMetric) -> list[str] | None:
    """List the scores that a metric will report; None if unknown."""
    if isinstance(metric, MOTMetric):
        return metric.score_keys()
    if isinstance(metric, CocoMetric) and metric.metrics == ['bbox']:
        items = metric.metric_items or _COCO_ITEMS
        if not metric.classwise:
            return [f'{metric.prefix}/bbox_{item}' for item in items]
    return None


def rule_of(key: str) -> str | None:
    """Return the rule of a score, also of one class; None if unknown."""
    name = key.rpartition('/')[2]
    for rule, scores in (
        ('greater', (*MORE_IS_BETTER, *_COCO_ITEMS)),
        ('less', (*LESS_IS_BETTER, 'loss')),
    ):
        if name in scores or name.endswith(tuple(f'_{score}' for score in scores)):
            return rule
    return None


def find_checkpoint_to_resume(work_dir: str | os.PathLike) -> str | None:
    """Find the checkpoint from which the run of a work directory continues.

    Returns:
        The checkpoint that ``last_checkpoint`` names; the newest one if that file is
        broken or its checkpoint does not exist; None if there is no checkpoint.
    """
    work_dir = Path(work_dir)
    note = work_dir / 'last_checkpoint'
    if note.is_file():
        named = Path(note.read_text(encoding='utf-8', errors='replace').strip())
        # A work directory may have been moved.
        for path in (named, work_dir / named.name):
            if path.is_file():
                return str(path)
    files = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    return str(max(files, key=lambda path: path.stat().st_mtime)) if files else None


def resume_from_work_dir(config: Config) -> None:
    """Let a config resume from the last checkpoint of its work directory.

    Without a checkpoint the run starts as configured, from ``load_from`` if it is set.

    Args:
        config: Config with a ``work_dir``; changed in place.
    """
    checkpoint = find_checkpoint_to_resume(config.work_dir)
    config.resume = checkpoint is not None
    if checkpoint:
        config.load_from = checkpoint


class ExactWeightsHook(Hook):
    """Refuse a checkpoint that leaves a weight of the model as it was initialised.

    Args:
        modules: The config's `checkpoint_modules`, the only modules that are loaded
            from the checkpoint; None loads all.
        parts: Weights of parts that have their own file, by their names in the model.
    """

    def __init__(
        self,
        modules: Sequence[str] | None = None,
        parts: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.modules = modules
        self.parts = parts or {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the names and shapes in the checkpoint with those of the model.

        Raises:
            CheckpointMismatchError: If they differ.
        """
        weights = matching_weights(runner.model, checkpoint, self.modules, self.parts)
        checkpoint['state_dict'] = weights
