# Copyright (c) mmfdta authors.
"""Which operators are in use, and what the others say."""

import importlib
import sys

import mmcv
import mmcv.ops
import pytest
import torch
from mmcv.utils.ext_loader import check_ops_exist

from mmfdta.utils import mmcv_ext as operators
from mmfdta.utils.mmcv_ext import suppression

STAND_IN = operators.make_stand_in('for the tests')


def test_other_operators_name_themselves_and_the_remedy(monkeypatch):
    module = importlib.import_module('mmcv.ops.roi_pool')
    monkeypatch.setattr(module, 'ext_module', STAND_IN)
    with pytest.raises(operators.OperatorNotCompiledError) as caught:
        mmcv.ops.roi_pool(torch.rand(1, 1, 4, 4), torch.zeros(1, 5), 2)
    assert "'roi_pool_forward'" in str(caught.value)
    assert operators.install_command() in str(caught.value)


@pytest.fixture
def empty_slot(monkeypatch, tmp_path):
    """The state before `install_operators`, with a folder searched for `_ext.py`."""
    monkeypatch.delitem(sys.modules, operators.EXTENSION)
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path)])
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop(operators.EXTENSION, None)


def test_without_an_extension_the_stand_in_is_installed(empty_slot):
    assert operators.install_operators() is False
    assert sys.modules[operators.EXTENSION].nms is suppression.nms
    assert not check_ops_exist()


def test_a_compiled_extension_is_left_alone(empty_slot):
    (empty_slot / '_ext.py').write_text('nms = "compiled"\n')
    assert operators.install_operators() is True
    assert sys.modules[operators.EXTENSION].nms == 'compiled'


def test_an_extension_for_another_pytorch_is_replaced_with_a_warning(empty_slot):
    (empty_slot / '_ext.py').write_text('raise ImportError("undefined symbol: x")\n')
    with pytest.warns(UserWarning, match='undefined symbol: x.*Compile them again'):
        assert operators.install_operators() is False
    assert sys.modules[operators.EXTENSION].nms is suppression.nms
