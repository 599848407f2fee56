"""Identities count alike, however many regions show them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fake.tiny import CONFIG, N_PERSONS, picture, target
from fdps.config import LossConfig, ModelConfig
from fdps.errors import ConfigError
from fdps.losses import BACKGROUND_ID, Criterion
from fdps.models import PersonSearchNet, build_system
from fdps.models.embedding import PeakEmbedding
from fdps.models.norms import freeze_norms, statistics_kept, statistics_used
from fdps.models.prototype_norm import PrototypeNorm, prototype_mean

PLAIN = replace(CONFIG, system="oim_base", embedding_norm="prototype")
IDS = torch.tensor([3, 3, 3, -1, 0, -1, BACKGROUND_ID, BACKGROUND_ID, 0])


def by_hand(rows: np.ndarray, ids: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normed rows, mean and biased variance, one prototype after the other."""
    prototypes = [row for row, person in zip(rows, ids, strict=True) if person == -1]
    for person in sorted(set(ids) - {-1}):
        mine = [row for row, other in zip(rows, ids, strict=True) if other == person]
        prototypes.append(sum(mine) / len(mine))
    mean = sum(prototypes) / len(prototypes)
    var = sum((row - mean) ** 2 for row in rows) / len(rows)
    return (rows - mean) / np.sqrt(var + 1e-5), mean, var


def test_value_equals_plain_loops() -> None:
    rows = np.random.default_rng(0).normal(size=(len(IDS), 6)) * 3 + 1
    norm = PrototypeNorm(6).double().train()
    normed, mean, var = by_hand(rows, IDS.tolist())
    np.testing.assert_allclose(norm(torch.from_numpy(rows), IDS).numpy(), normed, atol=1e-10)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * mean, atol=1e-10)
    unbiased = var * len(rows) / (len(rows) - 1)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * unbiased, atol=1e-10)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("ids", [[4, 1, 4, 1, 7, 7], [-1] * 6, [2] * 6])
def test_limit_balanced_identities_are_normed_as_by_a_batch_norm(ids: list[int]) -> None:
    rows = torch.randn(6, 5, dtype=torch.float64)
    plain = nn.BatchNorm1d(5, affine=False).double().train()
    ours = PrototypeNorm(5).double().train()
    torch.testing.assert_close(ours(rows, torch.tensor(ids)), plain(rows))
    for name, value in plain.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), value)


def test_property_a_region_more_of_the_same_person_moves_the_mean_by_nothing() -> None:
    rows, ids = torch.randn(4, 5, dtype=torch.float64), torch.tensor([0, 1, 1, -1])
    again = torch.cat([rows, rows[:1], rows[:1]]), torch.tensor([0, 1, 1, -1, 0, 0])
    torch.testing.assert_close(prototype_mean(*again), prototype_mean(rows, ids))
    assert not torch.isclose(again[0].mean(dim=0), rows.mean(dim=0)).any()


def test_gradient_is_checked() -> None:
    rows = torch.randn(len(IDS), 3, dtype=torch.float64, requires_grad=True)
    norm = PrototypeNorm(3).double().train()
    assert torch.autograd.gradcheck(lambda x: norm(x, IDS), (rows,))


@pytest.mark.parametrize(
    ("n_rows", "ids"), [(0, []), (1, [2]), (3, None)], ids=["nobody", "one row", "not known"]
)
def test_rows_without_statistics_are_normed_by_the_running_ones(
    n_rows: int, ids: list[int] | None
) -> None:
    norm = PrototypeNorm(4).train()
    nn.init.uniform_(norm.running_mean, -1, 1)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    before = {name: value.clone() for name, value in norm.named_buffers()}
    rows = torch.randn(n_rows, 4)
    given = None if ids is None else torch.tensor(ids, dtype=torch.int64)
    expected = (rows - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5)
    torch.testing.assert_close(norm(rows, given), expected)
    torch.testing.assert_close(norm.eval()(rows), expected)
    assert all(torch.equal(value, before[name]) for name, value in norm.named_buffers())


def test_equal_rows_give_zeros_and_a_finite_gradient() -> None:
    rows = torch.full((4, 3), 2.0, requires_grad=True)
    norm = PrototypeNorm(3).train()
    normalize(norm(rows, torch.tensor([0, 0, 1, -1])), dim=1).sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()
    assert norm.running_var.isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    embedding = PeakEmbedding((6,), 4, norm=PrototypeNorm).train()
    peaks = torch.randn(len(IDS), 6)
    with torch.autocast("cpu", torch.bfloat16):
        embedded = embedding([peaks], IDS)
        projected = embedding.projections[0](peaks).float()
    assert embedded.dtype == torch.float32
    expected, _, _ = by_hand(projected.double().detach().numpy(), IDS.tolist())
    expected = normalize(torch.from_numpy(expected), dim=1)
    torch.testing.assert_close(embedded.double(), expected, rtol=0, atol=1e-5)


def test_statistics_can_be_kept_used_and_fixed() -> None:
    embedding = PeakEmbedding((6,), 4, norm=PrototypeNorm).train()
    norm, peaks = embedding.norms[0], torch.randn(len(IDS), 6)
    assert isinstance(norm, PrototypeNorm)
    with statistics_kept(embedding):
        learnt = embedding([peaks], IDS)
    assert norm.num_batches_tracked == 0
    torch.testing.assert_close(embedding([peaks], IDS), learnt)
    assert norm.num_batches_tracked == 1
    with statistics_used(embedding):
        used = embedding([peaks], IDS)
    torch.testing.assert_close(used, embedding.eval()([peaks]))
    freeze_norms(embedding.train())
    torch.testing.assert_close(embedding([peaks], IDS), used)
    assert norm.num_batches_tracked == 1


# --- in the network


def build(config: ModelConfig = PLAIN, **loss: Any) -> tuple[PersonSearchNet, Criterion]:
    torch.manual_seed(0)
    sizes = {"queue_size": 4, "background_size": 6}
    return build_system(config, LossConfig(**(sizes | loss)), N_PERSONS)


def test_the_norm_sees_every_sampled_region_and_whom_it_shows() -> None:
    net, criterion = build()
    norm = net.train().roi_heads.heads.embedding.norms[0]
    seen: list[Tensor] = []
    norm.register_forward_hook(lambda _, given, out: seen.extend(given))
    people = target((5, 5, 30, 60, 0), (40, 8, 62, 60, 2), (60, 20, 78, 60, -1))
    out = net([picture()], [people | {"seed": torch.tensor(1)}], criterion)
    rows, ids = seen
    n_regions = int(out.losses["person"].n_samples)
    assert len(rows) == len(ids) == n_regions == 8
    assert torch.equal(ids[ids != BACKGROUND_ID], out.people.person_ids)
    # What is remembered are the people alone, normed together with background.
    expected, _, _ = by_hand(rows.detach().double().numpy(), ids.tolist())
    expected = normalize(torch.from_numpy(expected), dim=1)[ids != BACKGROUND_ID]
    torch.testing.assert_close(out.people.embeddings.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"stages": "two", "reid_features": "res4+res5"},
        {"person_score": "memory"},
        {"system": "binet", "options": {"patch_size": [48, 32]}},
        {"norm": "frozen"},
    ],
    ids=["OIMNet++", "two stages", "HOIM", "BINet", "frozen"],
)
@pytest.mark.parametrize("loss", ["boim", "loim"])
def test_every_mix_of_labels_trains(change: dict[str, Any], loss: str) -> None:
    if loss == "loim" and change.get("person_score") == "memory":
        loss = "oim"
    net, criterion = build(replace(PLAIN, **change), name=loss)
    optimizer = torch.optim.SGD(net.train().parameters(), lr=1e-3)
    known, nobody = target((5, 5, 30, 60, 0)), target()
    unknown = target((10, 10, 40, 50, -1), (30, 5, 60, 60, -1))
    for targets in ([known, unknown], [nobody, nobody], [unknown, nobody], [known, known]):
        out = net([picture(), picture()], targets, criterion)
        total = torch.stack([loss.value for loss in out.losses.values()]).sum()
        assert total.isfinite()
        total.backward()
        assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
        criterion.update(*out.people)
    assert all(b.isfinite().all() for b in net.buffers() if b.is_floating_point())
    (found,) = net.eval().detect([picture()])
    torch.testing.assert_close(
        found["embeddings"].norm(dim=1), torch.ones(len(found["boxes"])), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"person_score": "norm"}, "has no scale of its own"),
        ({"norm": "sync"}, "knows the identities of one process alone"),
    ],
)
def test_what_it_cannot_be_combined_with_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as it:
        replace(PLAIN, **change)
    assert it.value.hint
