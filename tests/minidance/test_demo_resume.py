# Copyright (c) mmfdta authors.
"""A training that was interrupted, and what the next run makes of its rests."""

import pytest
import tiny_demo
import torch

from mmfdta.cli.main import main
from mmfdta.engine import FiniteLossHook


class Interrupted(Exception):
    pass


@pytest.fixture
def train(tmp_path, capsys, monkeypatch):
    """Train FDTA's plainest variant; return its weights and what was said."""
    monkeypatch.setitem(tiny_demo.SETTINGS, 'train_cfg.max_iters', 5)
    monkeypatch.setitem(tiny_demo.SETTINGS, 'default_hooks.checkpoint.interval', 2)

    def run(folder, rate, stop_at=None):
        def stop(self, runner, **_):
            # The detector's stage has no identities to decode.
            if runner.iter == stop_at and hasattr(runner.model, 'id_decoder'):
                raise Interrupted

        monkeypatch.setattr(FiniteLossHook, 'before_train_iter', stop)
        monkeypatch.setitem(tiny_demo.SETTINGS, 'optim_wrapper.optimizer.lr', rate)
        work = tmp_path / folder
        folders = ['--work-dir', str(work), '--data-root', str(tmp_path / 'data')]
        options = ['--cfg-options', *tiny_demo.command_line()]
        arguments = [
            'ablation',
            *folders,
            '--seeds',
            '3',
            '--variants',
            'none',
            *options,
        ]
        if stop_at is None:
            assert main(arguments) == 0
        else:
            with pytest.raises(Interrupted):
                main(arguments)
        weights = work / 'seed3' / 'none' / 'fdta.pth'
        said = capsys.readouterr().out
        if stop_at is not None:
            assert not weights.exists()
            return None, said
        return torch.load(weights, weights_only=True)['state_dict'], said

    return run


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_it_goes_on_to_the_weights_of_an_uninterrupted_one(train):
    whole, _ = train('whole', 1e-3)
    train('parts', 1e-3, stop_at=3)
    parts, said = train('parts', 1e-3)
    assert 'single frames: reused' in said
    assert 'Iter(train) [2/5]' not in said
    assert 'Iter(train) [5/5]' in said
    assert largest_difference(whole, parts) == 0


def test_other_settings_begin_anew(train):
    """Rests of other settings, were they resumed, would pass for the new weights."""
    fresh, _ = train('fresh', 1e-4)
    train('changed', 1e-3, stop_at=3)
    changed, said = train('changed', 1e-4)
    assert said.count('reused') == 1  # the data
    assert 'Iter(train) [2/5]' in said
    assert largest_difference(fresh, changed) == 0
