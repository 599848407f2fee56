import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from fdps.models.embedding import PeakEmbedding
from fdps.models.norms import SyncedBatchNorm, norm_rows


def test_one_peak_is_projected_normed_and_scaled_to_unit_length() -> None:
    torch.manual_seed(0)
    embedding = PeakEmbedding((6,), dim=4)
    peaks = torch.randn(5, 6)
    projected = peaks @ embedding.projections[0].weight.T
    centred = projected - projected.mean(dim=0)
    expected = normalize(centred / torch.sqrt(centred.pow(2).mean(dim=0) + 1e-5), dim=1)
    torch.testing.assert_close(embedding([peaks]), expected)


def test_two_peaks_share_the_embedding() -> None:
    embedding = PeakEmbedding((3, 6), dim=8).eval()
    first, second = torch.randn(5, 3), torch.randn(5, 6)
    embedded = embedding([first, second])
    assert embedded.shape == (5, 8)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(5))
    other = embedding([first, torch.randn(5, 6)])
    # The direction within the first half is that of the first peak alone.
    torch.testing.assert_close(normalize(embedded[:, :4], dim=1), normalize(other[:, :4], dim=1))


def test_training_on_one_person_uses_and_keeps_the_running_statistics() -> None:
    embedding = PeakEmbedding((6,), dim=4).train()
    before = embedding.norms[0].running_mean.clone()
    one = torch.randn(1, 6)
    trained = embedding([one])
    torch.testing.assert_close(trained, embedding.eval()([one]))
    torch.testing.assert_close(embedding.norms[0].running_mean, before)


def test_nobody_gives_no_embedding_and_a_gradient_of_zero() -> None:
    embedding = PeakEmbedding((6,), dim=4).train()
    embedded = embedding([torch.zeros(0, 6)])
    assert embedded.shape == (0, 4)
    embedded.sum().backward()
    assert not embedding.projections[0].weight.grad.any()


def test_embeddings_are_float32_under_autocast() -> None:
    embedding = PeakEmbedding((6,), dim=4)
    with torch.autocast("cpu", torch.bfloat16):
        assert embedding([torch.randn(3, 6)]).dtype == torch.float32


def used_norm() -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(4, eps=1e-2)
    for tensor in (norm.running_mean, norm.weight, norm.bias):
        nn.init.uniform_(tensor, -0.5, 0.5)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm.train()


@pytest.mark.parametrize("n_rows", [0, 1])
def test_too_few_rows_are_normed_by_running_statistics(n_rows: int) -> None:
    norm, rows = used_norm(), torch.randn(n_rows, 4)
    before = copy.deepcopy(norm.state_dict())
    normed = norm_rows(rows, norm)
    deviation = (norm.running_var + norm.eps).sqrt()
    expected = (rows - norm.running_mean) / deviation * norm.weight + norm.bias
    torch.testing.assert_close(normed, expected)
    assert all(torch.equal(norm.state_dict()[name], before[name]) for name in before)
    assert norm.training


@pytest.mark.parametrize("n_rows", [2, 5])
def test_rows_normed_by_the_batch_move_the_statistics(n_rows: int) -> None:
    norm, rows = used_norm(), torch.randn(n_rows, 4)
    plain = copy.deepcopy(norm)
    assert torch.equal(norm_rows(rows, norm), plain(rows))
    assert all(torch.equal(value, plain.get_buffer(name)) for name, value in norm.named_buffers())
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("n_rows", [0, 1, 5])
def test_rows_in_evaluation_are_normed_as_ever(n_rows: int) -> None:
    norm, rows = used_norm().eval(), torch.randn(n_rows, 4)
    assert torch.equal(norm_rows(rows, norm), norm(rows))


@pytest.mark.parametrize("n_rows", [0, 1, 5])
def test_rows_under_a_synchronised_norm_of_one_process(n_rows: int) -> None:
    norm, rows = used_norm(), torch.randn(n_rows, 4)
    synced = SyncedBatchNorm.from_batch_norm(copy.deepcopy(norm))
    assert torch.equal(norm_rows(rows, synced), norm_rows(rows, norm))
    assert all(torch.equal(value, norm.get_buffer(name)) for name, value in synced.named_buffers())
