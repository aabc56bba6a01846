"""What goes with a video's pictures: sound, subtitles, covers and attached files.

They are copied if the result's container can hold them. Otherwise sound and text are encoded again.
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.rational import AVRational

SOUND = {"mp4": "aac", "mov": "aac", "matroska": "flac", "webm": "libopus"}  # encoders, by container
TEXT = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
# Layouts of Opus, by the number of channels.
LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
NOUNS = {"video": "pictures", "audio": "sound", "subtitle": "subtitles", "attachment": "attached files"}


class Copy:
    """A stream whose packets are copied."""

    def __init__(self, container: Any, source: Any) -> None:
        self.stream = copied(container, source)

    def encode(self, packet: Any) -> Iterator[Any]:
        yield packet

    def flush(self) -> Iterator[Any]:
        yield from ()


class Sound:
    """Sound that is encoded again. Gaps, where packets are damaged or missing, become silence."""

    def __init__(self, container: Any, source: Any) -> None:
        context = source.codec_context
        codec = av.Codec(SOUND[container.format.name], "w")
        rates = codec.audio_rates or [context.sample_rate]
        # The next higher rate, or the highest.
        rate = min(rates, key=lambda rate: (rate < context.sample_rate, abs(rate - context.sample_rate)))
        names = [name.name for name in codec.audio_formats]
        depth = "s32" if context.format and context.format.name.startswith("s32") else "s16"
        sample_format = depth if depth in names else names[-1]
        layout = accepted_layout(codec, sample_format, rate, context.layout)
        self.source = source
        self.stream = describe(container.add_stream(codec.name, rate=rate, layout=layout, format=sample_format), source)
        self.resampler: Any = None
        self.kind: tuple[Any, ...] = ()
        self.end: Fraction | None = None  # of the last frame [s]

    def encode(self, packet: Any) -> Iterator[Any]:
        for frame in self.source.decode(packet):
            yield from self._encoded(frame)

    def flush(self) -> Iterator[Any]:
        for frame in self.source.decode(None):
            yield from self._encoded(frame)
        yield from self._rest()
        yield from self.stream.encode(None)

    def _encoded(self, frame: Any) -> Iterator[Any]:
        frame.time_base = self.source.time_base  # PyAV leaves it out at the end
        if frame.pts is None:
            frame.pts = round((self.end or 0) / frame.time_base)
        self.end = frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate)
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self.kind:
            yield from self._rest()
            to = self.stream.codec_context
            self.resampler = av.AudioResampler(to.format, to.layout, to.sample_rate, options={"async": "1"})
            self.kind = kind
        for part in self.resampler.resample(frame):
            yield from self.stream.encode(part)

    def _rest(self) -> Iterator[Any]:
        for part in self.resampler.resample(None) if self.resampler else ():
            yield from self.stream.encode(part)


class Text:
    """Text subtitles that are encoded again."""

    def __init__(self, container: Any, source: Any) -> None:
        self.source = source.codec_context
        self.source.open(strict=False)
        self.stream = describe(container.add_stream(TEXT[container.format.name]), source)
        self.stream.codec_context.subtitle_header = self.source.subtitle_header
        self.stream.codec_context.time_base = source.time_base

    def encode(self, packet: Any) -> Iterator[Any]:
        if (shown := self.source.decode2(packet)) is None or not len(shown):
            return
        text = self.stream.codec_context.encode_subtitle(shown)
        text.time_base, text.pts, text.dts, text.duration = packet.time_base, packet.pts, packet.pts, packet.duration
        yield text

    def flush(self) -> Iterator[Any]:
        yield from ()


Track = Copy | Sound | Text


def kind_of_track(container: str, source: Any) -> type[Track] | None:
    """Choose how a stream gets into a container; None if it can't."""
    if holds(container, source):
        return Copy
    decoder = source.codec_context and source.codec_context.codec
    if source.type == "audio" and decoder and source.codec_context.sample_rate and source.codec_context.layout:
        return Sound
    return Text if source.type == "subtitle" and decoder and decoder.text_sub else None


def holds(container: str, source: Any) -> bool:
    """Ask a container's muxer whether it can hold packets of a stream."""
    if source.type == "attachment" and container != "matroska":
        return False  # WebM's muxer takes attached files, and drops them
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        stream = copied(trial, source)
        trial.start_encoding()
        if source.codec_context and source.codec_context.name.startswith("pcm_"):
            # MP4 describes the channels only at its end, and refuses layouts there.
            trial.mux(silence(stream, source.codec_context.layout.nb_channels))
        trial.close()
    except (av.FFmpegError, ValueError):
        return False
    return True


def silence(stream: Any, channels: int) -> Any:
    """Return a packet of uncompressed sound."""
    packet = av.Packet(bytes(24 * channels))  # whole samples of 8, 16, 24, 32 or 64 bits
    packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = stream, stream.time_base, 0, 0, 1
    return packet


def copied(container: Any, source: Any) -> Any:
    """Add a stream for copies of another's packets.

    Raises:
        FFmpegError, ValueError: the container can't hold it.
    """
    try:
        stream = container.add_stream_from_template(source, opaque=True)
    except ValueError:
        # PyAV asks for the codecs that Matroska has names for. It also holds those that AVI has a tag for, and covers.
        if container.format.name != "matroska" or source.type not in ("audio", "video"):
            raise
        stream = container.add_data_stream()
        BitStreamFilterContext("null", source, stream)
    if stream.type == "audio" and stream.codec_context:
        name_layout(stream.codec_context)
    return describe(stream, source)


def name_layout(context: Any) -> None:
    """Name the usual layout where a file states only the number of channels, as AVI does. MP4 needs a name."""
    channels = context.layout.nb_channels
    if context.layout.name.endswith(" channels") and channels <= len(LAYOUTS):
        context.layout = LAYOUTS[channels - 1]


def describe(stream: Any, source: Any) -> Any:
    """Give a stream the language, title and purpose of its source."""
    stream.metadata.update(source.metadata)
    stream.disposition = source.disposition
    return stream


def accepted_layout(codec: Any, sample_format: str, rate: int, layout: Any) -> str:
    """Return a layout that the encoder accepts: the same, another of as many channels, or else stereo."""
    for name in (layout.name, *LAYOUTS[layout.nb_channels - 1 : layout.nb_channels]):
        trial = av.CodecContext.create(codec.name, "w")
        trial.sample_rate, trial.format, trial.layout = rate, sample_format, name
        trial.time_base = AVRational(1, rate)
        try:
            trial.open()
        except (av.FFmpegError, ValueError):
            continue
        return name
    return "stereo"
