# Copyright (c) mmfdta authors.
"""Work that runs beside the model, through queues of bounded length."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar('T')

_POLL_SECONDS = 0.1


class _End:
    """The last thing in a queue: nothing comes after it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """Iterates in a thread, a few items ahead of whoever takes them.

    Args:
        items (Iterable[T]): Where the items come from.
        depth (int): How many may wait.
        drop_oldest (bool): When too many wait, drop the oldest instead of
            waiting: for cameras, which do not wait either.

    Attributes:
        dropped (int): Items dropped so far.
    """

    def __init__(
        self, items: Iterable[T], depth: int, drop_oldest: bool = False
    ) -> None:
        self.dropped = 0
        self._items = items
        self._queue: queue.Queue = queue.Queue(depth)
        self._drop_oldest = drop_oldest
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """Yield the items in their order; an error of the source comes last."""
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """Stop reading and wait for the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                self._put(item)
                if self._stop.is_set():
                    break
        except BaseException as error:
            end = _End(error)
        self._put(end)

    def _put(self, item: T | _End) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0 if self._drop_oldest else _POLL_SECONDS)
                return
            except queue.Full:
                if self._drop_oldest:
                    self._drop_one()

    def _drop_one(self) -> None:
        try:
            self._queue.get_nowait()
            self.dropped += 1
        except queue.Empty:
            pass  # it was taken in the meantime


class BackgroundConsumer(Generic[T]):
    """Calls a function on items in a thread, in the order they are given.

    Args:
        consume (Callable[[T], None]): What is done with an item.
        depth (int): How many items may wait before :meth:`put` waits.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._queue: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand over an item.

        Raises:
            BaseException: What the function raised on an earlier item.
        """
        while True:
            if self._error is not None:
                raise self._error
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return
            except queue.Full:
                continue

    def close(self) -> None:
        """Wait until every item is consumed; errors are raised by :meth:`check`."""
        self._queue.put(_End())
        self._thread.join()

    def check(self) -> None:
        """Raise what the function raised, if it did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                return
            if self._error is not None:
                continue  # empties the queue, so that nobody waits for room
            try:
                self._consume(item)
            except BaseException as error:
                self._error = error
