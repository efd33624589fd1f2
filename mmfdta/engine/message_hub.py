# Copyright (c) mmfdta authors.
"""A message hub whose logged values stay on the device until they are read."""

from collections import defaultdict
from typing import Any

import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

# Most values that wait if none is read.
_MOST = 10_000
# Devices for which the host does not wait, or that have no float64.
_AT_ONCE = ('cpu', 'mps')


class DeferredMessageHub(MessageHub):
    """MMEngine's message hub, which waits for the device once and not for each value.

    MMEngine's own hub reads each logged loss and norm from the device in each
    iteration. Here these values stay on the device until a history is read, for example
    by the logger or for a checkpoint, and are then fetched in one copy. The histories
    equal those of MMEngine's hub, value by value.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._waiting: dict[str, list[tuple[Any, int, bool, bool]]] = defaultdict(list)
        self._count = 0

    def update_scalar(
        self, key: str, value: Any, count: int = 1, resumed: bool = True
    ) -> None:
        """Add a value to a history; see MMEngine's ``MessageHub``."""
        if isinstance(value, Tensor) and value.device.type not in _AT_ONCE:
            # A copy, because the caller may change the value in place.
            kept = value.detach().to(torch.float64, copy=True).reshape(())
            self._wait(key, kept, count, resumed, value.is_floating_point())
        elif key in self._waiting:
            self._wait(key, value, count, resumed, True)
        else:
            super().update_scalar(key, value, count, resumed)

    @property
    def log_scalars(self) -> dict[str, HistoryBuffer]:
        """All histories, complete."""
        self._fetch()
        return super().log_scalars

    def get_scalar(self, key: str) -> HistoryBuffer:
        """Return a history; one without waiting values, such as times, fetches none."""
        if key in self._waiting or key not in self._log_scalars:
            return super().get_scalar(key)
        return self._log_scalars[key]

    def state_dict(self) -> dict:
        """Return the state for a checkpoint; see MMEngine's ``MessageHub``."""
        self._fetch()
        return super().state_dict()

    def _wait(self, key: str, value: Any, *settings: Any) -> None:
        self._waiting[key].append((value, *settings))
        self._count += 1
        if self._count >= _MOST:
            self._fetch()

    def _fetch(self) -> None:
        """Fetch the values, in one copy per device."""
        waiting, self._waiting = self._waiting, defaultdict(list)
        self._count = 0
        by_device = defaultdict(list)
        for entries in waiting.values():
            for value, *_ in entries:
                if isinstance(value, Tensor):
                    by_device[value.device].append(value)
        fetched = {
            device: iter(torch.stack(values).tolist())
            for device, values in by_device.items()
        }
        for key, entries in waiting.items():
            for value, count, resumed, is_float in entries:
                if isinstance(value, Tensor):
                    value = next(fetched[value.device])
                    value = value if is_float else int(value)
                super().update_scalar(key, value, count, resumed)


# MMEngine keeps the hubs of each class separately, and looks for the current one among
# those of its own class.
DeferredMessageHub._instance_dict = MessageHub._instance_dict
