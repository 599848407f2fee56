"""The list that ships with fdps, and lists that make no sense."""

from pathlib import Path

import pytest

from fake.public_models import CONTENT, list_text
from fdps.bundled import NAMES
from fdps.downloads.catalogue import public_model, read_catalogue
from fdps.errors import ModelError, UsageError
from fdps.runtime.card import card_text, read_card

ADDRESS = "https://example.org"


def test_the_list_of_fdps_says_everything_that_a_user_has_to_know() -> None:
    models = read_catalogue()
    assert "yolox-nano-retail-0248" in models
    for name, model in models.items():
        assert name == model.name not in NAMES
        assert model.card.notes
        for file in model.files:
            assert file.revision in file.address  # what lies there does not change
            assert file.licence
            assert file.data_licence


def test_every_card_of_the_list_reads_back(tmp_path: Path) -> None:
    for model in read_catalogue().values():
        (tmp_path / "card.toml").write_text(model.card_text)
        assert read_card(tmp_path / "card.toml") == model.card
        assert card_text(model.card) == model.card_text
        pins = {model.card.detector.sha256, model.card.reid.sha256}
        assert pins == {file.sha256 for file in model.files}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('name = "reid.onnx"', 'name = "../reid.onnx"'), "its name must be of letters"),
        (('name = "reid.onnx"', 'name = ".reid.onnx"'), "its name must be of letters"),
        (('name = "reid.onnx"', 'name = "detector.onnx"'), "two files have the same name"),
        (("https://example.org/reid", "http://example.org/reid"), "its address must be https"),
        (("https://example.org/reid", "/reid"), "its address must be https"),
        (("https://example.org/reid", "https://me@example.org/reid"), "its address must be https"),
        (("size = 50000", "size = 0"), "its size must be positive, got 0"),
        (("size = 50000", 'size = "50000"'), "size must be int"),
        (('sha256 = "', 'sha256 = "0'), "its sha256 must be 64 digits"),
        (('licence = "MIT"', 'licence = ""'), "licence, data, data_licence and revision"),
        (('licence = "MIT"\n', ""), "key file.licence is missing"),
        (('licence = "MIT"', 'license = "MIT"'), "unknown list of models key file.license"),
        (('"small-people"', '"small/people"'), "its name must be of letters"),
        (('"small-people"', '"drawn-people"'), "weights that come with fdps have that name"),
        (('file = "reid.onnx"', 'file = "none.onnx"'), "both of its files must be in the list"),
        (('file = "reid.onnx"', 'file = "reid.onnx"\nsha256 = "1"'), "hashes belong to its files"),
        (("[model.reid]", "[model.reed]"), "unknown list of models key model.reed"),
        (("[[model]]", "[[model"), "at line"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    text = list_text(ADDRESS)
    assert change[0] in text
    path = tmp_path / "list.toml"
    path.write_text(text.replace(*change, 1))
    with pytest.raises(ModelError, match=message) as caught:
        read_catalogue(path)
    assert str(path) in str(caught.value)


def test_two_models_of_one_name(tmp_path: Path) -> None:
    text = list_text(ADDRESS)
    (tmp_path / "l.toml").write_text(text + text[text.index("[[model]]") :])
    with pytest.raises(ModelError, match="two models have the same name"):
        read_catalogue(tmp_path / "l.toml")


def test_a_model_is_as_large_as_its_files(tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text(list_text(ADDRESS))
    model = read_catalogue(tmp_path / "l.toml")["small-people"]
    assert model.size == sum(map(len, CONTENT.values()))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("yolox-nano-retail-248", "did you mean yolox-nano-retail-0248?"),
        ("../../etc/passwd", "fdps models list --available"),
        ("/etc/passwd", "fdps models list --available"),
        ("yolox-nano-retail-0248/", "did you mean yolox-nano-retail-0248?"),
        ("", "fdps models list --available"),
        ("drawn-people", "fdps models list --available"),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="no public model") as caught:
        public_model(name, read_catalogue())
    assert hint in caught.value.hint
