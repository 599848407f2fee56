"""Names of devices: those that are here pass, others are refused with the way out."""

import mmap
import platform
import subprocess
import sys

import pytest
import torch

from fdps.devices import bf16_instructions, check_device, keep_freed_memory
from fdps.errors import UsageError

NONSENSE = ["", "banana", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "gpu", "cpu\n", "cuda:²"]


@pytest.mark.parametrize("text", NONSENSE)
def test_a_name_that_means_no_device_is_refused_with_those_that_do(text):
    with pytest.raises(UsageError, match="device must be cpu, cuda, ") as refused:
        check_device(text)
    assert repr(text) in str(refused.value)


def test_the_cpu_is_everywhere_and_nothing_is_loaded_to_know_it():
    code = "import sys, fdps.devices as d; d.check_device('cpu'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "n_gpus", "way_out"),
    [
        ("cuda", 0, "choose cpu"),
        ("cuda:0", 0, "choose cpu"),
        ("cuda:1", 1, "choose cuda:0"),
        ("cuda:7", 4, "choose one of cuda:0..cuda:3"),
    ],
)
def test_a_gpu_that_is_not_here_is_refused(monkeypatch, text, n_gpus, way_out):
    _have_gpus(monkeypatch, n_gpus)
    with pytest.raises(UsageError, match=f"device {text} is not here: torch sees") as refused:
        check_device(text)
    assert way_out in refused.value.hint


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_that_is_here_passes(monkeypatch, text):
    _have_gpus(monkeypatch, 4)
    assert check_device(text) == text


@pytest.mark.parametrize(("n_gpus", "expected"), [(0, "cpu"), (1, "cuda")])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch, n_gpus, expected):
    _have_gpus(monkeypatch, n_gpus)
    assert check_device("auto") == expected


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this is a Mac with its own GPU")
def test_mps_is_refused_where_it_is_not():
    with pytest.raises(UsageError, match="it needs a Mac") as refused:
        check_device("mps")
    assert "choose cpu" in refused.value.hint


def _have_gpus(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


@pytest.mark.skipif(sys.platform != "linux", reason="flags are read from Linux")
def test_bf16_instructions_are_those_that_torch_knows():
    known = getattr(torch.cpu, "get_capabilities", dict)()
    if known.get("architecture") != "x86_64":
        pytest.skip("this torch does not tell what the processor can do")
    wanted = "AMX" if known["amx_bf16"] else "AVX-512" if known["avx512_bf16"] else ""
    assert bf16_instructions() == wanted


FAULTS = """
import resource, sys, torch
from fdps.devices import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(how: str) -> int:
    """Count the pages that forty arrays of 48 MB, one after the other, were given anew."""
    shown = subprocess.run(
        [sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True
    )
    return int(shown.stdout)


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_is_kept_is_given_to_the_next_array_without_asking_the_system():
    one_array = 48_000_000 // mmap.PAGESIZE
    assert _page_faults("keep") < 10 * one_array
    assert _page_faults("give back") > 30 * one_array


def test_another_c_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
