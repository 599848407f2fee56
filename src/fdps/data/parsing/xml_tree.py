"""Parse XML that others made, without entities and document types.

A document type can define entities that grow to gigabytes or name other files; annotation tools
write none, so a file that has one is refused.
"""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from fdps.errors import AnnotationError

MAX_DEPTH = 32


def read_xml(file: Path) -> Element:
    """Return the outermost element of a file.

    Raises:
        AnnotationError: The file is not XML, has a document type, or nests deeper than
            :data:`MAX_DEPTH`. The message has the line.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise AnnotationError(
                f"{file}, line {parser.CurrentLineNumber}: elements nest deeper than {MAX_DEPTH}"
            )
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise AnnotationError(
            f"{file}, line {parser.CurrentLineNumber}: it has a document type, which is refused",
            hint="take the line <!DOCTYPE ...> out",
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(file.read_bytes(), True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # unknown encoding: LookupError
        raise AnnotationError(f"{file} is not XML: {error}", hint="export it again") from error
    return builder.close()
