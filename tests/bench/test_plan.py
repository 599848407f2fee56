"""Who takes part, in which runtimes, and why others do not."""

from pathlib import Path

import pytest

from fake.cards import write_card
from fake.systems import write_system
from fdps.bench.plan import plan
from fdps.errors import MissingDataError, ModelError, UsageError
from fdps.export import choice

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FDPS_MODELS", str(tmp_path / "models"))
    return str(write_system(tmp_path / "tiny.safetensors", system="fdps"))


@pytest.mark.long
def test_a_network_takes_part_in_every_runtime_that_can_be_had(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fdps.bench import plan as module

    runtimes = {"onnx": ("onnx", "onnxruntime"), "none": ("no_such",)}
    monkeypatch.setattr(module, "RUNTIMES", runtimes)
    monkeypatch.setattr(module, "ALL", ("pytorch", *runtimes))
    said: list[str] = []
    found = plan([model], tell=said.append)
    assert [*found.entrants] == [f"{model}, pytorch", f"{model}, onnx"]
    assert found.left_out == {f"{model}, none": "none needs no_such, not installed here"}
    assert said == [f"Exporting {model} for onnx"]
    with pytest.raises(UsageError, match="none needs no_such"):
        plan([model], ["none"])
    assert [*plan([model], ["onnx"]).entrants] == [f"{model}, onnx"]


def test_an_export_that_keeps_no_parity_is_left_out(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(place: Path, name: str, runtime: str) -> Path:
        raise ModelError(f"{name} does not keep parity in {runtime}")

    monkeypatch.setattr("fdps.bench.plan.kept_export", refuse)
    found = plan([model])
    assert [*found.entrants] == [f"{model}, pytorch"]
    assert "does not keep parity" in found.left_out[f"{model}, onnx"]
    with pytest.raises(ModelError, match="does not keep parity in onnx"):
        plan([model], ["onnx"])


@pytest.mark.long
def test_cards_and_exports_run_as_they_are(model: str, tmp_path: Path) -> None:
    card = write_card(tmp_path / "card.toml", tmp_path)
    export = choice.kept_export(Path(model), model, "onnx").parent
    found = plan([str(export), str(card)], ["pytorch"])
    assert [*found.entrants] == [f"{export}, onnx float32", str(card)]


def test_what_makes_no_sense_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runtime 'tensorrt'") as refused:
        plan([model], ["tensorrt"])
    assert "pytorch, onnx, openvino" in str(refused.value)
    with pytest.raises(UsageError, match="named twice"):
        plan([model, model])
    with pytest.raises(MissingDataError, match="no model not-exported") as missing:
        plan(["not-exported"])
    assert "fdps export" in missing.value.hint
    (tmp_path / "photos").mkdir()
    with pytest.raises(MissingDataError, match=r"no model .*photos") as folder:
        plan([str(tmp_path / "photos")])
    assert "--pictures" in folder.value.hint
