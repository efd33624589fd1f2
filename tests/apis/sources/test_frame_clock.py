# Copyright (c) mmfdta authors.
"""Numbers and times from sequences of time stamps, right and wrong ones."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from mmfdta.apis.sources.frame_clock import FrameClock

MS = Fraction(1, 1000)


def times(stamps, clock=None):
    clock = clock or FrameClock(MS, Fraction(25))
    for stamp in stamps:
        clock.add_packet(stamp)
    return [clock.add_frame(stamp)[1] for stamp in stamps]


@given(st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1, max_size=30))
def test_times_grow_whatever_the_stamps_are(stamps):
    found = times(stamps)
    assert found[0] == 0
    assert all(b > a for a, b in zip(found, found[1:], strict=False))


@given(
    st.sets(st.integers(0, 10**9), min_size=1, max_size=30),
    st.integers(-(10**9), 10**9),
)
def test_stamps_that_grow_are_kept(stamps, start):
    stamps = sorted(stamps)
    found = times([start + stamp for stamp in stamps])
    assert found == [(stamp - stamps[0]) * MS for stamp in stamps]


def test_missing_and_repeated_stamps():
    assert times([0, 40, None, 120]) == [0, Fraction(1, 25), Fraction(2, 25), 120 * MS]
    assert times([0, 40, 40, 41, 80]) == [0, 40 * MS, 41 * MS, 42 * MS, 80 * MS]
    # A clock that starts anew goes on at the frame rate.
    assert times([0, 40, 5, 45])[2:] == [41 * MS, 45 * MS]
    assert times([9000, 9040, 0, 40]) == [0, 40 * MS, 80 * MS, 120 * MS]


def test_packets_without_a_picture_are_no_losses():
    """VP8 stores reference frames that are never shown."""
    clock = FrameClock(MS, Fraction(25))
    for stamp in (0, 39, 40, 80):
        clock.add_packet(stamp)
    assert [clock.add_frame(stamp)[0] for stamp in (0, 40, 80)] == [0, 0, 0]
    assert clock.end() == 0


@given(st.data())
def test_losses_are_those_that_were_refused(data):
    """Packets in any order of decoding, some refused, of any rate."""
    count = data.draw(st.integers(2, 20))
    gaps = data.draw(st.lists(st.integers(1, 5000), min_size=count, max_size=count))
    stamps = [sum(gaps[: i + 1]) for i in range(count)]
    refused = data.draw(st.sets(st.sampled_from(stamps[1:]), max_size=count - 1))
    clock = FrameClock(MS, None)
    for stamp in stamps:
        clock.add_packet(stamp)
        if stamp in refused:
            clock.add_error()
    number, numbers = 0, {}
    for stamp in stamps:
        if stamp not in refused:
            number += 1 + clock.add_frame(stamp)[0]
            numbers[stamp] = number
    assert number + clock.end() == count
    assert all(stamps[n - 1] == stamp for stamp, n in numbers.items())


def test_a_stream_that_comes_back_counts_the_pause():
    clock = FrameClock(MS, Fraction(25))
    times([0, 40], clock)
    clock.restart(2.0)
    clock.add_packet(700)
    assert clock.add_frame(700) == (0, Fraction(2) + Fraction(2, 25))
