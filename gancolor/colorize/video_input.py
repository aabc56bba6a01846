"""Reading of videos: frames and packets in file order, with times from 0 on, and whether the file is all there."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from gancolor.colorize.deinterlacing import Deinterlacer, first_field
from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.video_clock import Clock
from gancolor.colorize.video_files import asf_length, breaks_off
from gancolor.utils.errors import InputError
from gancolor.utils.words import counted

COPIES = 8  # bytes per pixel in flight: the frame, its RGB before and after
CARRIED = ("audio", "subtitle", "attachment")  # types of the streams that the result keeps, beside the pictures
MOST_RATE = 1000  # frames per second
SOUND_SLACK = 0.5  # seconds by which sound may end before the time in the header


class Clip:
    """An input video file.

    Attributes:
        stream: the pictures.
        carried: the streams that go with them, and covers; `left` has all others.
        frames: number of frames, or None if unknown.
        lost: number of damaged packets.
        interlaced: whether frames were deinterlaced.
    """

    def __init__(self, video: Any, job: ColorizeJob) -> None:
        covers = [s for s in video.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        pictures = [stream for stream in video.streams.video if stream not in covers]
        if not pictures:
            raise InputError(f"{job.source}: no pictures in it")
        self.video, self.job, self.stream = video, job, pictures[0]
        if self.stream.codec_context is None:
            raise InputError(f"{job.source}: no decoder for its pictures")
        self.stream.thread_type = "AUTO"
        self.carried = [stream for stream in video.streams if stream.type in CARRIED or stream in covers]
        chapters = bool(video.chapters())
        self.left = [
            stream
            for stream in video.streams
            if stream not in (self.stream, *self.carried) and not muxer_writes(stream, chapters)
        ]
        self.rate = frame_rate(self.stream)
        self.time_base = self.stream.time_base
        self.clock = Clock(video)
        self.extent = Extent(video, job.source, self.stream, self.rate, self.clock)
        self.frames = self.extent.frames or int((video.duration or 0) / av.time_base * self.rate) or None
        self.last: int | None = None
        self.lost = 0
        self.interlaced = False

    @property
    def missing(self) -> str | None:
        """What the file lacks of its video, or None."""
        return self.extent.missing()

    @property
    def damage(self) -> str:
        """How much could not be read, in words."""
        return f"{counted(self.lost, 'damaged piece')} of it could not be read"

    def items(self) -> Iterator[tuple[Any, int]]:
        """Yield frames, and packets of other streams, in file order, each with the memory it takes [bytes]."""
        deinterlace = Deinterlacer(first_field(self.stream.codec_context))
        carried = {stream.index for stream in self.carried}
        for packet in self._packets():
            if packet is not None and packet.stream_index != self.stream.index:
                if packet.stream_index in carried:
                    yield packet, packet.size
                continue
            for frame in self._decoded(packet):
                for progressive in deinterlace(frame):
                    yield progressive, COPIES * frame.width * frame.height
        for frame in deinterlace(None):
            yield frame, COPIES * frame.width * frame.height
        self.interlaced = deinterlace.used

    def _packets(self) -> Iterator[Any]:
        """Yield packets, and None at the end."""
        packets = self.video.demux()
        try:
            for packet in packets:
                if packet.dts is None and packet.pts is None and not packet.size:
                    continue  # PyAV's mark of a stream's end
                self.clock.set(packet)
                self.extent.read(packet)
                yield packet
        except av.FFmpegError as error:
            self.extent.fault = error.strerror
        except IndexError:
            pass  # PyAV's at the end, if an MPEG stream got another stream midway: all packets were read
        yield None

    def _decoded(self, packet: Any) -> Iterator[Any]:
        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError:  # a damaged packet loses only its own frames
            self.lost += 1
            self.extent.broken.add(self.stream.index)
            return
        for frame in frames:
            self._keep_order(frame)
            self.extent.decoded(frame)
            yield frame

    def _keep_order(self, frame: Any) -> None:
        """Give a frame a time if its file has none for it, or one that does not increase."""
        frame.time_base = self.time_base  # PyAV leaves it out at the end
        step = max(1, round(1 / (self.rate * self.time_base)))
        if frame.pts is None:
            frame.pts = 0 if self.last is None else self.last + step
        elif self.last is not None and frame.pts <= self.last:
            frame.pts = self.last + 1
        frame.duration = frame.duration or step
        self.last = frame.pts


def frame_rate(stream: Any) -> Fraction:
    """Return the frames per second. FFmpeg counts ticks of the clock as frames of raw DV; QuickTime's time code, which
    counts frames, can't be written then."""
    average = stream.average_rate
    return average if average and average <= MOST_RATE else stream.guessed_rate or Fraction(25)


def note_damage(broken: set[int], packet: Any, damaged: bool) -> None:
    """Note whether a stream's last piece is damaged. Packets without a position come from the same piece as before."""
    if damaged:
        broken.add(packet.stream_index)
    elif packet.pos is not None:
        broken.discard(packet.stream_index)


def muxer_writes(stream: Any, chapters: bool) -> bool:
    """Return whether muxers write a data stream themselves: QuickTime's time code, and its titles of chapters."""
    return stream.type == "data" and ("timecode" in stream.metadata or (chapters and stream.name == "bin_data"))


class Extent:
    """How far a video goes by its header, and how far by its file.

    Attributes:
        frames: number of frames by the header, or None if it does not say.
        fault: FFmpeg's error where reading ended.
        broken: indices of the streams whose last piece is damaged.
    """

    def __init__(self, video: Any, path: Path, stream: Any, rate: Fraction, clock: Clock) -> None:
        self.video, self.path, self.stream, self.rate, self.clock = video, path, stream, rate, clock
        self.form = video.format.name.split(",")[0]
        self.fault: str | None = None
        self.broken: set[int] = set()
        self.packets: Counter[int] = Counter()  # by stream
        self.done = 0  # frames
        self.starts: dict[int, Fraction] = {}  # of each stream's last packet
        self.ends: dict[int, Fraction] = {}  # of each stream
        self.first = self.last = self.end = Fraction(0)  # times of frames
        self.step = 1 / rate  # longest time from one frame to the next
        self.frames = self._stated()

    def read(self, packet: Any) -> None:
        """Note a packet that was read."""
        self.packets[packet.stream_index] += 1
        note_damage(self.broken, packet, packet.is_corrupt)
        if packet.pts is not None:
            at, index = packet.pts * packet.time_base, packet.stream_index
            end = at + (packet.duration or 0) * packet.time_base
            if not packet.duration and packet.stream.type == "audio":  # FLV states none: as long as the last one
                end += max(0, at - self.starts.get(index, at))
            self.starts[index] = at
            self.ends[index] = max(end, self.ends.get(index, end))

    def decoded(self, frame: Any) -> None:
        """Note a frame that was decoded."""
        at = frame.pts * self.stream.time_base
        self.first, self.step = (self.first, max(self.step, at - self.last)) if self.done else (at, self.step)
        self.last, self.end = at, at + frame.duration * self.stream.time_base
        self.done += 1

    def missing(self) -> str | None:
        """Return what the file lacks, in words."""
        short = self._short()
        if short > 0 or self.fault:
            return f"{self.done} of {self._total(short)} frames" if short > 0 else f"{self.done} frames ({self.fault})"
        for stream in self.video.streams.audio if self.form in ("mov", "mxf") else ():
            length = self._length(stream)
            heard = self.ends.get(stream.index, Fraction(0))
            if length and length - heard > SOUND_SLACK:
                return f"{float(heard):.1f} of {float(length):.1f} s of sound"
        if any(stream.index in self.broken for stream in (self.stream, *self.video.streams.audio)):
            return f"{self.done} frames (its end is damaged)"
        if breaks_off(self.path, self.form, fragmented=not self.stream.frames):
            return f"{self.done} frames (its end is missing)"
        return None

    def _short(self) -> Fraction:
        """Return the time from the last frame to the end by the header, or 0 if nothing is missing.

        Less than three quarters of a frame is no sign, because headers round.
        """
        length = self._length(self.stream)
        if not length or not self.done:
            return Fraction(0)
        # Others state the length of the longest stream, and interleave them closely.
        reached = self.end if self.form in ("mov", "avi", "mxf") else max(self.end, *self.ends.values())
        short = length - reached
        unread = self.form in ("mov", "mxf") and self.packets[self.stream.index] < (self._stated() or 0)
        if unread and (self.form == "mxf" or short > 1 / self.rate / 2):
            return max(short, 1 / self.rate)
        return short if short > self.step * 3 / 4 else Fraction(0)

    def _length(self, stream: Any) -> Fraction | None:
        """Return the time at which a stream ends by the header, on the clip's clock. Formats without such a header have
        their ends looked for, or guessed by the bit rate."""
        if self.form in ("mov", "mxf") and stream.duration:
            # Fragments leave `frames` at 0, and some count their durations from the file's start.
            start = 0 if self.form == "mov" and not stream.frames else stream.start_time or 0
            return (start + stream.duration) * stream.time_base + self.clock.shift
        if self.form == "avi" and self.frames:
            return ((stream.start_time or 0) + self.frames) * stream.time_base + self.clock.shift
        if self.form in ("matroska", "flv") and self.video.duration:
            return Fraction(self.video.duration, av.time_base) + self.clock.shift
        if self.form == "asf" and (length := asf_length(self.path)):
            return length + self.clock.shift
        return None

    def _total(self, short: Fraction) -> str:
        stated = self._stated() or 0
        guess = max(round((self.end + short - self.first) * self.rate), self.done + 1)
        return str(stated) if stated > self.done else f"about {guess}"

    def _stated(self) -> int | None:
        if self.form == "mov":
            return len(self.stream.index_entries) or None
        if self.form == "mxf" and self.rate * self.stream.time_base == 1:
            return self.stream.duration or None
        # An AVI file whose writing was broken off states some huge number. A frame has at least 8 bytes.
        frames = int(self.stream.frames)
        return frames if 0 < frames < self.path.stat().st_size / 8 else None
