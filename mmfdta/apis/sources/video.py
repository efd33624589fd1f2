# Copyright (c) mmfdta authors.
"""Videos and streams, through PyAV."""

import itertools
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .base import FrameSource, SourceFrame, SourceOptions
from .frame_clock import FrameClock
from .pipes import InputPipe
from .pixels import ValueRange, find_range, frame_pixels, to_bgr
from .pyav import TOLERANT, fraction

# Containers count frames wrongly by a few; more is a file that was cut off.
_MISCOUNTED_FRAMES = 2
_MISCOUNTED_SHARE = 0.01
# FFmpeg's flags of a format.
_NO_STAMPS, _CLOCK_JUMPS = 0x80, 0x200
# Formats that draw texts.
_TEXTS = {'tty', 'bin', 'xbin', 'idf', 'adf'}
# Their header says how long they are.
_TIMED_FORMATS = {'matroska', 'webm', 'flv', 'asf'}
LIVE_PROTOCOLS = ('rtsp', 'rtsps', 'rtmp', 'rtmps', 'rtmpt', 'udp', 'rtp', 'srt')
_LIVE_FORMATS = {'mpjpeg', 'rtsp', 'sdp', 'rtp'}
_ENDLESS_FORMATS = {'hls', 'dash'}
_SECONDS_TO_ANSWER = 15.0
# Seconds before a lost stream is tried again: doubled each time up to the largest.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0
# How many frames that rest on lost ones are left out, if no key frame comes.
_FRAMES_TO_KEY_FRAME = 300
# Errors of a container in a row after which nothing more is expected of it.
_MOST_ERRORS = 100
_SAMPLES = 8


class VideoSource(FrameSource):
    """A video file or stream.

    Args:
        target: Its path or address; None for a pipe, which can be read only once.
        name: What messages call it.
        options: How it is read.
        pipe: Path of a pipe with a name; None: standard input.

    Raises:
        OSError: If it cannot be opened, or is no video.
    """

    def __init__(
        self,
        target: str | None,
        name: str,
        options: SourceOptions,
        pipe: str | None = None,
    ) -> None:
        super().__init__(name)
        self._target = target
        self._pipe_path = pipe
        self._pipe: InputPipe | None = None
        self._options = options
        self._started = False
        self._range: ValueRange | None = None
        if options.value_range is not None:
            self._range = ValueRange(*options.value_range)
        self._open()
        stream, container = self._stream, self._container
        stamped = not container.format.flags & _NO_STAMPS
        rate = _frame_rate(stream, stamped)
        if rate is None and options.frame_rate is not None:
            rate = Fraction(options.frame_rate).limit_denominator(1001)
        self.frame_rate = rate
        self.time_base = fraction(stream.time_base) if stamped else None
        self._clock = FrameClock(
            self.time_base,
            rate,
            by_order='avi' in container.format.name.split(','),
            may_jump=bool(container.format.flags & _CLOCK_JUMPS),
        )
        self.live = _is_live(target, container)
        self.num_frames = None if self.live else _count(container, stream, rate)
        self.pixel_aspect = fraction(stream.sample_aspect_ratio) or Fraction(1)
        if container.streams.audio and target is not None and not self.live:
            self.audio_from = target
        if not stamped and rate is None and not self.live:
            self._say(
                'it has neither time stamps nor a frame rate, so frames have no times; '
                '--fps says how many there are per second'
            )

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames.

        Raises:
            OSError: If not even the first frame can be decoded.
        """
        self._started = True
        given, number = 0, 0
        by_clock = self.live and self.time_base is None and self.frame_rate is None
        begun: float | None = None
        try:
            while True:
                for place, frame, moment in self._read(number):
                    number = place
                    if by_clock:
                        now = time.monotonic()
                        begun = now if begun is None else begun
                        moment = Fraction(now - begun)
                    yield SourceFrame(number, self._picture(frame), moment)
                    given += 1
                    if self._closed.is_set():
                        return
                if not self.live or not self._reconnect(number):
                    break
        finally:
            self._release()
        if self._closed.is_set():
            return
        if not given:
            raise OSError(self.problem or f'{self.name}: not one frame can be decoded')
        if self._clock.jumps:
            self._say(
                f'its clock jumps (times: {self._clock.jumps}); the times of frames '
                'continue as if it did not'
            )

    def close(self) -> None:
        """Let go of the file; a thread that still reads ends soon and closes it."""
        super().close()
        if not self._started:
            self._release()

    def _release(self) -> None:
        """Close what is read."""
        self._container.close()
        if self._pipe is not None:
            self._pipe.close()

    # Opening

    def _open(self) -> None:
        """Open the container and choose the stream."""
        target = self._target
        options: dict[str, str] = {}
        wait: float | None = None
        if target is None:
            file: Any = InputPipe(self._closed, self._pipe_path)
            self._pipe = file
        elif '://' in target:
            file, wait = target, _SECONDS_TO_ANSWER
            options = _network_options(target, self._options)
        else:
            file = _address(target)
        try:
            self._container = av.open(file, options=options, timeout=wait, **TOLERANT)
        except UnicodeError:  # a name in no encoding
            named = open(target or '', 'rb')  # noqa: SIM115  (closed with its reader)
            self._container = av.open(named, **TOLERANT)
        except (av.FFmpegError, OSError, ValueError) as error:
            if self._pipe is not None:
                self._pipe.close()
                if self._pipe.interrupted:
                    raise KeyboardInterrupt from None
            raise OSError(f'{self.name}: {_explain(error)}') from None
        try:
            self._stream = self._choose_stream()
        except BaseException:
            self._release()
            raise
        self._stream.thread_type = 'AUTO'

    def _choose_stream(self) -> VideoStream:
        """Take the largest video that is no picture of a cover."""
        container = self._container
        pictures = av.stream.Disposition.attached_pic | (
            av.stream.Disposition.timed_thumbnails
        )
        videos = [s for s in container.streams.video if not s.disposition & pictures]
        if container.format.name in _TEXTS:
            raise OSError(f'{self.name}: it is a text; name a video')
        if not videos:
            sound = ', only sound' if container.streams.audio else ''
            raise OSError(
                f'{self.name}: there is no video in it{sound} '
                f'({container.format.long_name}). Was it cut off, or is it another '
                'file?'
            )
        readable = [s for s in videos if s.codec_context is not None]
        if not readable:
            raise OSError(
                f'{self.name}: this build of FFmpeg has no decoder for its video; '
                'convert it to H.264 first'
            )
        default = av.stream.Disposition.default
        stream = max(
            readable,
            key=lambda s: (s.width * s.height, bool(s.disposition & default)),
        )
        if len(videos) > 1:
            self._say(
                f'there are {len(videos)} videos in it; stream {stream.index} is '
                f'taken, {stream.width}x{stream.height}, the largest'
            )
        return stream

    def _reconnect(self, number: int) -> bool:
        """Try a stream again that was lost."""
        lost = time.monotonic()
        tries, wait = self._options.reconnect, _FIRST_WAIT
        self._container.close()
        for count in range(1, tries + 1):
            self._say(
                f'the stream was lost after frame {number}; trying again in '
                f'{wait:g} s ({count} of {tries})'
            )
            if self._closed.wait(wait):
                return False
            wait = min(2 * wait, _LONGEST_WAIT)
            try:
                self._open()
            except OSError as error:
                self.problem = str(error)
                continue
            self.problem = None
            pause = time.monotonic() - lost
            self._clock.restart(pause)
            self._say(
                f'the stream is back after {pause:.1f} s; frame {number + 1} comes next'
            )
            return True
        ended = f'{self.name}: the stream ended after frame {number}'
        if tries:
            ended += f', and did not come back in {tries} tries'
        self.problem = ended
        return False

    # Decoding

    def _read(self, number: int) -> Iterator[tuple[int, VideoFrame, Fraction | None]]:
        """Decode up to the end of the container, or to what ends the run.

        Args:
            number: Of the last frame before.

        Yields:
            Number, frame and time.
        """
        clock, crosses = self._clock, self.live or self._options.skip_broken
        decoder = _Decoder(self._container, self._stream, crosses, self.live)
        doubts = 0
        resting: int | None = None  # frames since a loss, before the next key frame
        for item in decoder:
            if isinstance(item, int):
                clock.add_packet(item)
                if decoder.doubts > doubts:
                    doubts = decoder.doubts
                    clock.add_doubt()
                continue
            if item is None:
                clock.add_error()
                if not crosses:
                    decoder.stop()
                continue
            if item.is_corrupt:
                clock.add_doubt()
            lost, moment = clock.add_frame(item.pts, item.key_frame)
            if lost and decoder.errors and not crosses:
                break
            number += 1 + lost
            self.skipped += lost
            if self.start is None:
                self.start = clock.start
            if item.key_frame or resting == _FRAMES_TO_KEY_FRAME:
                resting = None
            elif lost and crosses and resting is None:
                resting = 0
            if resting is not None:
                resting += 1
                self.skipped += 1
                continue
            self.damaged += item.is_corrupt
            yield number, item, moment
        if not crosses and decoder.errors:
            self.problem = (
                f'{self.name}: the video is broken after frame {number}; --skip-broken '
                'continues after what cannot be decoded'
            )
            return
        self.skipped += clock.end()
        self.problem = self._find_cut(decoder, number)

    def _find_cut(self, decoder: '_Decoder', number: int) -> str | None:
        """Say whether the file ends before its end."""
        if self.live:
            return None
        if decoder.reason is not None:
            return f'{self.name}: after frame {number} {decoder.reason}'
        kinds = set(self._container.format.name.split(','))
        announced = self._stream.frames
        if 'mp4' in kinds and self._stream.index_entries:
            # What an edit list leaves out is not there.
            announced = min(announced, len(self._stream.index_entries))
        reached = decoder.packets
        if 'avi' in kinds and decoder.newest is not None:
            # A frame that was dropped is an empty chunk: FFmpeg leaves it out, and
            # counts it in the time stamps.
            reached = max(reached, decoder.newest + 1)
        allowed = max(_MISCOUNTED_FRAMES, _MISCOUNTED_SHARE * announced)
        if announced - reached > allowed:
            return (
                f'{self.name}: the video announces {announced} frames, but ends after '
                f'{reached}. Was it cut off?'
            )
        if decoder.is_cut:
            return f'{self.name}: it ends within frame {number + 1}. Was it cut off?'
        if kinds & _TIMED_FORMATS and self._container.duration:
            said = Fraction(self._container.duration, av.time_base)
            if said - decoder.last > max(1, _MISCOUNTED_SHARE * said):
                return (
                    f'{self.name}: it announces {float(said):.1f} s, but ends after '
                    f'{float(decoder.last):.1f} s. Was it cut off?'
                )
        return None

    # Pictures

    def _picture(self, frame: VideoFrame) -> np.ndarray:
        """Give a decoded frame as uint8 (H, W, 3) BGR, upright."""
        pixels = frame_pixels(frame)
        if pixels.dtype == np.uint8:
            return pixels
        if self._range is None:
            self._range = self._find_range(frame.format.name, pixels)
        return to_bgr(self._range.to_bytes(pixels))

    def _find_range(self, kind: str, first: np.ndarray) -> ValueRange:
        """Look at frames all over a file, or at the first of what has no file."""
        images = [first]
        duration = self._container.duration
        if self._target is not None and not self.live and duration:
            with av.open(_address(self._target), **TOLERANT) as container:
                for place in range(1, _SAMPLES):
                    wanted = duration * place // _SAMPLES
                    container.seek(wanted)
                    stream = container.streams[self._stream.index]
                    frames: Any = container.decode(stream)
                    for frame in itertools.islice(frames, _FRAMES_TO_KEY_FRAME):
                        if (frame.time or 0) * av.time_base >= wanted:
                            images.append(frame_pixels(frame))
                            break
        found = find_range(images)
        self._say(
            f'its pixels are {kind}; {found}, found in {len(images)} '
            'frames, are shown as black to white. --value-range LOW HIGH sets this'
        )
        return found


class _Decoder:
    """Packets and frames of a container in the order in which they come.

    Iterating gives the time stamp of each packet (an int) before it is decoded, its
    frames, and None where the decoder refused something.

    Args:
        container: Where the packets are.
        stream: Which of them.
        crosses: Go on behind errors of the container.
        live: Errors of the container are its end.

    Attributes:
        packets: How many there were.
        errors: How many were refused.
        doubts: How many are not whole by what the container says.
        is_cut: The last one is not whole.
        newest: Largest time stamp of one, None before the first.
        last: Seconds at which the last of them ends, by the container's clock.
        reason: Why the container could not be read to its end.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        crosses: bool,
        live: bool,
    ) -> None:
        self.packets = 0
        self.errors = 0
        self.doubts = 0
        self.is_cut = False
        self.newest: int | None = None
        self.last = Fraction(0)
        self.reason: str | None = None
        self._container = container
        self._stream = stream
        self._read_streams = [stream, *container.streams.audio]
        self._crosses = crosses
        self._live = live
        self._stopped = False

    def stop(self) -> None:
        """Read no further; what the decoder still holds comes."""
        self._stopped = True

    def __iter__(self) -> Iterator[int | VideoFrame | None]:
        begun: bool | None = None
        for packet in self._packets():
            if packet.size:
                self.packets += 1
                if packet.pts is not None:
                    self.newest = max(packet.pts, self.newest or packet.pts)
                    if not packet.is_discard:
                        yield packet.pts
                if begun is None:
                    begun = packet.is_keyframe
            for frame in self._decode(packet):
                # A recording that begins between two key frames has frames in front
                # that nobody can decode.
                if frame is None and not begun:
                    continue
                begun = True
                self.errors += frame is None
                yield frame
            if self._stopped:
                break
        for _ in range(_MOST_ERRORS):
            rest = self._decode(None)
            if not rest:
                return
            self.errors += rest.count(None)
            yield from rest

    def _packets(self) -> Iterator[av.Packet]:
        """Read packets; errors of the container are crossed as long as some follow."""
        failed = 0
        held: av.Packet | None = None
        while True:
            try:
                for packet in self._container.demux(self._read_streams):
                    failed = 0
                    if packet.pts is not None:
                        unit = fraction(packet.time_base) or Fraction(0)
                        ends = packet.pts + (packet.duration or 0)
                        self.last = max(self.last, ends * unit)
                    if packet.stream_index != self._stream.index:
                        continue
                    # The last packet of a file that was cut off is not whole.
                    if held is not None and packet.size:
                        yield held
                    self.is_cut = held is not None and not packet.size
                    held = None
                    if packet.size and packet.is_corrupt:
                        self.doubts += 1
                        held = packet
                    else:
                        yield packet
                return
            except (av.FFmpegError, OSError) as error:
                failed += 1
                if self._live or failed > _MOST_ERRORS or not self._crosses:
                    self.reason = _explain(error)
                    return

    def _decode(self, packet: av.Packet | None) -> list[VideoFrame | None]:
        """Decode; None stands for what was refused."""
        try:
            return list(self._stream.codec_context.decode(packet))
        except EOFError:
            return []
        except (av.FFmpegError, ValueError):
            return [None]


def _address(target: str) -> str:
    """Name a file so that FFmpeg takes no `a:b.mp4` for a protocol."""
    return target if '://' in target else f'file:{target}'


def _network_options(target: str, options: SourceOptions) -> dict[str, str]:
    protocol = target.partition('://')[0].lower()
    if protocol in ('rtsp', 'rtsps'):
        return dict(rtsp_flags='prefer_tcp')
    if protocol not in ('http', 'https'):
        return {}
    # Without it FFmpeg 8 loses a connection that the server would keep, and frames
    # with it, where an MP4 file has its index at its end.
    found = dict(multiple_requests='1')
    if options.reconnect:
        found |= dict(
            reconnect='1',
            reconnect_on_network_error='1',
            reconnect_max_retries=str(options.reconnect),
            reconnect_delay_max=str(int(_LONGEST_WAIT)),
        )
    return found


def _explain(error: Exception) -> str:
    """Say in a few words why FFmpeg cannot go on; addresses may hold passwords."""
    if isinstance(error, av.ExitError):
        return f'nothing came within {_SECONDS_TO_ANSWER:g} s'
    if isinstance(error, av.InvalidDataError):
        return (
            'FFmpeg finds no video in it. Is it a video, and is it complete? An MP4 '
            'file that was cut off cannot be read, nor one with its index at its end '
            'in a pipe'
        )
    reason = getattr(error, 'strerror', None)
    return f'it cannot be read ({reason or type(error).__name__})'


def _is_live(target: str | None, container: InputContainer) -> bool:
    """Tell streams, whose frames come when they come, from files."""
    protocol = (target or '').partition('://')[0].lower()
    formats = set(container.format.name.split(','))
    endless = formats & _ENDLESS_FORMATS and not container.duration
    return protocol in LIVE_PROTOCOLS or bool(formats & _LIVE_FORMATS or endless)


def _frame_rate(stream: VideoStream, stamped: bool) -> Fraction | None:
    """Read the frame rate, where it is the video's and no guess of FFmpeg's."""
    rates = [stream.average_rate, stream.guessed_rate] if stamped else []
    for said in [*rates, stream.codec_context.framerate]:
        rate = fraction(said)
        if rate and 0 < rate <= 1000:
            return rate
    return None


def _count(
    container: InputContainer, stream: VideoStream, rate: Fraction | None
) -> int | None:
    """Estimate the number of frames."""
    if stream.frames:
        return stream.frames
    if container.duration and rate:
        return max(1, round(container.duration * rate / av.time_base))
    return None
