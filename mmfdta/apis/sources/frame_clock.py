# Copyright (c) mmfdta authors.
"""Numbers and times of decoded frames, from the time stamps of a container."""

import heapq
from fractions import Fraction

# A step back of so many seconds, or in containers whose clock may jump a step forward
# of so many, is a clock that starts again and not a picture that was shown so long.
_BACK, _FORWARD = Fraction(1, 2), 10
_DEFAULT_STEP = Fraction(1, 25)


class FrameClock:
    """Turns time stamps into frame numbers and times that only grow.

    A container stores packets in the order of decoding; the decoder gives frames in
    the order of showing. Packets whose time stamps have passed without a frame were
    lost, if the decoder complained, and count; otherwise they hold no picture of their
    own (VP8's reference frames), and do not. Where a container says that something is
    missing, and the time between frames was the same so far, the time tells how many.

    Args:
        time_base: Seconds of a unit; None if there are no time stamps.
        frame_rate: For frames without a time stamp.
        by_order: Time stamps belong to packets, but not to their frames (AVI, which
            has no time of showing): frames get them in ascending order.
        may_jump: The container's clock may jump (MPEG-TS).

    Attributes:
        jumps: How often the clock started again.
    """

    def __init__(
        self,
        time_base: Fraction | None,
        frame_rate: Fraction | None,
        by_order: bool = False,
        may_jump: bool = False,
    ) -> None:
        self.jumps = 0
        self._time_base = time_base
        self._step = _DEFAULT_STEP if frame_rate is None else 1 / frame_rate
        self._knows_rate = frame_rate is not None
        self._by_order = by_order
        self._may_jump = may_jump
        self._waiting: list[int] = []
        self._newest: int | None = None
        self._errors = 0
        self._error_at: int | None = None
        self._doubts = False
        self._index = -1
        self._regular = frame_rate is not None and time_base is not None
        self._offset: Fraction | None = None
        self._last: Fraction | None = None

    def add_packet(self, stamp: int | None) -> None:
        """Note a packet that goes to the decoder."""
        if stamp is None:
            return
        heapq.heappush(self._waiting, stamp)
        self._newest = stamp if self._newest is None else max(self._newest, stamp)

    def add_error(self) -> None:
        """Note that the decoder refused a packet."""
        self._errors += 1
        self.add_doubt()

    def add_doubt(self) -> None:
        """Note that frames may be missing before the next key frame."""
        self._doubts = True
        self._error_at = self._newest

    def add_frame(
        self, stamp: int | None, is_key: bool = False
    ) -> tuple[int, Fraction | None]:
        """Note a frame.

        Args:
            stamp: Its own time stamp.
            is_key: It rests on no other frame.

        Returns:
            How many frames were lost before it, and its time in seconds since the
            first frame; None if nothing says so.
        """
        if stamp is None or self._by_order:
            lost, self._errors = self._errors, 0
            if self._by_order and self._waiting:
                for _ in range(min(lost, len(self._waiting) - 1)):
                    heapq.heappop(self._waiting)
                stamp = heapq.heappop(self._waiting)
            return lost, self._time(stamp, lost)
        passed = set()
        while self._waiting and self._waiting[0] <= stamp:
            passed.add(heapq.heappop(self._waiting))
        lost = len(passed - {stamp}) if self._errors else 0
        before, time = self._last, self._time(stamp, lost)
        if self._regular and before is not None and time is not None:
            if self._doubts:
                lost = max(lost, round(time / self._step) - self._index - 1)
            else:
                tolerance = (self._time_base or 0) * 3 / 2
                self._regular = abs(time - before - self._step) <= tolerance
        passed_error = self._error_at is not None and stamp > self._error_at
        self._errors = 0 if passed_error else max(0, self._errors - lost)
        if is_key and passed_error:
            self._doubts = False
        self._index += 1 + lost
        return lost, time

    def end(self) -> int:
        """Count the frames that were lost at the end."""
        if not self._errors:
            return 0
        lost = len(set(self._waiting)) or self._errors
        self._waiting, self._errors = [], 0
        return lost

    def restart(self, pause: float) -> None:
        """Go on with a stream that was opened again, ``pause`` seconds later."""
        self._waiting, self._errors, self._doubts = [], 0, False
        self._newest = self._offset = None
        self._regular = False
        if self._last is not None:
            self._last += Fraction(pause).limit_denominator(1000)

    @property
    def start(self) -> Fraction | None:
        """The time stamp of the first frame, in seconds."""
        return None if self._offset is None or self.jumps else self._offset

    def _time(self, stamp: int | None, lost: int) -> Fraction | None:
        step = self._step * (1 + lost)
        if stamp is None or self._time_base is None:
            if self._last is None and not self._knows_rate:
                return None
            self._last = Fraction(0) if self._last is None else self._last + step
            return self._last
        now = stamp * self._time_base
        if self._offset is None:
            # The first frame, or the first one after a pause.
            time = Fraction(0) if self._last is None else self._last + step
            self._offset = now - time
        time = now - self._offset
        if self._last is not None:
            moved = time - self._last
            if moved <= -_BACK or (self._may_jump and moved > _FORWARD):
                self.jumps += 1
                time = self._last + step
                self._offset = now - time
            elif moved <= 0:
                time = self._last + self._time_base
        self._last = time
        return time
