"""The formats that can be read, and the names of some that can't."""

# libvips's loaders of photographs. (Of an Ultra HDR JPEG, `uhdr` returns the ordinary picture.) Its wheels have no
# loaders of JPEG 2000 and JPEG XL; other builds do.
LOADERS = ("jpeg", "uhdr", "png", "tiff", "webp", "heif", "gif", "ppm", "jp2k", "jxl")
# Loader -> suffix, of formats that can be written, too. (Of `heif`, only AVIF can.)
SUFFIXES = {"jpeg": ".jpg", "uhdr": ".jpg", "png": ".png", "tiff": ".tif", "webp": ".webp", "heif": ".avif"}
PILLOWS = ("AVIF", "BMP", "DIB", "JPEG2000", "PCX", "PPM", "TGA")  # read by Pillow; of AVIF, the sequences

DOCUMENT, RAW, VIDEO = "a document, not a photograph", "a camera's raw file", "a video"
DAMAGED, UNKNOWN = "damaged or incomplete", "no picture, or of an unknown format"
# (Offset, bytes there, what it is).
SIGNATURES = (
    *((0, start, DOCUMENT) for start in (b"%PDF", b"%!PS", b"<svg", b"<?xml", b"PK\3\4", b"\xd0\xcf\x11\xe0")),
    *((0, start, RAW) for start in (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")),
    (4, b"ftypcrx ", RAW),
    *((0, start, VIDEO) for start in (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV", b"0&\xb2u", b"OggS")),
    (8, b"AVI ", VIDEO),
    *((4, b"ftyp" + brand, VIDEO) for brand in (b"iso", b"mp4", b"qt ", b"M4V", b"avc", b"3g", b"dash", b"MSNV")),
    *((0, start, "JPEG XL") for start in (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    *((0, start, DAMAGED) for start in (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"GIF8", b"RIFF")),
    (0, b"v/1\x01", "OpenEXR"),
    *((0, start, "Radiance HDR") for start in (b"#?RADIANCE", b"#?RGBE")),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"DDS ", "a DirectDraw surface"),
    (0, b"SIMPLE  =", "FITS"),
)


def unreadable(start: bytes) -> str:
    """Return what a file that can't be read is, judged by its first bytes, and what to do about it."""
    if not start:
        return "empty"
    kinds = (kind for at, magic, kind in SIGNATURES if start[at:].startswith(magic))
    return advice(next(kinds, UNKNOWN))


def advice(kind: str) -> str:
    """Return what to do about a file of a kind that can't be read, after the kind itself."""
    if kind == DAMAGED:
        return kind
    if kind == VIDEO:
        return f"{kind}; `gancolor colorize` colours it if its name has a video's suffix, such as .mp4"
    return f"{kind}; convert it to TIFF, PNG or JPEG"
