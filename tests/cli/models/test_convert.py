"""``fdps models convert``."""

import json
from pathlib import Path

import pytest
import torch

from fake.public_checkpoint import public_tensors, used_network
from fdps.cli.main import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("public") / "nae.pth"
    torch.save({"model": public_tensors("NAE", used_network("NAE"))}, path)
    return path


@pytest.mark.long
def test_a_checkpoint_becomes_weights_that_verbs_take(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nae.safetensors"
    assert main(["models", "convert", str(checkpoint), "-o", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "System  NAE, trained on 3 people"
    assert any(line.startswith("Left    roi_heads.reid_loss.lut: ") for line in lines)
    assert lines[-2] == f"Weights {out} (research-only)"
    assert main(["models", "info", str(out)]) == 0
    assert "Licence research-only" in capsys.readouterr().out


@pytest.mark.long
def test_json_names_what_became_of_every_tensor(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nae.safetensors"
    assert main(["models", "convert", str(checkpoint), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["system"], told["n_persons"], told["weights"]) == ("NAE", 3, str(out))
    assert told["tensors"]["backbone.conv1.weight"] == "converted to backbone.stages.0.0.weight"


@pytest.mark.long
def test_an_older_file_is_kept_unless_told_otherwise(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nae.safetensors"
    out.write_text("older")
    assert main(["models", "convert", str(checkpoint), "-o", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == "older"
    assert main(["models", "convert", str(checkpoint), "-o", str(out), "--force"]) == 0


@pytest.mark.long
def test_a_file_that_is_no_checkpoint_ends_with_5(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.pth").write_text("no checkpoint")
    assert main(["models", "convert", str(tmp_path / "p.pth")]) == 5
    assert "cannot be converted" in capsys.readouterr().err
    assert main(["models", "convert", str(tmp_path / "absent.pth")]) == 3
