"""The statement, in a coloured picture's XMP or a film's comment, that a machine made the colours."""

import re
import warnings
from typing import Any
from xml.dom import minidom
from xml.sax.saxutils import quoteattr

from gancolor import __version__
from gancolor.inference.image_files.metadata import packet_bytes, parse_xmp
from gancolor.utils.errors import shown

# IPTC's term, "Edited using Generative AI": the colours come from a network that was trained on photographs, not from
# this one. `algorithmicallyEnhanced` is for tools that are not generative, such as denoising.
# http://cv.iptc.org/newscodes/digitalsourcetype/
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = f"{TERMS}compositeWithTrainedAlgorithmicMedia"
# Terms of pictures that say at least as much, and stay.
STRONGER = (SOURCE_TYPE, f"{TERMS}trainedAlgorithmicMedia", f"{TERMS}compositeSynthetic")
NAME = "gancolor"
SOFTWARE = f"{NAME} {__version__}"

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SPACES = {  # prefix -> namespace
    "rdf": RDF,
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
}
EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta><?xpacket end="w"?>'
)


def statement(generator: str) -> str:
    """Return the statement for people, with IPTC's term for machines."""
    return f"Colours made by a machine: {SOFTWARE}, {_colours_by(generator)} ({SOURCE_TYPE})"


def disclosed_xmp(xmp: bytes, generator: str, most: int | None = None) -> bytes:
    """Return an XMP packet with the statement: IPTC's digital source type and AI system, and an event of the history.

    All else in the packet stays. A digital source type that said less is replaced, and named in the event.

    Args:
        xmp: the packet so far; a new one is made of bytes that are none.
        generator: its name, or empty.
        most: bytes that the file can hold; None: any number.
    """
    packet = parse_xmp(xmp)
    if packet is None or not packet.getElementsByTagNameNS(RDF, "RDF"):
        packet = minidom.parseString(EMPTY.encode())
    (rdf, *_) = packet.getElementsByTagNameNS(RDF, "RDF")
    _disclose(packet, rdf, generator)
    made = packet_bytes(packet)
    if most is None or len(made) <= most:
        return made
    made = re.sub(rb"\s+(?=<\?xpacket end)", b"", made)  # room that other programs leave for changes in place
    if len(made) <= most:
        return made
    if len(xmp) <= most:
        warnings.warn("the XMP is full: the file does not say that its colours were made by a machine", stacklevel=2)
        return xmp
    warnings.warn(f"the XMP is left out: a JPEG holds {most:,} bytes of it, and this has {len(xmp):,}", stacklevel=2)
    return disclosed_xmp(b"", generator)


def _disclose(packet: Any, rdf: Any, generator: str) -> None:
    """Add the statement to the RDF of a packet, as far as it is not there yet."""
    former = _value(_nodes(rdf, "Iptc4xmpExt:DigitalSourceType"))
    wanted = {"Iptc4xmpExt:DigitalSourceType": former if former in STRONGER else SOURCE_TYPE}
    if _value(_nodes(rdf, "Iptc4xmpExt:AISystemUsed")) in ("", NAME):  # the name of another system stays
        version = f"{__version__}, generator {shown(generator)}" if generator else __version__
        wanted |= {"Iptc4xmpExt:AISystemUsed": NAME, "Iptc4xmpExt:AISystemVersionUsed": version}
    if not _nodes(rdf, "xmp:CreatorTool"):  # by the XMP specification, the first program known
        wanted["xmp:CreatorTool"] = SOFTWARE
    event = _colours_by(generator)
    if former not in ("", *STRONGER):
        event += f"; the digital source type was {former.removeprefix(TERMS)}"
    history = _add_event(packet, rdf, event)
    added = {name: value for name, value in wanted.items() if _value(_nodes(rdf, name)) != value}
    for name in added:
        _remove(_nodes(rdf, name))
    if added or history:
        about = next((each.getAttributeNS(RDF, "about") for each in _children(rdf, RDF, "Description")), "")
        attributes = " ".join(f"{name}={quoteattr(value)}" for name, value in added.items())
        _append(packet, rdf, f"<rdf:Description rdf:about={quoteattr(about)} {attributes}>{history}</rdf:Description>")


def _add_event(packet: Any, rdf: Any, text: str) -> str:
    """Add an event to the history, unless it is there. If there is no history, return a new one as XML."""
    histories = _nodes(rdf, "xmpMM:History")
    sequences = [sequence for history in histories for sequence in _children(history, RDF, "Seq")]
    for event in (event for sequence in sequences for event in _children(sequence, RDF, "li")):
        agent, what = (_value(_fields(event, f"stEvt:{name}")) for name in ("softwareAgent", "parameters"))
        if agent == SOFTWARE and what.partition(";")[0] == text.partition(";")[0]:
            return ""
    event = (
        f'<rdf:li stEvt:action="edited" stEvt:softwareAgent={quoteattr(SOFTWARE)} stEvt:parameters={quoteattr(text)}/>'
    )
    if not sequences:
        return f"<xmpMM:History><rdf:Seq>{event}</rdf:Seq></xmpMM:History>"
    _append(packet, sequences[0], event)
    return ""


def _append(packet: Any, parent: Any, xml: str) -> None:
    """Append an element, given as XML with the prefixes of `SPACES`."""
    name, rest = re.split(r"(?= )", xml, maxsplit=1)
    spaces = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in SPACES.items() if f"{prefix}:" in xml)
    made = minidom.parseString(f"{name}{spaces}{rest}".encode())
    parent.appendChild(packet.importNode(made.documentElement, True))


def _children(parent: Any, namespace: str, name: str) -> list[Any]:
    return [node for node in parent.childNodes if (node.namespaceURI, node.localName) == (namespace, name)]


def _nodes(rdf: Any, name: str) -> list[Any]:
    """Return the attributes and elements that give a property of the picture."""
    return [node for description in _children(rdf, RDF, "Description") for node in _fields(description, name)]


def _fields(owner: Any, name: str) -> list[Any]:
    """Return the attributes and elements that give a field of a description or structure."""
    prefix, _, local = name.partition(":")
    within = [owner, *_children(owner, RDF, "Description")]  # a structure may be a description in its element
    attributes = [node for each in within if (node := each.getAttributeNodeNS(SPACES[prefix], local))]
    return attributes + [node for each in within for node in _children(each, SPACES[prefix], local)]


def _value(nodes: list[Any]) -> str:
    """Return the text of the first of a property's attributes and elements, or an empty one."""
    for node in nodes:
        if node.nodeType == node.ATTRIBUTE_NODE:
            return node.value.strip()
        texts = (
            child.data for child in node.childNodes if child.nodeType in (child.TEXT_NODE, child.CDATA_SECTION_NODE)
        )
        return node.getAttributeNS(RDF, "resource") or "".join(texts).strip()
    return ""


def _remove(nodes: list[Any]) -> None:
    for node in nodes:
        if node.nodeType == node.ATTRIBUTE_NODE:
            node.ownerElement.removeAttributeNode(node)
        else:
            node.parentNode.removeChild(node)


def _colours_by(generator: str) -> str:
    return f"colours predicted by the generator {shown(generator)}" if generator else "colours predicted by a generator"
