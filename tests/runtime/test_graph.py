"""Graphs in OpenVINO, and what they leave behind in a process."""

import subprocess
import sys
from pathlib import Path

import pytest

from fdps.errors import MissingDataError, ModelError
from fdps.runtime.graph import open_graph

# Run apart: where it goes wrong, the process ends by a segmentation fault.
LET_GO = """
import gc, os, signal, sys, threading
from pathlib import Path
import numpy as np, openvino
from openvino import opset13
from fdps.runtime.graph import open_graph

path = Path(sys.argv[1])
given = opset13.parameter([1, 4], np.float32, name="given")
openvino.save_model(openvino.Model([opset13.relu(given)], [given], "net"), path)
del given

def let_go():
    graphs.clear()
    gc.collect()

graphs = [open_graph(path, "openvino", threads=1)]
(out,) = graphs[0]({"given": np.array([[-1, 0, 1, 2]], dtype=np.float32)}).values()
assert out.tolist() == [[0, 0, 1, 2]]
other = threading.Thread(target=let_go)
other.start()
other.join()
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.long
def test_ctrl_c_after_another_thread_let_go_of_a_network(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", LET_GO, str(tmp_path / "net.xml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.stdout, ended.returncode) == ("interrupted\n", 0), ended.stderr


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(MissingDataError, match="no network at"):
        open_graph(tmp_path / "none.xml", "openvino", threads=1)
    (tmp_path / "text.xml").write_text("<net>")
    with pytest.raises(ModelError, match=r"text\.xml is not a network of OpenVINO"):
        open_graph(tmp_path / "text.xml", "openvino", threads=1)
