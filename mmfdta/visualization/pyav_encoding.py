# Copyright (c) mmfdta authors.
"""Encodes videos with PyAV, with their time stamps and the audio of their source."""

import contextlib
import errno
import logging
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet

from mmfdta.utils.logs import say

# The name FFmpeg has for the container of a suffix.
_FORMATS = {
    '.mp4': 'mp4',
    '.m4v': 'mp4',
    '.mov': 'mov',
    '.mkv': 'matroska',
    '.avi': 'avi',
    '.webm': 'webm',
}
# Without B-frames: with them the length of an mp4 of uneven times is wrong.
_H264 = ('libx264', {'preset': 'superfast', 'bf': '0'})
_VP9 = ('libvpx-vp9', {'deadline': 'realtime', 'cpu-used': '8', 'row-mt': '1'})
# Quantiser 3 of 2..31.
_MPEG4 = ('mpeg4', {'flags': '+qscale', 'global_quality': str(3 * 118)})
# The first that this build of FFmpeg has.
_ENCODERS: dict[str, tuple[tuple[str, dict[str, str]], ...]] = {
    '.mp4': (_H264, _MPEG4),
    '.m4v': (_H264, _MPEG4),
    '.mov': (_H264, _MPEG4),
    '.mkv': (_H264, _MPEG4),
    '.avi': (_MPEG4,),
    '.webm': (_VP9,),
}
# Audio that is taken over as it is, and what other audio becomes. MP4 may hold more,
# but browsers play these; avi keeps no times, so its audio must begin at 0.
_AUDIO: dict[str, tuple[tuple[str, ...], str]] = {
    '.mp4': (('aac', 'mp3', 'opus'), 'aac'),
    '.m4v': (('aac', 'mp3', 'opus'), 'aac'),
    '.mov': (('aac', 'mp3', 'alac', 'pcm_s16le', 'pcm_s16be'), 'aac'),
    '.mkv': (('aac', 'mp3', 'opus', 'vorbis', 'flac', 'ac3', 'eac3', 'dts'), 'aac'),
    '.avi': ((), 'mp3'),
    '.webm': (('opus', 'vorbis'), 'opus'),
}
_AUDIO_ENCODERS = {'aac': 'aac', 'mp3': 'libmp3lame', 'opus': 'libopus'}
_AUDIO_BIT_RATE = 160_000

# A browser seeks to a picture that is stored whole.
_SECONDS_BETWEEN_KEY_FRAMES = 2
_MOST_FRAMES_BETWEEN_KEY_FRAMES = 250
_MOST_THREADS = 8
_LARGEST_SIDE = 16384
# Finer stamps than these no container keeps.
_FINEST_TICKS, _USUAL_TICKS = 1_000_000, 90_000
# Longer, and mp4 counts no more; avi takes no more pictures that lack.
_LONGEST_TICKS, _LONGEST_FRAMES = 2**31 - 1, 60_000
# MPEG-4 counts in 16 bits.
_MOST_MPEG4_TICKS = 65535
# SWS_BICUBIC and SWS_ACCURATE_RND: without the second, every channel is half a step
# too low.
_CONVERSION = 0x4 | 0x40000
# Limited range, the matrix of BT.601 and the screen's primaries and transfer. Every
# reader that follows tags shows the right colours; OpenCV follows none and takes
# BT.601 for all, so BT.709 would be off by up to 28 of 255 there.
_LIMITED, _BT601, _BT709 = 1, 6, 1

# PyAV 19 always takes titles that are no UTF-8, earlier ones when told to.
_TOLERANT: dict[str, Any] = (
    {'metadata_errors': 'replace'} if int(av.__version__.partition('.')[0]) < 19 else {}
)


class PyAVEncoder:
    """An encoder and the file that it writes.

    The video is H.264 in yuv420p (VP9 in webm, MPEG-4 in avi), in limited range with
    the matrix of BT.601, and says so. A key frame comes every two seconds. mp4 and mov
    have their index in front.

    Args:
        path: The file; the suffix tells the container.
        size: Width and height of the frames.
        frame_rate: Frames per second; how long the last frame lasts.
        time_base: The unit in which the frames' times are whole numbers, seconds;
            None: one for frames at that rate.
        crf: Constant rate factor of H.264 or VP9.
        pixel_aspect: Width of a pixel by its height.
        audio_from: Path or address of a file whose audio is kept.
        audio_start: Time stamp in that file, seconds, of the first frame.

    Raises:
        OSError: If nothing can be encoded or the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        frame_rate: Fraction,
        time_base: Fraction | None = None,
        crf: int | None = None,
        pixel_aspect: Fraction = Fraction(1),
        audio_from: str | None = None,
        audio_start: Fraction = Fraction(0),
    ) -> None:
        suffix = path.suffix.lower()
        self._name, options = _choose_encoder(suffix)
        if crf is not None and self._name != _MPEG4[0]:
            options = options | {'crf': str(crf), 'b': '0'}
        self._even = self._name == 'libx264'
        self._tick = self._choose_tick(frame_rate, time_base)
        self._frame_ticks = max(1, round(1 / frame_rate / self._tick))
        self._longest = _LONGEST_FRAMES if suffix == '.avi' else _LONGEST_TICKS
        self._last: int | None = None
        self._cut = 0
        width, height = (n + n % 2 if self._even else n for n in size)
        if (width, height) != size:
            say(
                f'The video is {width}x{height} for frames of {size[0]}x{size[1]}: '
                'H.264 has even sizes, so their last pixels are repeated'
            )
        what = f'encode {width}x{height} with {self._name}'
        if max(width, height) > _LARGEST_SIDE:
            what += f', a side over {_LARGEST_SIDE} pixels: scale the frames down'
        with _explained(what):
            self._container: OutputContainer = av.open(
                os.path.abspath(path),  # FFmpeg takes `a:b.mp4` for an address
                'w',
                format=_FORMATS[suffix],
                options={'movflags': 'faststart'} if _has_index(suffix) else {},
            )
            try:
                stream: Any = self._container.add_stream(
                    self._name, rate=frame_rate, options=options
                )
                self._stream = stream
                stream.width, stream.height = width, height
                stream.pix_fmt = 'yuv420p'
                stream.time_base = self._tick
                stream.sample_aspect_ratio = pixel_aspect
                self._set_up(stream.codec_context, frame_rate)
                stream.codec_context.open(strict=False)
                self._audio = None
                if audio_from is not None:
                    self._audio = open_audio(
                        audio_from, audio_start, self._container, suffix
                    )
                self._container.start_encoding()
            except BaseException:
                self.abandon()
                raise

    def write(self, image: np.ndarray, time: Fraction) -> None:
        """Encode a frame.

        Args:
            image: uint8 (H, W, 3) BGR of the size given.
            time: Seconds since the first frame; a time that is not after the frame
                before becomes the next one that is.
        """
        if self._even and (image.shape[0] % 2 or image.shape[1] % 2):
            odd = image.shape[0] % 2, image.shape[1] % 2
            image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), 'edge')
        ticks = round(time / self._tick) - self._cut
        if self._last is not None:
            if ticks - self._last > self._longest:
                gap = ticks - self._last
                say(
                    f'A gap of {float(gap * self._tick):.0f} s between two frames is '
                    'more than the video can keep: the next frame follows at once',
                    logging.WARNING,
                )
                self._cut += gap - self._frame_ticks
                ticks = self._last + self._frame_ticks
            ticks = max(ticks, self._last + 1)
        self._last = ticks
        frame = av.VideoFrame.from_ndarray(image, 'bgr24').reformat(
            format='yuv420p',
            dst_colorspace='ITU601',
            dst_color_range='MPEG',
            interpolation=_CONVERSION,
        )
        frame.pts, frame.time_base = ticks, self._tick
        self._mux(self._stream.encode(frame))
        if self._audio is not None:
            self._audio.write_until(ticks * self._tick)

    def close(self) -> None:
        """Complete the file; the audio ends with the last frame."""
        self._mux(self._stream.encode(None))
        if self._audio is not None:
            end = ((self._last or 0) + self._frame_ticks) * self._tick
            self._audio.write_until(end)
            self._audio.close()
        self._container.close()

    def abandon(self) -> None:
        """Let go of the file, whole or not."""
        with contextlib.suppress(OSError, ValueError, av.FFmpegError):
            self._container.close()

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            packet.duration = self._frame_ticks
            self._container.mux(packet)

    def _choose_tick(self, rate: Fraction, time_base: Fraction | None) -> Fraction:
        """Choose the unit of the time stamps, seconds."""
        if self._name == 'mpeg4':
            return 1 / rate.limit_denominator(max(1, int(_MOST_MPEG4_TICKS / rate)))
        if time_base is None or time_base.denominator > _FINEST_TICKS:
            time_base = Fraction(1, rate.numerator)
        # A part of it, so that times between are kept, too.
        return time_base / math.ceil(time_base * _USUAL_TICKS)

    def _set_up(self, context: Any, rate: Fraction) -> None:
        context.time_base = self._tick
        context.gop_size = min(
            max(1, round(_SECONDS_BETWEEN_KEY_FRAMES * rate)),
            _MOST_FRAMES_BETWEEN_KEY_FRAMES,
        )
        context.thread_count = min(os.cpu_count() or 1, _MOST_THREADS)
        context.color_range = _LIMITED
        context.colorspace = _BT601
        context.color_primaries = context.color_trc = _BT709


class KeptAudio:
    """Audio of a file on its way into another.

    Args:
        source: The file, open.
        name: What messages call it.
        start: Its time stamp that becomes 0, seconds.
        output: Where the audio goes; its header is not written yet.
        suffix: Of the output.
    """

    def __init__(
        self,
        source: Any,
        name: str,
        start: Fraction,
        output: OutputContainer,
        suffix: str,
    ) -> None:
        self._source = source
        self._name = name
        self._start = start
        self._output = output
        self._from: Any = source.streams.audio[0]
        context = self._from.codec_context
        if context is None or not context.sample_rate or not context.channels:
            raise ValueError('no decoder knows it')
        copied, encoder = _AUDIO[suffix]
        self._copied = context.name in copied
        self._from_zero = suffix == '.avi'
        self._graph: Graph | None = None
        if self._copied:
            self._to: Any = output.add_stream_from_template(self._from)
        else:
            keeps_rate = context.sample_rate == 44100 and encoder != 'opus'
            self._rate = 44100 if keeps_rate else 48000
            self._layout = 'mono' if context.channels == 1 else 'stereo'
            self._to = output.add_stream(
                _AUDIO_ENCODERS[encoder], rate=self._rate, layout=self._layout
            )
            self._to.bit_rate = _AUDIO_BIT_RATE
            self._to.codec_context.open(strict=False)
        self._packets = self._read()
        self._waiting: Packet | None = next(self._packets, None)
        self._written = -1

    def write_until(self, end: Fraction) -> None:
        """Write what is heard before a time, seconds."""
        while self._waiting is not None and self._time(self._waiting) < end:
            packet = self._waiting
            self._waiting = next(self._packets, None)
            if self._copied:
                self._copy(packet)
            else:
                self._encode(packet)

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self._graph is not None:
            self._push(None)
        if not self._copied:
            self._mux(self._to.encode(None))
        self._source.close()

    def _read(self) -> Iterator[Packet]:
        """Yield packets that have a time; the last ones of a broken file may lack."""
        try:
            for packet in self._source.demux(self._from):
                if packet.pts is not None and packet.size:
                    yield packet
        except (OSError, ValueError, av.FFmpegError) as error:
            say(f'{self._name}: the audio breaks off: {error}', logging.WARNING)

    def _time(self, packet: Packet) -> Fraction:
        """Seconds since the first frame."""
        return (packet.pts or 0) * Fraction(packet.time_base or 0) - self._start

    def _copy(self, packet: Packet) -> None:
        shift = round(self._start / Fraction(packet.time_base))
        time = (packet.pts or 0) - shift
        if time <= self._written or time < 0:
            return
        self._written = time
        packet.pts = packet.dts = time
        packet.stream = self._to
        self._output.mux(packet)

    def _encode(self, packet: Packet) -> None:
        try:
            frames: list[Any] = packet.decode()
        except (OSError, ValueError, av.FFmpegError):
            return  # silence
        for frame in frames:
            if frame.pts is None:
                continue
            if self._graph is None:
                self._graph = self._build_graph(frame)
            frame.pts -= round(self._start / Fraction(frame.time_base))
            self._push(frame)

    def _build_graph(self, frame: Any) -> Graph:
        """Resample; gaps become silence, what is heard before 0 is cut off."""
        graph = Graph()
        nodes = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=Fraction(frame.time_base),
            ),
            graph.add('aresample', f'{self._rate}:async=1:first_pts=0'),
            graph.add(
                'aformat',
                f'sample_fmts={self._to.codec_context.format.name}:'
                f'channel_layouts={self._layout}:sample_rates={self._rate}',
            ),
            graph.add('asetnsamples', f'n={self._to.codec_context.frame_size}:p=0'),
            graph.add('abuffersink'),
        ]
        graph.link_nodes(*nodes).configure()
        return graph

    def _push(self, frame: AudioFrame | None) -> None:
        assert self._graph is not None
        self._graph.push(frame)
        while True:
            try:
                done = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            self._mux(self._to.encode(done))

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            # An encoder's delay comes before 0.
            if not self._from_zero or (packet.pts or 0) >= 0:
                self._output.mux(packet)


def open_audio(
    source: str, start: Fraction, output: OutputContainer, suffix: str
) -> KeptAudio | None:
    """Open the audio of a file for an output; where there is none, say so.

    Args:
        source: Path or address of the file.
        start: Its time stamp that becomes 0, seconds.
        output: Where the audio goes; its header is not written yet.
        suffix: Of the output.
    """
    remote = '://' in source
    name = Path(source.partition('?')[0] if remote else source).name
    try:
        address = source if remote else os.path.abspath(source)
        container = av.open(address, **_TOLERANT)
        if container.streams.audio:
            return KeptAudio(container, name, start, output, suffix)
        container.close()
        reason = 'has no audio'
    except (OSError, ValueError, av.FFmpegError) as error:
        reason = f'has audio that cannot be read ({error})'
    say(f'{name} {reason}: the video is written without', logging.WARNING)
    return None


def _has_index(suffix: str) -> bool:
    return _FORMATS[suffix] in ('mp4', 'mov')


def _choose_encoder(suffix: str) -> tuple[str, dict[str, str]]:
    """Choose the first encoder of a container that is there.

    Raises:
        OSError: If none is.
    """
    candidates = _ENCODERS[suffix]
    for name, options in candidates:
        if name in av.codecs_available:
            if name != candidates[0][0]:
                say(
                    f'FFmpeg in PyAV has no {candidates[0][0]}: {suffix} is written as '
                    f'{name}, which browsers do not play',
                    logging.WARNING,
                )
            return name, options
    names = ', '.join(name for name, _ in candidates)
    raise OSError(
        errno.ENOSYS, f'FFmpeg in PyAV has none of the encoders {names} for {suffix}'
    )


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say what was tried, where FFmpeg's error does not."""
    try:
        yield
    except OSError:
        raise
    except av.FFmpegError as error:
        raise OSError(errno.EINVAL, f'cannot {what} ({error.strerror})') from None
