"""Fill HTML templates: those of this package here, those of others by the same rules.

Every text that a template prints is escaped, and control characters in it become visible escapes.
Jinja2 is imported when the first page is written, because most verbs write none.
"""

from __future__ import annotations

import io
from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING, Any

from fdps.names import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure
    from PIL import Image


def render(template: str, **values: Any) -> str:
    """Fill a template.

    Args:
        template: Name of a file in the folder ``templates``.
        values: Values that the template prints, by name.

    Returns:
        The page, which carries its style and its pictures inside and has no script.
    """
    return _environment().get_template(template).render(values)


def inline_svg(figure: Figure) -> Markup:
    """Draw a figure as an SVG element that a page can hold; equal figures give equal bytes."""
    import matplotlib as mpl
    from markupsafe import Markup

    drawn, unsaid = io.StringIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fdps"}):
        figure.savefig(drawn, format="svg", metadata=unsaid)
    text = drawn.getvalue()
    return Markup(text[text.index("<svg") :])  # without the prolog of an XML file


def svg_file(figure: Figure) -> bytes:
    """Draw a figure as an SVG file; equal figures give equal bytes."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{inline_svg(figure)}'.encode()


def new_environment(package: str) -> Environment:
    """Make an environment for the templates of a package, which escapes whatever they print.

    Args:
        package: Name of a package with a folder ``templates``.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


@cache
def _environment() -> Environment:
    environment = new_environment("fdps.analysis")
    environment.filters.update(jpeg=_jpeg, lines=_lines, svg=inline_svg)
    return environment


def _finalize(value: object) -> object:
    """Make a text printable; what is markup already stays as it is."""
    return value if hasattr(value, "__html__") else printable(value)


def _lines(text: str) -> Markup:
    """Keep the newlines of a text, which are escaped elsewhere."""
    from markupsafe import Markup

    return Markup("\n").join(map(printable, text.splitlines()))


def _jpeg(image: Image.Image) -> str:
    """Encode a picture as a data URI."""
    drawn = io.BytesIO()
    image.save(drawn, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(drawn.getvalue()).decode('ascii')}"
