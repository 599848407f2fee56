import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from fdps.models.embedding import PeakEmbedding
from fdps.models.heads import TaskHeads
from fdps.models.norms import freeze_norms, sync_norms
from fdps.models.systems import System
from fdps.models.systems.table_1 import FDPS, OIM, Flatten, OIMBase, ParameterBase

C, H, W = 6, 7, 4  # after the region head
B, P, Q = 5, 14, 8  # before it
DIM = 10


def heads(system: type[System] = FDPS, *, box_norm: bool = True, both: bool = False) -> TaskHeads:
    embedding = PeakEmbedding((B, C) if both else (C,), DIM)
    return TaskHeads(system.sub_features(C, (H, W)), embedding, box_norm=box_norm)


def maps(n_regions: int) -> tuple[Tensor, Tensor]:
    return torch.randn(n_regions, B, P, Q), torch.randn(n_regions, C, H, W)


@pytest.mark.parametrize("system", [OIM, OIMBase, Flatten, ParameterBase, FDPS])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("n_regions", [0, 1, 3])
def test_shapes_and_unit_embeddings(system: type[System], both: bool, n_regions: int) -> None:
    out = heads(system, both=both).eval()(*maps(n_regions))
    assert out.deltas.shape == (n_regions, 4)
    assert out.logits.shape == (n_regions, 2)
    assert out.embeddings.shape == (n_regions, DIM)
    assert_close(out.embeddings.norm(dim=1), torch.ones(n_regions))


def test_deltas_come_in_the_order_dx_dy_dw_dh() -> None:
    module = heads(box_norm=False)
    with torch.no_grad():
        module.vertical.weight.zero_()
        module.horizontal.weight.zero_()
        module.vertical.bias.copy_(torch.tensor([2.0, 4]))  # dy, dh
        module.horizontal.bias.copy_(torch.tensor([1.0, 3]))  # dx, dw
    assert module(*maps(2)).deltas.tolist() == [[1, 2, 3, 4]] * 2


def test_rows_serve_the_vertical_deltas_and_columns_the_horizontal_ones() -> None:
    module, (aligned, features) = heads().eval(), maps(3)
    before = module(aligned, features).deltas
    columns_turned = module(aligned, features.flip(3)).deltas
    rows_turned = module(aligned, features.flip(2)).deltas
    vertical, horizontal = [1, 3], [0, 2]
    assert_close(columns_turned[:, vertical], before[:, vertical])
    assert_close(rows_turned[:, horizontal], before[:, horizontal])
    assert not torch.isclose(columns_turned[:, horizontal], before[:, horizontal]).any()
    assert not torch.isclose(rows_turned[:, vertical], before[:, vertical]).any()


def test_box_norm_centres_and_scales_the_deltas_of_a_batch() -> None:
    module = heads(box_norm=True).train()
    assert module.box_norm is not None
    assert module.box_norm.weight.abs().max() < 0.1  # starts near targets of a few tenths
    with torch.no_grad():
        module.box_norm.weight.fill_(2)
        module.box_norm.bias.fill_(3)
        module.vertical.weight.mul_(100)  # far above the epsilon of the norm
        module.horizontal.weight.mul_(100)
    deltas = module(*maps(50)).deltas
    assert_close(deltas.mean(dim=0), torch.full((4,), 3.0))
    assert_close(deltas.std(dim=0, correction=0), torch.full((4,), 2.0))


def test_without_box_norm_the_deltas_are_those_of_the_linear_layers() -> None:
    module, (aligned, features) = heads(box_norm=False).train(), maps(3)
    assert module.box_norm is None
    dy_dh = module.vertical(features.mean(dim=3).flatten(1))
    assert_close(module(aligned, features).deltas[:, [1, 3]], dy_dh)


def test_chosen_regions_alone_are_embedded() -> None:
    module, given = heads().eval(), maps(4)
    chosen = torch.tensor([True, False, False, True])
    some, every = module(*given, chosen), module(*given)
    assert_close(some.embeddings, every.embeddings[chosen])
    assert torch.equal(some.deltas, every.deltas)
    assert torch.equal(some.logits, every.logits)


def test_the_statistics_of_the_embedding_are_those_of_the_chosen() -> None:
    module, (aligned, features) = heads().train(), maps(4)
    people = torch.tensor([True, True, False, False])
    features[~people] += 100
    with_background = module(aligned, features, people).embeddings
    alone = module(aligned[people], features[people]).embeddings
    assert_close(with_background, alone)


def test_background_counts_in_a_norm_over_all_regions() -> None:
    module, (aligned, features) = heads().train(), maps(4)
    module.embedding.sees_background = True
    people = torch.tensor([True, True, False, False])
    chosen = module(aligned, features, people).embeddings
    every = heads().train()
    every.load_state_dict(module.state_dict())
    assert_close(chosen, every(aligned, features).embeddings[people])
    features[~people] += 100
    assert not torch.allclose(chosen, module(aligned, features, people).embeddings, atol=0.1)


@pytest.mark.parametrize("both", [False, True])
def test_embed_is_what_forward_embeds(both: bool) -> None:
    module, given = heads(both=both).eval(), maps(3)
    assert torch.equal(module.embed(*given), module(*given).embeddings)


def test_the_aligned_region_counts_where_it_is_asked_for() -> None:
    aligned, features = maps(3)
    res5, both = heads().eval(), heads(both=True).eval()
    assert torch.equal(res5.embed(aligned, features), res5.embed(aligned + 1, features))
    assert not torch.isclose(both.embed(aligned, features), both.embed(-aligned, features)).any()


@pytest.mark.parametrize("box_norm", [False, True])
def test_outputs_are_float32_under_autocast(box_norm: bool) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = heads(box_norm=box_norm)(*maps(3))
    assert {value.dtype for value in out} == {torch.float32}


@pytest.mark.parametrize("n_regions", [0, 1])
def test_training_on_one_region_or_none_leaves_the_statistics(n_regions: int) -> None:
    module = heads().train()
    before = {name: value.clone() for name, value in module.named_buffers()}
    out = module(*maps(n_regions))
    assert all(value.isfinite().all() for value in (out.deltas, out.logits, out.embeddings))
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())


def remembering(module: TaskHeads) -> TaskHeads:
    """Norms with statistics and an affine map of their own."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d):
            for tensor in (norm.running_mean, norm.weight, norm.bias):
                nn.init.uniform_(tensor, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return module


def frozen(*, both: bool = False) -> TaskHeads:
    module = remembering(heads(both=both))
    freeze_norms(module)
    return module


@pytest.mark.parametrize("both", [False, True])
def test_frozen_norms_train_as_they_test(both: bool) -> None:
    module, given = frozen(both=both), maps(5)
    people = torch.tensor([True, False, True, True, False])
    before = {name: value.clone() for name, value in module.named_buffers()}
    trained, tested = module.train()(*given, people), module.eval()(*given, people)
    for name in ("deltas", "logits", "embeddings"):
        assert_close(getattr(trained, name), getattr(tested, name))
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())


def test_frozen_norms_keep_regions_apart() -> None:
    module, (aligned, features) = frozen().train(), maps(6)
    together = module(aligned, features)
    for rows in (slice(0, 1), slice(2, 6)):
        alone = module(aligned[rows], features[rows])
        assert_close(alone.embeddings, together.embeddings[rows])
        assert_close(alone.deltas, together.deltas[rows])


def test_synchronised_norms_of_one_process_train_as_usual() -> None:
    usual = remembering(heads(both=True)).train()
    synced = copy.deepcopy(usual)
    sync_norms(synced)
    given, people = maps(5), torch.tensor([True, False, True, True, False])
    ours, theirs = (module(*given, people) for module in (synced, usual))
    for name in ("deltas", "logits", "embeddings"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    for name, value in usual.named_buffers():
        assert torch.equal(synced.get_buffer(name), value)
