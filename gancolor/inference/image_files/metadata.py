"""Metadata that a coloured photograph takes over: all but what was made from the pixels of the original, or describes
how they were stored (previews, gain maps, sizes, colour spaces)."""

import struct
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any
from xml.dom import XMLNS_NAMESPACE, minidom
from xml.parsers.expat import ExpatError

import pyvips
from PIL import ExifTags, Image

Metadata = dict[str, tuple[int, Any]]  # libvips's name -> (type, value)

RESOLUTION = ("xres", "yres")  # [pixels per millimetre]; libvips stores these apart
KEPT = ("exif-", "xmp-", "iptc-", "image-description", "resolution-unit")
ORIENTATION = 0x0112  # EXIF's tag

# EXIF of the pixels: IFD 1 is the thumbnail, IFD 4 the colour space by another name.
EXIF_OF_PIXELS = ("exif-ifd1-", "exif-ifd4-") + tuple(
    f"exif-ifd0-{name}"
    for name in (
        *("ImageWidth", "ImageLength", "BitsPerSample", "SamplesPerPixel", "Compression", "PhotometricInterpretation"),
        *("PlanarConfiguration", "RowsPerStrip", "StripOffsets", "StripByteCounts"),
    )
)
EXIF_OF_PLACES = ("exif-ifd2-SubjectArea", "exif-ifd2-SubjectLocation")  # in the picture as it was stored

# Namespaces and names of XMP; None: every name. Google's and Apple's are of gain maps, depth and videos behind the
# picture; `xmpNote` announces further XMP, which libvips doesn't read.
XMP_OF_PIXELS = {
    "http://ns.adobe.com/xap/1.0/": {"Thumbnails", "PageInfo"},
    "http://ns.adobe.com/xap/1.0/g/img/": None,
    "http://ns.adobe.com/camera-raw-settings/1.0/": None,  # how the original was developed, such as to grey
    "http://ns.adobe.com/tiff/1.0/": {
        *("ImageWidth", "ImageLength", "BitsPerSample", "SamplesPerPixel", "Compression", "PhotometricInterpretation"),
        *("Orientation", "PlanarConfiguration", "NativeDigest"),
    },
    "http://ns.adobe.com/exif/1.0/": {"PixelXDimension", "PixelYDimension", "ColorSpace", "NativeDigest"},
    "http://ns.adobe.com/photoshop/1.0/": {"ColorMode", "ICCProfile"},
    "http://ns.adobe.com/xmp/note/": None,
    "http://ns.adobe.com/hdr-gain-map/1.0/": None,
    "http://ns.apple.com/HDRGainMap/1.0/": None,
}
# Limits of what is parsed, which would otherwise take minutes for a small file that was made for that.
MOST_BYTES = 10**6  # of XMP, or of IPTC
MOST_XMP = 20_000  # elements and attributes
DEEPEST_XMP = 100  # levels; what strips and writes XMP, also minidom, is recursive
GOOGLE = "http://ns.google.com/photos/"  # the start of namespaces, all of whose names are of the pixels
# Python 3.11's minidom writes tabs and line breaks of attributes as they are, and readers take them for spaces. So they
# become characters that XML does not have, and these become references once all else has been escaped.
MARKS = str.maketrans("\t\n\r", "\1\2\3")
REFERENCES = {1: "&#9;", 2: "&#10;", 3: "&#13;"}

PHOTOSHOP = b"Photoshop 3.0\0"  # before the resources of a JPEG's segment of IPTC
# Resources that are kept: resolution, IPTC, copyright and address. Others are previews, profiles, EXIF and
# XMP again, and paths and layers of the original.
# https://www.adobe.com/devnet-apps/photoshop/fileformatashtml/#50577409_38034
IPTC = 0x0404
RESOURCES = frozenset([0x03ED, IPTC, 0x040A, 0x040B])
# Record and number of data sets: type ("1W": monochrome), layout, and the preview, its format and version.
IPTC_OF_PIXELS = frozenset((2, number) for number in (130, 131, 200, 201, 202))


def kept_metadata(image: pyvips.Image, name: str) -> Metadata:
    """Return the metadata that the coloured, upright photograph takes over. A warning says if some is too large.

    Args:
        name: of the picture, for the warning.
    """
    turned = image.get_typeof("orientation") and image.get("orientation") != 1
    left = EXIF_OF_PIXELS + (EXIF_OF_PLACES if turned else ())
    kept = {
        key: (image.get_typeof(key), image.get(key))
        for key in _field_names(image)
        if key in RESOLUTION or (key.startswith(KEPT) and not key.startswith(left))
    }
    if "exif-data" in kept:
        kept["orientation"] = (pyvips.GValue.gint_type, 1)
        if _has_preview(kept["exif-data"][1]):
            kept.pop("exif-ifd2-MakerNote", None)
    if "resolution-unit" not in kept and image.xres == image.yres == 1:  # libvips's, if the file states none
        for key in RESOLUTION:
            del kept[key]
    for key, title, clean in (("xmp-data", "XMP", clean_xmp), ("iptc-data", "IPTC", clean_photoshop)):
        if key in kept:
            kind, data = kept.pop(key)
            if len(data) > MOST_BYTES or (title == "XMP" and _is_large(data)):
                warnings.warn(f"{name}: its {title} is left out, because it is too large", stacklevel=2)
            elif data := clean(data):
                kept[key] = kind, data
    return kept


def upright_exif(given: Image.Exif, height: int, width: int) -> bytes:
    """Return a Pillow image's EXIF for its coloured version of this size."""
    exif = Image.Exif()  # a copy: changing Pillow's own would change the input
    exif.load(given.tobytes())  # without the thumbnail
    exif[ORIENTATION] = 1
    detail = exif.get_ifd(ExifTags.IFD.Exif)
    now = {ExifTags.Base.ColorSpace: 1, ExifTags.Base.ExifImageWidth: width, ExifTags.Base.ExifImageHeight: height}
    detail.update({tag: value for tag, value in now.items() if tag in detail})
    detail.pop(ExifTags.IFD.Interop, None)  # the colour space by another name
    if _is_preview(detail.get(ExifTags.Base.MakerNote)):
        del detail[ExifTags.Base.MakerNote]
    return exif.tobytes()


def clean_xmp(data: bytes) -> bytes:
    """Return XMP without what was made from the pixels; nothing if it can't be parsed."""
    packet = parse_xmp(data)
    if packet is None:
        return b""
    return packet_bytes(packet) if _strip(packet) else data


def parse_xmp(data: bytes) -> minidom.Document | None:
    """Parse an XMP packet; None: it is none, it is too large, or its elements are nested too deeply."""
    # XMP has no document type, whose entities could multiply its elements.
    if _is_large(data) or b"<!DOCTYPE" in data.replace(b"\0", b""):
        return None
    for text in (data, data.strip(b"\0")):  # some programs end it with zeros, which are half a character in UTF-16
        with suppress(ExpatError, UnicodeError, ValueError):
            packet = minidom.parseString(text)
            return packet if _depth(packet) <= DEEPEST_XMP else None
    return None


def _is_large(xmp: bytes) -> bool:
    return len(xmp) > MOST_BYTES or xmp.count(b"<") + xmp.count(b"=") > MOST_XMP


def _depth(packet: minidom.Document) -> int:
    """Return the number of levels of nodes."""
    level: list[Any] = [packet]
    depth = 0
    while level := [child for node in level for child in node.childNodes]:
        depth += 1
    return depth


def packet_bytes(packet: minidom.Document) -> bytes:
    """Return an XMP packet's bytes, in UTF-8. Attributes of the packet itself are changed."""
    _mark_breaks(packet)
    return "".join(node.toxml() for node in packet.childNodes).translate(REFERENCES).encode()


def _mark_breaks(node: Any) -> None:
    """Replace tabs and line breaks in the attributes of a node and of all below it by `MARKS`."""
    for attribute in list((node.attributes or {}).values()):
        attribute.value = attribute.value.translate(MARKS)
    for child in node.childNodes:
        _mark_breaks(child)


def _strip(node: Any) -> bool:
    """Remove the elements and attributes of `XMP_OF_PIXELS` below a node. Return whether there were any."""
    found = False
    for child in list(node.childNodes):
        if _of_pixels(child):
            node.removeChild(child).unlink()
            found = True
        else:
            found |= _strip(child)
    for attribute in list((node.attributes or {}).values()):
        if _of_pixels(attribute):
            node.removeAttributeNode(attribute)
            found = True
    return found


def _of_pixels(node: Any) -> bool:
    if node.namespaceURI == XMLNS_NAMESPACE:
        return _names_of_pixels(node.value) is None  # the declaration of a prefix that is no longer used
    names = _names_of_pixels(node.namespaceURI or "")
    return names is None or node.localName in names


def _names_of_pixels(namespace: str) -> Collection[str] | None:
    return None if namespace.startswith(GOOGLE) else XMP_OF_PIXELS.get(namespace, ())


def clean_photoshop(data: bytes) -> bytes:
    """Return the segment with only those of its resources that are kept. IPTC without resources, as in TIFF, is
    returned as it is."""
    if not data.startswith(PHOTOSHOP):
        return clean_iptc(data)
    kept = []
    for number, whole, content in _resources(data, len(PHOTOSHOP)):
        cleaned = clean_iptc(content) if number == IPTC else content
        if cleaned != content:
            whole = _resource(number, cleaned)
        if number in RESOURCES:
            kept.append(whole)
    return b"".join([PHOTOSHOP, *kept]) if kept else b""


def clean_iptc(data: bytes) -> bytes:
    """Return IPTC's data sets without those of the pixels; other bytes as they are.

    The format: IPTC-NAA Information Interchange Model, version 4.2, section 1.6.
    """
    kept, at = [], 0
    while data[at : at + 1] == b"\x1c" and at + 5 <= len(data):
        _, record, number, size = struct.unpack_from(">BBBH", data, at)
        start = at + 5
        if size & 0x8000:  # the length of the length
            start += size & 0x7FFF
            size = int.from_bytes(data[at + 5 : start])
        if (record, number) not in IPTC_OF_PIXELS:
            kept.append(data[at : start + size])
        at = start + size
    return b"".join([*kept, data[at:]])


def as_segment(data: bytes) -> bytes:
    """Return IPTC as JPEG has it: as one of Photoshop's resources."""
    return data if data.startswith(PHOTOSHOP) else PHOTOSHOP + _resource(IPTC, data)


def as_tag(data: bytes) -> bytes:
    """Return IPTC as libvips takes it for a TIFF: without other resources and, because libvips writes only a quarter of
    the bytes, followed by zeros, which readers ignore."""
    if data.startswith(PHOTOSHOP):
        data = b"".join(content for number, _, content in _resources(data, len(PHOTOSHOP)) if number == IPTC)
    data += bytes(-len(data) % 4)  # a TIFF's are numbers of 32 bits
    return data + bytes(3 * len(data))


def _resource(number: int, content: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)


def _resources(data: bytes, at: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the number, the bytes and the content of each of Photoshop's resources."""
    while data[at : at + 4] == b"8BIM" and at + 12 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        size_at = at + 6 + (1 + data[at + 6]) + (1 + data[at + 6]) % 2  # the name has an even length
        if size_at + 4 > len(data):
            return
        (size,) = struct.unpack_from(">I", data, size_at)
        end = size_at + 4 + size + size % 2
        yield number, data[at:end], data[size_at + 4 : size_at + 4 + size]
        at = end


def _field_names(image: pyvips.Image) -> list[str]:
    """Return the names of an image's metadata without those that are not UTF-8, as PNG's need not be: pyvips can't look
    them up, and its `get_fields` raises an error."""
    names: list[str] = []
    fields, place = pyvips.vips_lib.vips_image_get_fields(image.pointer), 0
    while fields[place] != pyvips.ffi.NULL:
        with suppress(UnicodeDecodeError):
            names.append(pyvips.ffi.string(fields[place]).decode())
        pyvips.glib_lib.g_free(fields[place])
        place += 1
    pyvips.glib_lib.g_free(fields)
    return names


def _has_preview(exif_data: bytes) -> bool:
    """Return whether the camera's note contains a JPEG."""
    exif = Image.Exif()
    try:
        exif.load(exif_data)
        return _is_preview(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.MakerNote))
    except Exception:  # Pillow raises almost anything for damaged EXIF
        return False


def _is_preview(note: object) -> bool:
    return isinstance(note, bytes) and b"\xff\xd8\xff" in note
