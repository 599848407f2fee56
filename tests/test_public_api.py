"""``fdps`` offers what it lists, and answers at once."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fdps
from fdps import errors

MAX_MODULES = 450


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def test_all_is_complete() -> None:
    assert {*fdps.__all__} == {*errors.__all__, *fdps._HOME, "__version__"}
    assert {*fdps.__all__} <= {*dir(fdps)}


@pytest.mark.parametrize("name", fdps.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(fdps, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fdps' has no attribute 'nothing'"):
        fdps.nothing  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import fdps",
        # `fdps --help` prints and leaves; what it imported is looked at on the way out
        "import atexit; from fdps.cli.main import main; main(['--help'])",
    ],
)
def test_heavy_packages_are_not_loaded(code: str) -> None:
    loaded = python("-c", f"{code}\nimport sys; print(*sys.modules)").stdout.split()
    assert not {"torch", "torchvision", "numpy", "scipy", "PIL", "matplotlib"} & {*loaded}


def test_help_loads_little() -> None:
    """Counted in modules, not in seconds: what else the machine does must not fail this test."""
    code = "import atexit, sys; atexit.register(lambda: print(len(sys.modules), file=sys.stderr))"
    shown = python("-c", f"{code}\nfrom fdps.cli.main import main; main(['--help'])")
    assert int(shown.stderr.split()[-1]) <= MAX_MODULES


PACKAGES = sorted(path.parent.name for path in Path(fdps.__file__).parent.glob("*/__init__.py"))


def listed() -> set[str]:
    """The packages in the table of the page."""
    page = Path(__file__).resolve().parents[1] / "docs/reference/python.md"
    return set(re.findall(r"^\| `fdps\.(\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_others_may_build_on(name: str) -> None:
    package = import_module(f"fdps.{name}")
    said = (package.__doc__ or "").replace("\n", " ")
    if name in listed():
        assert "Public are the names in ``__all__``" in said
        assert package.__all__
        assert all(hasattr(package, public) for public in package.__all__)
    else:
        assert "internal" in said.lower()


def test_the_page_lists_no_package_that_is_none() -> None:
    assert listed() <= {*PACKAGES}
    assert import_module("fdps.models.decomposition").decompose


def test_a_name_of_the_root_is_that_of_its_module() -> None:
    for name, home in fdps._HOME.items():
        assert getattr(import_module(home), name) is getattr(fdps, name)
