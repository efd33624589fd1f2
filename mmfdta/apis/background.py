# Copyright (c) mmfdta authors.
"""Work that runs while the model does, through queues of bounded length."""

import collections
import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar('T')

_POLL_SECONDS = 0.1
_PATIENCE = 2.0
_END = object()


class Prefetcher(Generic[T]):
    """Iterates in a thread, a few items ahead of whoever takes them.

    Args:
        items: Where the items come from.
        depth: How many may wait.
        drop_oldest: When too many wait, drop the oldest instead of waiting: for
            cameras, which do not wait either.

    Attributes:
        dropped: Items dropped so far.
    """

    def __init__(
        self, items: Iterable[T], depth: int, drop_oldest: bool = False
    ) -> None:
        self.dropped = 0
        self._items = items
        self._queue: queue.Queue = queue.Queue(depth)
        self._drop_oldest = drop_oldest
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """Yield the items in their order; an error of the source comes last."""
        while (item := self._queue.get()) is not _END and not self._stop.is_set():
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading, wait for the thread, and end who waits for an item.

        A source that does not wait itself may hang, as cameras do: its thread is left
        behind after two seconds.
        """
        self._stop.set()
        self._thread.join(_PATIENCE if self._drop_oldest else None)
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(_END)

    def _run(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._stop.is_set():
                    break
        except BaseException as error:
            self._error = error
        self._put(_END)

    def _put(self, item: object) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0 if self._drop_oldest else _POLL_SECONDS)
                return
            except queue.Full:
                if self._drop_oldest:
                    with contextlib.suppress(queue.Empty):  # taken in the meantime
                        self._queue.get_nowait()
                        self.dropped += 1


class BackgroundConsumer(Generic[T]):
    """Calls a function on items in a thread, in the order they are given.

    Args:
        consume: What is done with an item.
        depth: How many items may wait before :meth:`put` waits.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._depth = depth
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: collections.deque[Future] = collections.deque()

    def put(self, item: T) -> None:
        """Hand over an item; what the function raised on an earlier one is raised."""
        self._waiting.append(self._thread.submit(self._consume, item))
        waiting = self._waiting
        while waiting and (waiting[0].done() or len(waiting) > self._depth):
            waiting.popleft().result()

    @property
    def is_full(self) -> bool:
        """Whether :meth:`put` would wait."""
        return sum(not item.done() for item in self._waiting) >= self._depth

    def close(self) -> None:
        """Wait until every item is consumed; errors are raised by :meth:`check`."""
        self._thread.shutdown()

    def check(self) -> None:
        """Raise what the function raised, if it did."""
        for item in self._waiting:
            item.result()
