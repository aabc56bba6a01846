"""The clock of videos: times from 0 on, without the jumps of joined recordings."""

from fractions import Fraction
from typing import Any

import av

JUMP = 10  # seconds between packets beyond which recordings were joined, as in FFmpeg (-dts_delta_threshold)
BACK = 0.5  # the same backwards, where a stream's times should only grow


class Clock:
    """The time since a video's start.

    All streams are shifted alike. In formats whose clock may jump, such as MPEG transport streams, a jump to another
    recording is taken out. In others, a jump beyond the video's length is damage, and the packet loses its time.

    Attributes:
        shift: what is added to times [s].
    """

    def __init__(self, video: Any) -> None:
        self.started = video.start_time is not None  # FFmpeg has none for a single frame of an MPEG stream
        self.shift = self.former = -Fraction(video.start_time or 0, av.time_base)
        self.joint = 0  # where the last jump is in the file [bytes]; `former` is the shift before it
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
        if not self.started:
            self.shift, self.started = -(at if packet.pts is None else packet.pts) * packet.time_base, True
        exact = self.shift
        if packet.stream.type in ("audio", "video"):
            exact = self._shift(packet, at * packet.time_base)
            time = at * packet.time_base + exact
            if not self.jumps and self.length and self._far(packet, time) and time > self.length + JUMP:
                packet.pts = packet.dts = None
                return
            self.now = time
            self.ends[packet.stream_index] = time + (packet.duration or 0) * packet.time_base
        shift = round(exact / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift

    def _shift(self, packet: Any, at: Fraction) -> Fraction:
        """Return a packet's shift. A jump changes the shift of the packets that come after it in the file."""
        if not self.jumps:
            return self.shift
        held = packet.pos is not None and packet.pos < self.joint  # FFmpeg held it back until after the jump
        for shift in (self.former, self.shift) if held else (self.shift,):
            if not self._far(packet, at + shift) and not self._back(packet, at + shift):
                return shift
        self.former, self.joint = self.shift, packet.pos or 0
        self.shift = self.ends.get(packet.stream_index, self.now or Fraction(0)) - at
        return self.shift

    def _far(self, packet: Any, time: Fraction) -> bool:
        if self.now is None:
            return False
        return min(abs(time - self.ends.get(packet.stream_index, self.now)), abs(time - self.now)) > JUMP

    def _back(self, packet: Any, time: Fraction) -> bool:
        """Return whether a stream's time goes back. Streams may differ: formats interleave them loosely."""
        return self.ends.get(packet.stream_index, time) - time > BACK
