import pytest
import torch

from fdps.models.decomposition import decompose
from fdps.models.sub_features import (
    Flattened,
    LearnedMarginals,
    MarginalDistribution,
    SharedMean,
    SharedPeak,
    SubFeatureModule,
    SubFeatures,
)

C, H, W = 5, 7, 4
TABLE_1 = [SharedPeak, Flattened, LearnedMarginals, MarginalDistribution]


def features(n_regions: int = 3) -> torch.Tensor:
    return torch.randn(n_regions, C, H, W)


def with_fixed_weights() -> LearnedMarginals:
    """The learned weights where they make Parameter-base equal FDPS."""
    module = LearnedMarginals(C, (H, W))
    weights = {"over_columns": 1 / W, "over_rows": 1 / H, "over_both": 1 / (H * W)}
    with torch.no_grad():
        for name, weight in weights.items():
            getattr(module, name).weight.fill_(weight)
            getattr(module, name).bias.zero_()
    return module


@pytest.mark.parametrize("kind", [SharedMean, *TABLE_1])
@pytest.mark.parametrize("n_regions", [0, 1, 3])
@pytest.mark.parametrize("size", [(H, W), (4, 7), (1, 1)])
def test_vectors_have_the_lengths_that_size_the_heads(
    kind: type[SubFeatureModule], n_regions: int, size: tuple[int, int]
) -> None:
    module = kind(C, size)
    taken = module(torch.randn(n_regions, C, *size))
    for name in SubFeatures._fields:
        assert getattr(taken, name).shape == (n_regions, getattr(module.dims, name))


def test_oim_as_first_published_shares_one_mean() -> None:
    given = features()
    taken = SharedMean(C, (H, W))(given)
    assert all(vector is taken.reid for vector in taken)
    torch.testing.assert_close(taken.reid, given.mean(dim=(2, 3)))


@pytest.mark.parametrize("kind", TABLE_1)
def test_reid_reads_the_peak_in_every_system_of_table_1(kind: type[SubFeatureModule]) -> None:
    given = features()
    assert torch.equal(kind(C, (H, W))(given).reid, given.amax(dim=(2, 3)))


def test_oim_base_shares_one_vector() -> None:
    taken = SharedPeak(C, (H, W))(features())
    assert all(vector is taken.reid for vector in taken)


def test_flatten_shares_the_whole_map_for_detection() -> None:
    given = features()
    taken = Flattened(C, (H, W))(given)
    assert taken.vertical is taken.horizontal is taken.person
    assert torch.equal(taken.person.reshape(given.shape), given)


def test_fdps_hands_every_task_its_marginal() -> None:
    given = features()
    taken, m = MarginalDistribution(C, (H, W))(given), decompose(given)
    assert torch.equal(taken.vertical, m.rows.flatten(1))
    assert torch.equal(taken.horizontal, m.cols.flatten(1))
    assert torch.equal(taken.person, m.mean)


def test_fdps_may_read_person_from_the_peak() -> None:
    given = features()
    taken = MarginalDistribution(C, (H, W), person_from="peak")(given)
    assert taken.person is taken.reid
    assert torch.equal(taken.person, given.amax(dim=(2, 3)))
    assert torch.equal(taken.vertical, decompose(given).rows.flatten(1))


def test_fdps_has_no_parameters() -> None:
    module = MarginalDistribution(C, (H, W))
    assert not module.state_dict()
    assert not list(module.parameters())


def test_parameter_base_with_equal_weights_is_fdps() -> None:
    given = features()
    learned, fixed = with_fixed_weights()(given), MarginalDistribution(C, (H, W))(given)
    for name in SubFeatures._fields:
        torch.testing.assert_close(getattr(learned, name), getattr(fixed, name))


def test_parameter_base_weighs_positions_of_one_axis_only() -> None:
    module, given = with_fixed_weights(), features(1)
    with torch.no_grad():
        module.over_columns.weight.zero_()[0, 1] = 1  # the second column alone
        module.over_rows.weight.zero_()[0, 2] = 1  # the third row alone
        module.over_both.weight.zero_()[0, 2 * W + 1] = 1  # where they cross
    taken = module(given)
    torch.testing.assert_close(taken.vertical.reshape(C, H), given[0, :, :, 1])
    torch.testing.assert_close(taken.horizontal.reshape(C, W), given[0, :, 2, :])
    torch.testing.assert_close(taken.person[0], given[0, :, 2, 1])
