"""``fdps`` offers what it lists, and answers at once."""

import os
import subprocess
import sys

import pytest

import fdps
from fdps import errors

MAX_HELP_S = 0.5


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def test_all_is_sorted_and_without_repetition() -> None:
    def constants_classes_functions(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2), name

    assert fdps.__all__ == sorted(set(fdps.__all__), key=constants_classes_functions)


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


def test_help_is_quick() -> None:
    def cpu_seconds() -> float:
        before = os.times()
        python("-m", "fdps", "--help")
        after = os.times()
        return (
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )

    # Processor time, the best of five: what else the machine does must not fail this test.
    assert min(cpu_seconds() for _ in range(5)) <= MAX_HELP_S
