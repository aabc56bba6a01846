"""Deinterlacing of video frames."""

from collections.abc import Iterator
from typing import Any

import av
from av.filter import Graph

# FFmpeg's AVFieldOrder: top and bottom; top coded first, but bottom shown first; the reverse.
FIRST_FIELDS = {2: "tff", 3: "bff", 4: "bff", 5: "tff"}


def first_field(context: Any) -> str | None:
    """Return the field that comes first in all frames by the container, as bwdif's parity.

    This is None if frames are progressive, or mark themselves, as those of the MPEG family, which reorder them, do.
    """
    return FIRST_FIELDS.get(context.field_order) if not context.codec.reorder else None


class Deinterlacer:
    """Makes progressive frames of interlaced ones (FFmpeg's bwdif), at the same rate. Others stay as they are.

    Args:
        first: the field that comes first in all frames; None if frames mark themselves as interlaced.
    """

    def __init__(self, first: str | None = None) -> None:
        self.how = {"deint": "all", "parity": first} if first else {"deint": "interlaced"}
        self.graph: Any = None
        self.kind: tuple[Any, ...] = ()
        self.used = False

    def __call__(self, frame: Any | None) -> Iterator[Any]:
        """Yield the frames that are ready; at the end, None yields the rest."""
        kind = (frame.width, frame.height, frame.format.name) if frame is not None else ()
        if self.graph and kind != self.kind:
            self.graph.vpush(None)
            yield from self._ready()
            self.graph = None
        if frame is not None and self.graph is None and self._is_interlaced(frame):
            self._start(frame)
            self.kind, self.used = kind, True
        if self.graph:
            self.graph.vpush(frame)
            yield from self._ready()
        elif frame is not None:
            yield frame

    def _is_interlaced(self, frame: Any) -> bool:
        enough = frame.width > 2 and frame.height > 3  # for bwdif
        return enough and (frame.interlaced_frame or self.how["deint"] == "all")

    def _start(self, frame: Any) -> None:
        self.graph, self.time_base = Graph(), frame.time_base
        nodes = (
            self.graph.add(
                "buffer", video_size=f"{frame.width}x{frame.height}", pix_fmt=frame.format.name,
                time_base=str(frame.time_base), pixel_aspect="1/1",
            ),
            self.graph.add("bwdif", mode="send_frame", **self.how),
            self.graph.add("buffersink"),
        )  # fmt: skip
        self.graph.link_nodes(*nodes).configure()

    def _ready(self) -> Iterator[Any]:
        while True:
            try:
                frame = self.graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            scale = frame.time_base / self.time_base
            frame.pts, frame.duration = round(frame.pts * scale), round(frame.duration * scale)
            frame.time_base = self.time_base
            yield frame
