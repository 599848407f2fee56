import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from fdps.losses import HierarchicalMemory
from fdps.models.norms import freeze_norms
from fdps.models.scores import NormScore, PersonScore, SoftmaxScore
from fdps.models.systems.hoim import MemoryScore

C, DIM = 6, 4
IS_PERSON = torch.tensor([True, False, False, True, True])


def memory_score(channels: int) -> PersonScore:
    memory = HierarchicalMemory(3, 2, 5, DIM)
    for rows in (memory.table.rows, memory.background.rows):
        rows.copy_(normalize(torch.randn_like(rows), dim=1))
    return MemoryScore(memory)


WAYS = {"softmax": SoftmaxScore, "norm": NormScore, "memory": memory_score}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_two_finite_logits_and_a_loss_that_falls(way: str) -> None:
    score, person = WAYS[way](C), torch.randn(5, C)
    score.begin()
    rows = torch.randn(5, DIM, requires_grad=True)
    with torch.no_grad():
        person_logits = score(person, rows)
    assert person_logits.shape == (5, 2)
    assert person_logits.dtype == torch.float32
    optimizer = torch.optim.SGD([rows, *score.parameters()], lr=0.5)
    losses = []
    for _ in range(30):
        loss = score.loss(score(person, rows), IS_PERSON)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n", [0, 1])
def test_few_regions_have_a_finite_loss(way: str, n: int) -> None:
    score = WAYS[way](C).train()
    loss = score.loss(score(torch.randn(n, C), torch.randn(n, DIM)), IS_PERSON[:n])
    assert loss.isfinite()
    assert (loss == 0) == (n == 0)


def test_softmax_reads_the_sub_feature_alone() -> None:
    score, person = SoftmaxScore(C), torch.randn(5, C)
    logits = score(person, None)
    torch.testing.assert_close(logits, person @ score.weight.T + score.bias)
    expected = cross_entropy(logits, IS_PERSON.long())
    torch.testing.assert_close(score.loss(logits, IS_PERSON), expected)
    assert not SoftmaxScore.reads_embeddings


def test_the_norm_is_scored_by_binary_cross_entropy() -> None:
    score, rows = NormScore(C).train(), torch.randn(5, DIM)
    reference = nn.BatchNorm1d(1).train()
    logit = reference(rows.norm(dim=1, keepdim=True)).squeeze(1)
    logits = score(torch.zeros(5, C), rows)
    torch.testing.assert_close(logits.softmax(dim=1)[:, 1], logit.sigmoid())
    expected = binary_cross_entropy_with_logits(logit, IS_PERSON.float())
    torch.testing.assert_close(score.loss(logits, IS_PERSON), expected)
    torch.testing.assert_close(score.rescaler.running_mean, reference.running_mean)


def test_a_longer_embedding_is_more_of_a_person() -> None:
    score = NormScore(C)
    freeze_norms(score)
    logits = score(torch.zeros(2, C), torch.tensor([[0.1, 0, 0, 0], [2.0, 0, 0, 0]]))
    assert logits[0, 1] < logits[1, 1]


def test_an_embedding_of_length_zero_has_a_finite_gradient() -> None:
    rows = torch.zeros(3, DIM, requires_grad=True)
    score = NormScore(C).train()
    score.loss(score(torch.zeros(3, C), rows), IS_PERSON[:3]).backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


def test_a_memory_looks_at_directions_alone() -> None:
    score, rows = memory_score(C), torch.randn(5, DIM)
    torch.testing.assert_close(score(torch.zeros(5, C), rows), score(torch.ones(5, C), 7 * rows))
