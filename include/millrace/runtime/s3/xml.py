"""XML as S3 writes and reads it.

Written from nested (name, value) pairs. Read with expat, refusing document types, so that there are no entities to
expand; bodies are capped before they come here. What this file does not do: it knows no S3 document by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.parsers import expat

from millrace.runtime.s3.errors import MalformedXml

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_SPECIAL = re.compile('[&<>"\x00-\x1f\x7f]')
_MAX_DEPTH = 16
_MAX_ELEMENTS = 150_000
"""Enough for 10,000 parts with every checksum; an element takes 200 bytes of memory, and 4 of the body."""

Value = str | int | bool | None | list[tuple[str, "Value"]]
Members = list[tuple[str, Value]]


def document(name: str, value: Members | str, *, namespace: bool = True) -> bytes:
    """A whole document. A member whose value is None is left out."""
    attribute = f' xmlns="{NAMESPACE}"' if namespace else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}{attribute}>{_text(value)}</{name}>'.encode()


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03d}Z"


def _text(value: Value) -> str:
    if isinstance(value, list):
        return "".join(f"<{name}>{_text(member)}</{name}>" for name, member in value if member is not None)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", str(value))


@dataclass(slots=True)
class Node:
    """An element that was read; names are without their namespace prefix."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Node]:
        return (child for child in self.children if child.name == name)

    def get(self, name: str) -> str | None:
        """The text of the child of that name."""
        return next((child.text for child in self.all(name)), None)

    def required(self, name: str) -> str:
        text = self.get(name)
        if text is None:
            raise MalformedXml(f"<{self.name}> lacks <{name}>")
        return text


def parse(body: bytes, roots: Iterable[str]) -> Node:
    """Read a document whose root is one of `roots`.

    Raises:
        MalformedXml: it is not well-formed, has a document type, or another root.
    """
    top = Node("")
    open_nodes = [top]
    texts: list[list[str]] = [[]]  # joined at the end: adding to a long text piece by piece copies it each time
    count = 0
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def begin(name: str, _attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(open_nodes) > _MAX_DEPTH:
            raise MalformedXml(f"the XML is nested deeper than {_MAX_DEPTH} elements")
        if count > _MAX_ELEMENTS:
            raise MalformedXml(f"the XML has more than {_MAX_ELEMENTS} elements")
        node = Node(name.rpartition(":")[2])
        open_nodes[-1].children.append(node)
        open_nodes.append(node)
        texts.append([])

    def end(_name: str) -> None:
        open_nodes.pop().text = "".join(texts.pop())

    def characters(text: str) -> None:
        texts[-1].append(text)

    def refuse(*_declaration: object) -> None:
        raise MalformedXml("the XML has a <!DOCTYPE>; S3's documents have none, and it is not read")

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: an encoding that is none
        raise MalformedXml(f"the XML is not well-formed: {error}") from error
    root = top.children[0]
    if root.name not in roots:
        raise MalformedXml(f"the XML is a <{root.name}>; expected {' or '.join(f'<{name}>' for name in roots)}")
    return root
