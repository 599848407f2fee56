from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from fdps.config import LossConfig, TwoStepConfig
from fdps.errors import ConfigError
from fdps.models.reid import build_reid, reid_system
from fdps.models.reid.network import People
from fdps.models.reid.rdlr import Localizer, RefinedNet, proxy_loss, through
from fdps.structures import BACKGROUND_ID, UNLABELLED

CONFIG = TwoStepConfig(
    detector="x",
    system="rdlr",
    backbone="mobilenet_v2",
    backbone_weights="none",
    crop_size=(64, 32),
    embedding_dim=8,
)
LOSS = LossConfig(queue_size=4, identity_weight=1.0)


def build(loss: LossConfig = LOSS, **change: Any) -> RefinedNet:
    torch.manual_seed(3)
    net, _ = build_reid(replace(CONFIG, **change), loss, 3)
    assert isinstance(net, RefinedNet)
    return net


def ramp(height: int = 64, width: int = 32) -> torch.Tensor:
    """Crops whose first two channels say where a pixel lies, in halves of the sides."""
    y, x = ((torch.arange(n) + 0.5) / n * 2 - 1 for n in (height, width))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows, torch.zeros_like(rows)])[None]


def test_the_whole_window_is_the_crop() -> None:
    crops = torch.rand(2, 3, 64, 32)
    windows = torch.tensor([[0.0, 0, 1, 1]]).expand(2, 4)
    torch.testing.assert_close(through(crops, windows), crops, atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [(0.1, -0.2, 0.6, 0.7), (-0.25, 0.0, 0.75, 1.0)])
def test_a_window_shows_what_lies_in_it(window: tuple[float, float, float, float]) -> None:
    seen = through(ramp(), torch.tensor([window]))
    x, y, sx, sy = window
    wanted = ramp() * torch.tensor([sx, sy, 1])[:, None, None]
    wanted = wanted + torch.tensor([x, y, 0])[:, None, None]
    inside = seen[..., 2:-2, 2:-2]  # at the border a crop goes on as it is there
    torch.testing.assert_close(inside, wanted[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


def test_beyond_its_border_a_crop_goes_on() -> None:
    seen = through(ramp(), torch.tensor([[0.5, 0.0, 1.0, 1.0]]))
    assert seen[0, 0, 10, -1].item() == pytest.approx(ramp()[0, 0, 10, -1].item())


def test_untrained_it_embeds_the_crop_and_moves_no_farther_than_it_may() -> None:
    localizer, crops = Localizer(0.25), torch.rand(2, 3, 64, 32)
    assert torch.equal(localizer(crops), torch.tensor([[0.0, 0, 1, 1]]).expand(2, 4))
    with torch.no_grad():
        localizer.moves.bias.copy_(torch.tensor([99.0, -99, 99, -99]))
    wanted = torch.tensor([[0.25, -0.25, 1.25, 0.75]]).expand(2, 4)
    torch.testing.assert_close(localizer(crops), wanted)


def test_the_window_learns_from_the_loss() -> None:
    """The left half of each crop alone tells who it is: the window goes there."""
    torch.manual_seed(0)
    localizer = Localizer(0.5)
    crops = torch.full((3, 3, 64, 32), 0.5)
    crops[..., :16] = torch.eye(3)[:, :, None, None]
    optimizer = torch.optim.Adam(localizer.parameters(), lr=0.02)
    for _ in range(60):
        seen = through(crops, localizer(crops)).mean(dim=(2, 3))
        loss = torch.nn.functional.cross_entropy(10 * seen, torch.arange(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (localizer(crops)[:, 0] < -0.2).all()


def test_proxies_are_compared_as_the_formula_says() -> None:
    x = normalize(torch.randn(4, 6), dim=1)
    w = torch.randn(5, 6) * torch.tensor([1.0, 3, 0.2, 9, 1])[:, None]
    ids = torch.tensor([3, UNLABELLED, 0, BACKGROUND_ID])
    found = proxy_loss(x, ids, w, margin=0.3)
    unit, terms = w / w.norm(dim=1, keepdim=True), []
    for row, person in ((x[0], 3), (x[2], 0)):
        apart = (row - unit).norm(dim=1)
        nearest = min(apart[k].item() for k in range(5) if k != person)
        terms.append(max(0.0, 0.3 + apart[person].item() - nearest))
    assert found.item() == pytest.approx(sum(terms) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("ids", "n_proxies"), [([-1, -1], 3), ([], 3), ([0, 0], 1)], ids=["nobody", "empty", "one"]
)
def test_without_anybody_to_compare_nothing_is_missed(ids: list[int], n_proxies: int) -> None:
    x = normalize(torch.randn(len(ids), 4), dim=1).requires_grad_()
    loss = proxy_loss(
        x, torch.tensor(ids, dtype=torch.int64), torch.randn(n_proxies, 4), margin=0.3
    )
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert not x.grad.any()


def test_a_row_at_its_proxy_has_a_gradient() -> None:
    x = torch.tensor([[1.0, 0.0]], requires_grad=True)
    proxy_loss(x, torch.tensor([0]), torch.tensor([[2.0, 0], [1, 1]]), margin=2.0).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_it_learns_a_proxy_loss_beside_the_others_and_weighs_it() -> None:
    people = People(torch.tensor([0, 2, -1]), torch.ones(3))
    crops = torch.rand(3, 3, 64, 32)
    values = []
    for weight in (1.0, 0.5):
        net = build(options={"proxy_weight": weight, "proxy_margin": 1.0}).eval()
        values.append(net.losses(net.look(crops), people))
    assert values[0].keys() == {"identity", "proxy"}
    assert values[1]["proxy"].item() == pytest.approx(0.5 * values[0]["proxy"].item(), rel=1e-5)
    assert "proxy" not in build(options={"proxy_weight": 0.0}).loss_names


def test_a_network_that_only_searches_has_the_window_and_no_proxies() -> None:
    net = build()
    kept = net.searching_state()
    assert "localizer.moves.weight" in kept
    assert not any(name.startswith("classifier") for name in kept)
    searching = reid_system(CONFIG).network(LOSS)
    searching.load_state_dict(kept)
    crops = torch.rand(2, 3, 64, 32)
    assert torch.equal(searching.eval().embed(crops), net.eval().embed(crops))


@pytest.mark.parametrize(
    ("change", "loss", "words"),
    [
        (
            {"options": {"largest_move": 0.0}},
            LOSS,
            r"largest_move must be above 0 and",
        ),
        ({"options": {"proxy_weight": -1.0}}, LOSS, r"proxy_weight must be in 0\.\.1e6, got -1"),
        ({"options": {"proxy_margin": 3.0}}, LOSS, r"proxy_margin must be in 0\.\.2, got 3"),
        ({"features": "kept"}, LOSS, "which moves the boxes that features are of"),
        ({}, LossConfig(queue_size=4), "whose proxies are the rows of the classifier"),
    ],
)
def test_what_cannot_be(change: dict[str, Any], loss: LossConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(loss, **change)
