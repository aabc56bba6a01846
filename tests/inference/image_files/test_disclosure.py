"""What a coloured file says of its colours. Packets are read with Pillow and an XML parser."""

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import pyvips
from made_pictures import scene
from PIL import Image

from gancolor.inference.colorizer import Colorizer
from gancolor.inference.image_files import Picture, read_picture
from gancolor.inference.image_files.disclosure import SOFTWARE, SOURCE_TYPE, TERMS, disclosed_xmp

PREFIXES = {
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "iptc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "event",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
}
# With other prefixes than ours, several descriptions, and properties as attributes, elements and resources.
SCAN = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="uuid:1"
 xmlns:xmp="http://purl.org/dc/elements/1.1/" xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<xmp:rights><r:Alt><r:li xml:lang="x-default">© Ärchiv &amp; Söhne</r:li></r:Alt></xmp:rights>
<e:DigitalSourceType r:resource="http://cv.iptc.org/newscodes/digitalsourcetype/print"/></r:Description>
<r:Description r:about="uuid:1" xmlns:m="http://ns.adobe.com/xap/1.0/mm/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:s="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#" xmp:CreatorTool="VueScan"><m:History><r:Seq>
<r:li r:parseType="Resource"><s:action>created</s:action><s:softwareAgent>VueScan</s:softwareAgent></r:li>
</r:Seq></m:History></r:Description></r:RDF></x:xmpmeta>  \n <?xpacket end="w"?>"""
TOLD = "colours predicted by the generator red"


class Red:
    about, takes_hints, has_distribution = {"data": {"size": 32}}, False, False

    def __call__(self, lightness: np.ndarray) -> np.ndarray:
        return np.concatenate([0.4 + 0 * lightness, 0.2 + 0 * lightness], axis=1)


@pytest.fixture
def colorizer() -> Colorizer:
    return Colorizer(Red(), 32, name="red")


def with_xmp(xmp: bytes) -> Picture:
    return Picture(scene(), metadata={"xmp-data": (pyvips.GValue.blob_type, xmp)} if xmp else {})


def packet(data: bytes) -> bytes:
    """The XMP of a picture's file."""
    image = Image.open(io.BytesIO(data))
    if image.format == "AVIF":  # in which Pillow looks for no XMP
        return re.search(rb"<\?xpacket begin.*<\?xpacket end=...\?>", data, re.DOTALL)[0]
    found = image.info.get("xmp", b"")
    return found.encode() if isinstance(found, str) else found


def properties(xmp: bytes) -> list[tuple[str, str]]:
    """All properties of a packet, in order: attributes and texts of elements."""
    found = []
    for node in ElementTree.fromstring(xmp.decode().strip("\ufeff")).iter() if xmp else ():
        values = [*node.attrib.items(), *([(node.tag, node.text.strip())] if (node.text or "").strip() else [])]
        for name, value in values:
            space, _, local = name.removeprefix("{").rpartition("}")
            found.append((f"{PREFIXES.get(space, space)}:{local}", value))
    return found


def of(found: list[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in found if key == name]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".avif"])
@pytest.mark.parametrize("xmp", [b"", SCAN.encode()])
def test_a_coloured_file_says_so_once(colorizer: Colorizer, suffix: str, xmp: bytes) -> None:
    data = colorizer(with_xmp(xmp)).encode(suffix)
    found = properties(packet(data))
    assert of(found, "iptc:DigitalSourceType") == [SOURCE_TYPE]
    assert of(found, "iptc:AISystemUsed") == ["gancolor"]
    assert of(found, "event:softwareAgent") == [*["VueScan"][: bool(xmp)], SOFTWARE]
    assert of(found, "event:parameters") == [TOLD + "; the digital source type was print" if xmp else TOLD]
    assert of(found, "xmp:CreatorTool") == ["VueScan" if xmp else SOFTWARE]
    assert ("rdf:li", "© Ärchiv & Söhne") in found or not xmp
    assert set(of(found, "rdf:about")) == {"uuid:1" if xmp else ""}
    again = colorizer(read_picture(data))
    assert packet(again.encode(suffix)) == packet(data)
    other = properties(packet(replace(colorizer, name="").__call__(again).encode(suffix)))
    assert of(other, "iptc:DigitalSourceType") == [SOURCE_TYPE]
    assert of(other, "event:parameters")[-1] == "colours predicted by a generator"


def test_only_predicted_colours_are_disclosed(colorizer: Colorizer) -> None:
    picture = with_xmp(SCAN.encode())
    plain = picture.encode(".png")
    assert of(properties(packet(plain)), "iptc:DigitalSourceType") == []
    for other in (replace(colorizer, disclosure=False), replace(colorizer, strength=0)):
        assert packet(other(colorizer(picture)).encode(".png")) == packet(plain)


def test_line_breaks_in_attributes_stay() -> None:
    scan = SCAN.replace('CreatorTool="', 'Label="1&#xA;2&#x9;3&#xD;&lt;&amp;#xA;" xmp:CreatorTool="')
    found = properties(disclosed_xmp(scan.encode(), "red"))
    assert of(found, "xmp:Label") == ["1\n2\t3\r<&#xA;"]


@pytest.mark.parametrize("term", ["trainedAlgorithmicMedia", "compositeSynthetic"])
def test_what_says_more_stays(term: str) -> None:
    scan = SCAN.replace("/print", f"/{term}").replace("<e:Dig", "<e:AISystemUsed>Sora</e:AISystemUsed><e:Dig")
    found = properties(disclosed_xmp(scan.encode(), "red"))
    assert of(found, "iptc:AISystemUsed") == ["Sora"] and of(found, "iptc:AISystemVersionUsed") == []
    assert TERMS + term in of(found, "iptc:DigitalSourceType") + of(found, "rdf:resource")
    assert SOURCE_TYPE not in of(found, "iptc:DigitalSourceType")
    assert of(found, "event:parameters") == [TOLD]


@pytest.mark.parametrize(
    "xmp", [b"", b"<x", b"<svg/>", b"\xff\xfe", b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', SCAN.encode("utf-16")]
)
@pytest.mark.parametrize("name", ["a<b>&\"'", "line\nend\x00\ud800", "été"])
def test_any_packet_and_any_name(xmp: bytes, name: str) -> None:
    found = properties(disclosed_xmp(xmp, name))
    (told,) = of(found, "event:parameters")
    assert told.startswith("colours predicted by the generator ") and told.isprintable()
    assert ("VueScan" in of(found, "event:softwareAgent")) == (len(xmp) > 100)


@pytest.mark.parametrize(
    ("size", "padding", "kept", "said"),
    [
        (58_000, 0, True, ""),
        (50_000, 9_900, True, ""),
        (58_800, 0, True, "does not say"),
        (70_000, 0, False, "left out"),
    ],
)
def test_a_full_packet_of_a_jpeg(
    colorizer: Colorizer, recwarn: pytest.WarningsRecorder, size: int, padding: int, kept: bool, said: str
) -> None:
    """A JPEG holds 60,000 bytes as libvips writes it: room that is left for changes goes first."""
    scan = SCAN.replace("Söhne", "x" * size).replace("  \n ", " " * padding)
    found = properties(packet(colorizer(with_xmp(scan.encode())).encode(".jpg")))
    assert bool([value for value in of(found, "rdf:li") if "Ärchiv" in value]) == kept
    assert (SOURCE_TYPE in of(found, "iptc:DigitalSourceType")) == ("say" not in said)
    assert said in " ".join(str(warning.message) for warning in recwarn) and len(recwarn) == bool(said)
