# Copyright (c) mmfdta authors.
"""What the tests of the demo and of the ablation share."""

from types import SimpleNamespace

import pytest

from mmfdta.apis.benchmark import comparison, runs


@pytest.fixture
def one_process(monkeypatch):
    """Run the entries of a benchmark in this process: importing takes seconds."""

    def run(command, **_):
        return SimpleNamespace(returncode=runs.main(command[-1:]))

    monkeypatch.setattr(comparison, 'subprocess', SimpleNamespace(run=run))
