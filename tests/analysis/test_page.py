import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from fdps.analysis.curves import plot_cmc
from fdps.analysis.page import Plot, Strip, Table, Tile, write_page

HOSTILE = '<script>alert("&")</script>'


class Page(HTMLParser):
    """Collects the tags with their attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def write(path, text="plain"):
    write_page(
        path,
        text,
        summary=text,
        tables=[Table(text, ("system", text), ((text, "0.5"), ("colour", "0.1")), note=text)],
        plots=[Plot(plot_cmc({"ours": np.array([0.5, 1.0])}), text)],
        breakdowns=[Table(text, (text,), ((text,),), note=text)],
        strips=[Strip(text, [Tile(Image.new("RGB", (400, 90), "white"), text, text, "right")])],
        strips_heading=text,
        notes={text: text},
    )
    return path


def test_page_is_well_formed_and_holds_every_part(tmp_path):
    page = Page(write(tmp_path / "new" / "page.html"))
    assert page.open == []
    assert [a["id"] for a in page.all("section")] == [
        "results",
        "curves",
        "breakdown",
        "strips",
        "made",
    ]
    assert len(page.all("h1")) == 1
    assert "0.5" in page.text
    assert "never proof of an identity" in page.text


def test_every_picture_is_inside_and_has_a_text_alternative(tmp_path):
    page = Page(write(tmp_path / "page.html"))
    (photo,) = page.all("img")
    assert photo["src"].startswith("data:image/jpeg;base64,")
    assert photo["alt"] == "plain"
    (drawing,) = (attrs for attrs in page.all("div") if attrs.get("role") == "img")
    assert drawing["aria-label"] == "plain"
    assert len(page.all("svg")) == 1


def test_page_loads_nothing_and_runs_nothing(tmp_path):
    path = write(tmp_path / "page.html")
    text, page = path.read_text(encoding="utf-8"), Page(path)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # names of SVG, which nothing loads
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {t for t, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_every_text_is_escaped(tmp_path):
    path = write(tmp_path / "page.html", HOSTILE)
    assert "<script" not in path.read_text(encoding="utf-8")
    page = Page(path)
    assert page.open == []
    assert page.text.count(HOSTILE) >= 8
    assert [image["alt"] for image in page.all("img")] == [HOSTILE]


def test_control_characters_become_visible(tmp_path):
    path = write(tmp_path / "page.html", "a\x1b[31mb\nc\u202ed\udce9")
    page = Page(path)
    assert page.text.count(r"a\x1b[31mb\nc\u202ed\xe9") >= 8
    assert not set("\x1b\u202e") & set(path.read_text(encoding="utf-8"))


def test_equal_reports_are_equal_bytes(tmp_path):
    one, other = write(tmp_path / "one.html"), write(tmp_path / "other.html")
    assert one.read_bytes() == other.read_bytes()


def test_empty_sections_are_left_out(tmp_path):
    write_page(tmp_path / "page.html", "nothing")
    assert Page(tmp_path / "page.html").all("section") == []


def test_older_report_is_replaced_and_nothing_else_is_left(tmp_path):
    write(tmp_path / "page.html", "older one")
    write(tmp_path / "page.html", "newer one")
    assert "older one" not in Page(tmp_path / "page.html").text
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_many_strips_are_folded_away(tmp_path):
    strip = Strip("a strip", [])
    write_page(tmp_path / "page.html", "many", strips=[strip] * 13)
    page = Page(tmp_path / "page.html")
    assert page.open == []
    assert len(page.all("article")) == 13
    assert len(page.all("details")) == 1
    assert "3 more" in page.text
