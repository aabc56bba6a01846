"""Reading of videos: frames and packets in file order, with times from 0 on, and whether the file is all there."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from gancolor.colorize.deinterlacing import Deinterlacer
from gancolor.colorize.inputs import ColorizeJob
from gancolor.utils.errors import InputError

COPIES = 8  # bytes per pixel in flight: the frame, its RGB before and after
CARRIED = ("audio", "subtitle", "attachment")  # types of the streams that the result keeps, beside the pictures
JUMP = 10  # seconds between packets beyond which recordings were joined, as in FFmpeg (-dts_delta_threshold)
BACK = 0.5  # the same backwards, where a stream's times should only grow
# The object of an ASF header that has its length, how much is read to find it, and its flag of a live recording:
# https://learn.microsoft.com/en-us/windows/win32/wmformat/file-properties-object
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_HEAD, ASF_LIVE = 2**16, 1
SOUND_SLACK = 0.5  # seconds by which sound may end before the time in the header


def file_url(path: Path) -> str:
    """Return a path as FFmpeg reads any name, also one such as `concat:a.mp4`, which would name a protocol."""
    return f"file:{path}"


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
            if stream not in (self.stream, *self.carried) and not is_written_anew(stream, chapters)
        ]
        self.rate = self.stream.average_rate or Fraction(25)
        self.time_base = self.stream.time_base
        self.clock = Clock(video)
        self.extent = Extent(video, self.stream, self.rate)
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
        return f"{self.lost} damaged piece{'s' * (self.lost != 1)} of it could not be read"

    def items(self) -> Iterator[tuple[Any, int]]:
        """Yield frames, and packets of other streams, in file order, each with the memory it takes [bytes]."""
        deinterlace = Deinterlacer()
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


def is_written_anew(stream: Any, chapters: bool) -> bool:
    """Return whether muxers write a data stream themselves: QuickTime's time code, and its titles of chapters."""
    return stream.type == "data" and ("timecode" in stream.metadata or (chapters and stream.name == "bin_data"))


class Clock:
    """The time since a video's start.

    All streams are shifted alike. In formats whose clock may jump, such as MPEG transport streams, a jump to another
    recording is taken out. In others, a jump beyond the video's length is damage, and the packet loses its time.
    """

    def __init__(self, video: Any) -> None:
        self.shift = -Fraction(video.start_time or 0, av.time_base)
        self.jumps = bool(video.format.flags & av.format.Flags.ts_discont.value)
        self.length = Fraction(video.duration, av.time_base) if video.duration else None
        self.now: Fraction | None = None
        self.ends: dict[int, Fraction] = {}  # by stream

    def set(self, packet: Any) -> None:
        """Change a packet's times."""
        if packet.pts is not None and packet.dts is not None and abs(packet.pts - packet.dts) * packet.time_base > JUMP:
            packet.pts = None
        if (at := packet.pts if packet.dts is None else packet.dts) is None:
            return
        if packet.stream.type in ("audio", "video"):
            time = at * packet.time_base + self.shift
            end = self.ends.get(packet.stream_index, self.now)
            jump = end is not None and min(abs(time - end), abs(time - self.now)) > JUMP
            if self.jumps and (jump or (end is not None and end - time > BACK)):
                self.shift += end - time
                time = end
            elif jump and self.length and time > self.length + JUMP:
                packet.pts = packet.dts = None
                return
            self.now = time
            self.ends[packet.stream_index] = time + (packet.duration or 0) * packet.time_base
        shift = round(self.shift / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift


class Extent:
    """How far a video goes by its header, and how far by its file.

    Attributes:
        frames: number of frames by the header, or None if it does not say.
        fault: FFmpeg's error where reading ended.
    """

    def __init__(self, video: Any, stream: Any, rate: Fraction) -> None:
        self.video, self.stream, self.rate = video, stream, rate
        self.start = Fraction(video.start_time or 0, av.time_base)
        self.form = video.format.name.split(",")[0]
        self.fault: str | None = None
        self.packets = self.done = 0
        self.starts: dict[int, Fraction] = {}  # of each stream's last packet
        self.ends: dict[int, Fraction] = {}  # of each stream
        self.first = self.last = self.end = Fraction(0)  # times of frames
        self.step = 1 / rate  # longest time from one frame to the next
        self.frames = self._stated()

    def read(self, packet: Any) -> None:
        """Note a packet that was read."""
        self.packets += packet.stream_index == self.stream.index
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
        for stream in self.video.streams.audio if self.form == "mov" else ():
            length = self._length(stream)
            heard = self.ends.get(stream.index, Fraction(0))
            if length and length - heard > SOUND_SLACK:
                return f"{float(heard):.1f} of {float(length):.1f} s of sound"
        return None

    def _short(self) -> Fraction:
        """Return the time from the last frame to the end by the header, or 0 if nothing is missing.

        Less than three quarters of a frame is no sign, because headers round.
        """
        length = self._length(self.stream)
        if not length or not self.done:
            return Fraction(0)
        # Others state the length of the longest stream, and interleave them closely.
        reached = self.end if self.form in ("mov", "avi") else max(self.end, *self.ends.values())
        short = length - reached
        if self.form == "mov" and self.packets < len(self.stream.index_entries) and short > 1 / self.rate / 2:
            return short
        return short if short > self.step * 3 / 4 else Fraction(0)

    def _length(self, stream: Any) -> Fraction | None:
        """Return the time at which a stream ends by the header. Formats without such a header have their ends looked
        for, or guessed by the bit rate."""
        if self.form == "mov" and stream.duration:
            return ((stream.start_time or 0) + stream.duration) * stream.time_base - self.start
        if self.form == "avi" and self.frames:
            return ((stream.start_time or 0) + self.frames) * stream.time_base - self.start
        if self.form in ("matroska", "flv") and self.video.duration:
            return Fraction(self.video.duration, av.time_base) - self.start
        if self.form == "asf" and (length := asf_length(Path(self.video.name.removeprefix("file:")))):
            return length - self.start
        return None

    def _total(self, short: Fraction) -> str:
        stated = self._stated() or 0
        guess = max(round((self.end + short - self.first) * self.rate), self.done + 1)
        return str(stated) if stated > self.done else f"about {guess}"

    def _stated(self) -> int | None:
        if self.form == "mov":
            return len(self.stream.index_entries) or None
        # An AVI file whose writing was broken off states some huge number. A frame has at least 8 bytes.
        frames = int(self.stream.frames)
        return frames if 0 < frames < self.video.size / 8 else None


def asf_length(path: Path) -> Fraction | None:
    """Return the length in the header of a WMV file. FFmpeg does not tell it of a file that is cut off."""
    with path.open("rb") as file:
        head = file.read(ASF_HEAD)
    at = head.find(ASF_PROPERTIES)
    if at < 0:
        return None
    length, _, lead_in, flags = struct.unpack_from("<QQQI", head, at + 64)
    return None if flags & ASF_LIVE else Fraction(length, 10**7) - Fraction(lead_in, 1000)
