"""Networks of other people's code: recognised, built, run, and refused where they fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from fake.public_code import HEAD_FLOPS, TRUNK_FLOPS, write_nae, write_seqnet
from fdps.bench.entrants import PublicModel
from fdps.bench.layouts import find_public
from fdps.bench.process import Runner
from fdps.errors import MissingDataError, ModelError, ResourceError, UsageError

WIDTH, HEIGHT = 12, 8


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("picture") / "a.png"
    Image.new("RGB", (WIDTH, HEIGHT)).save(file)
    return file


@contextmanager
def opened(entrant: PublicModel, *, limit_s: float = 120.0) -> Iterator[Runner]:
    runner = Runner("it", entrant, threads=1, limit_s=limit_s)
    try:
        runner.wait_until_open()
        yield runner
    finally:
        runner.close()


@pytest.mark.long
def test_a_network_in_the_layout_of_seqnet_is_measured(tmp_path: Path, picture: Path) -> None:
    entrant = find_public(write_seqnet(tmp_path / "code"))
    assert entrant.system == "SeqNet"
    with opened(entrant) as runner:
        seen, counted = runner.look(picture), runner.count(picture)
    assert seen.people == 2
    assert {*seen.stages} == {"decode", "picture", "trunk", "proposals", "regions", "rest"}
    assert all(seconds >= 0 for seconds in seen.stages.values())
    assert counted.stages["trunk"] == TRUNK_FLOPS * WIDTH * HEIGHT
    assert counted.stages["regions"] == HEAD_FLOPS * 2
    assert counted.stages["proposals"] == counted.stages["rest"] == 0


@pytest.mark.long
def test_its_own_settings_are_taken(tmp_path: Path, picture: Path) -> None:
    folder = write_seqnet(tmp_path / "code")
    (tmp_path / "settings.yaml").write_text("7")
    with opened(find_public(folder, config=tmp_path / "settings.yaml")) as runner:
        assert runner.look(picture).people == 7


@pytest.mark.slow
def test_its_checkpoint_is_taken(tmp_path: Path, picture: Path) -> None:
    folder = write_seqnet(tmp_path / "code")
    state = {
        "backbone.weight": torch.zeros(4, 3, 3, 3),
        "backbone.bias": torch.zeros(4),
        "rpn.head.weight": torch.zeros(1, 4, 1, 1),
        "rpn.head.bias": torch.zeros(1),
        "roi_heads.linear.weight": torch.zeros(5, 4),
        "roi_heads.linear.bias": torch.zeros(5),
        "roi_heads.people": torch.tensor(5.0),
        "roi_heads.reid_loss.lut": torch.zeros(3, 5),  # of another data set
    }
    torch.save({"model": state, "epoch": 1}, tmp_path / "weights.pth")
    with opened(find_public(folder, checkpoint=tmp_path / "weights.pth")) as runner:
        assert runner.look(picture).people == 5
    del state["backbone.bias"]
    torch.save(state, tmp_path / "weights.pth")
    with (
        pytest.raises(ModelError, match=r"backbone\.bias is missing"),
        opened(find_public(folder, checkpoint=tmp_path / "weights.pth")),
    ):
        pass


@pytest.mark.long
def test_older_code_runs_as_in_python_2(tmp_path: Path, picture: Path) -> None:
    entrant = find_public(write_nae(tmp_path / "code"))
    assert entrant.system == "NAE"
    with opened(entrant) as runner:
        assert runner.look(picture).people == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "place", "what"),
    [
        # At import, when it is built, and when it looks at a picture.
        (("import torch\n", "import no_such_package\n"), "line 2", "ModuleNotFoundError"),
        pytest.param(
            *(("import torch\n", "import torch torch\n"), "line 2", "SyntaxError"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(("self.transform = nn.Identity()", "self.x = 1 / 0"), "line 35"),
            "ZeroDivisionError",
            marks=pytest.mark.slow,
        ),
        (("torch.stack(images)", "images[3]"), "line 40", "IndexError"),
    ],
)
def test_code_that_fails_is_named(
    tmp_path: Path, picture: Path, change: tuple[str, str], place: str, what: str
) -> None:
    entrant = find_public(write_seqnet(tmp_path / "code", change))
    wanted = rf"code/models/seqnet\.py, {place}: {what}: "
    with pytest.raises(ModelError, match=wanted), opened(entrant) as runner:
        runner.look(picture)


@pytest.mark.long
def test_a_network_that_is_built_otherwise_is_refused(tmp_path: Path) -> None:
    folder = write_seqnet(tmp_path / "code", ("self.rpn, ", "self.proposals, "))
    with pytest.raises(ModelError, match=r"is built otherwise: .*rpn"), opened(find_public(folder)):
        pass


@pytest.mark.long
def test_code_that_hangs_is_ended(tmp_path: Path) -> None:
    change = ("import torch\n", "import time; time.sleep(3600)\nimport torch\n")
    entrant = find_public(write_seqnet(tmp_path / "code", change))
    with (
        pytest.raises(ResourceError, match="it needs more than 3 s to load"),
        opened(entrant, limit_s=3.0),
    ):
        pass


def test_folders_are_known_by_their_files(tmp_path: Path) -> None:
    seqnet, nae = write_seqnet(tmp_path / "a"), write_nae(tmp_path / "b")
    (nae / "lib/model/faster_rcnn_pixel_wise_norm_aware.py").write_text("")
    assert find_public(nae).system == "NAE"
    assert find_public(nae, system="NAE+").system == "NAE+"
    with pytest.raises(MissingDataError, match="no folder"):
        find_public(tmp_path / "c")
    with pytest.raises(UsageError, match="no system 'COAT'"):
        find_public(seqnet, system="COAT")
    with pytest.raises(UsageError, match="not laid out as the public code of HOIM"):
        find_public(seqnet, system="HOIM")
    with pytest.raises(UsageError, match="SeqNet or NAE or"):
        find_public(tmp_path)
    with pytest.raises(MissingDataError, match="no settings at"):
        find_public(seqnet, config=tmp_path / "none.yaml")
    with pytest.raises(MissingDataError, match="no checkpoint at"):
        find_public(seqnet, checkpoint=tmp_path / "none.pth")
    with pytest.raises(UsageError, match="NAE takes no file of settings"):
        find_public(nae, config=nae / "lib/__init__.py")
