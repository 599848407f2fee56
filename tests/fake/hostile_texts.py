"""Texts that attackers send, made by rule: paths, addresses, scripts, names and secrets."""

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


def hosts(own: str) -> list[str]:
    """Values of ``Host`` by which a page of another site may reach a service at ``own``."""
    name, _, port = own.rpartition(":")
    strange = ("evil.example", "a.evil.example", f"{name}.evil.example", f"evil.example.{name}")
    strange += (
        "0.0.0.0",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f000001",
        "127.0.0.2",
    )
    strange += (
        "[::]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "localhost.",
        "localhost.example",
        "xn--e1a",
    )
    strange += (f"user@{name}", f"user:word@{name}", f"{name}@evil.example", f"{name} evil.example")
    strange += (f"{name},evil.example", f"{name}/", f"http://{name}", f"{name}#", f"{name}?", "")
    ports = (f":{port}", "", ":80", ":443", f":{port}0", f":0{port}", f":{port}.evil.example")
    made = [host + end for host, end in itertools.product(strange, ports)]
    own_at = [name + end for end in ports if end != f":{port}"]
    return [*made, *own_at, f"{own}/", f"{own},evil.example", f"{own}:80", "*", "null", ":", "%"]


def origins(own: str) -> list[str]:
    """Values of ``Origin`` that a browser sends from a page that is not of ``own``."""
    schemes = ("http", "https", "ws", "chrome-extension", "file", "data", "blob:http")
    foreign = [f"{scheme}://{host}" for scheme in schemes for host in hosts(own)[::6]]
    foreign += [f"{scheme}://{own}" for scheme in schemes if scheme != "http"]
    ends = ("/", "/path", "?", "#", ".evil.example", " http://evil.example", ",http://evil.example")
    return [*foreign, *(f"http://{own}{end}" for end in ends), "null", "NULL", "*", "", own]


def tokens(right: str) -> list[str]:
    """Guesses of a token, by somebody who knows how it looks and part of it."""
    part = [right[:n] for n in range(len(right))] + [right[n:] for n in range(1, len(right))]
    turned = [f"{right[:n]}~{right[n + 1 :]}" for n in range(len(right))]
    more = [f"{right}{end}" for end in ("=", "==", "%00", "/", ".", "-", "x", "'", '"', ";", "*")]
    tricks = ["null", "undefined", "true", "[]", "{}", "0", "-1", "admin", "' OR '1'='1", "*", "%"]
    return [*part, *turned, *more, *tricks, right[::-1], right.upper(), right * 2, right * 1000]


def cookies(name: str, token: str) -> list[str]:
    """Cookies that pretend to be a session named ``name``."""
    names = (name, name.upper(), f"__Host-{name}", "session", "token", "Authorization")
    values = (token, f'"{token}"', f"Bearer {token}", "", "admin", "local", "null", "0", "1" * 4000)
    values += (f"{token}; role=admin", "../../index.sqlite", "%00", "eyJhbGciOiJub25lIn0.e30.")
    values += ("user=admin", "$Version=1", "{}", "[]", "' OR '1'='1", "<script>alert(1)</script>")
    values += (f"a; {name}={token}", f"{token},{token}", f"{token[:-1]}", token[::-1], "x" * 43)
    values += ("0" * 64, "f" * 64)
    return [f"{one}={value}" for one, value in itertools.product(names, values)]
