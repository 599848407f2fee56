"""RoIAlign as one sparse matrix product.

Torchvision's operator walks over every output value on the CPU, and its backward pass is slower
still. Bilinear sampling is linear in the feature map, so all regions together are one sparse
matrix with 4 · ratio² entries per output position, times the map as a (positions, channels)
matrix; forward and backward are then two sparse products. On other devices torchvision's operator
is used.

Axes: B pictures, C channels, H and W size of the map, R regions, P output rows, Q output columns.
"""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool


class RoIAlign(nn.Module):
    """Average bilinear samples of a feature map over the bins of every region.

    Follows torchvision's ``roi_align(aligned=False)``, as the public person-search code does.

    Args:
        size: Output rows and columns.
        stride: Picture pixels per feature position.
        sampling_ratio: Samples per bin and axis.
    """

    def __init__(self, size: tuple[int, int], stride: int, sampling_ratio: int = 2) -> None:
        super().__init__()
        self.size, self.stride, self.sampling_ratio = size, stride, sampling_ratio

    def forward(
        self, features: Float[Tensor, "B C H W"], boxes: list[Float[Tensor, "_ 4"]]
    ) -> Float[Tensor, "R C P Q"]:
        """Align the regions of all pictures; rows follow the pictures, then their boxes.

        Args:
            features: Stride ``stride``; any float dtype, aligned in float32: boxes in bfloat16
                would be off by several pixels.
            boxes: Regions of each picture, in its pixels.
        """
        features = features.float()
        if features.device.type == "cpu":
            return align_sparse(features, boxes, self.size, self.stride, self.sampling_ratio)
        aligned: Tensor = roi_align(
            features,
            boxes,
            self.size,
            spatial_scale=1 / self.stride,
            sampling_ratio=self.sampling_ratio,
        )
        return aligned


class RoIMaxPool(nn.Module):
    """Take the largest value in each bin of every region, as OIM was first published.

    Args:
        size: Output rows and columns.
        stride: Picture pixels per feature position.
    """

    def __init__(self, size: tuple[int, int], stride: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(
        self, features: Float[Tensor, "B C H W"], boxes: list[Float[Tensor, "_ 4"]]
    ) -> Float[Tensor, "R C P Q"]:
        """Pool the regions of all pictures, in float32; rows follow the pictures, then boxes."""
        pooled: Tensor = roi_pool(features.float(), boxes, self.size, 1 / self.stride)
        return pooled


def align_sparse(
    features: Float[Tensor, "B C H W"],
    boxes: list[Float[Tensor, "_ 4"]],
    size: tuple[int, int],
    stride: int,
    sampling_ratio: int,
) -> Float[Tensor, "R C P Q"]:
    """RoIAlign by a sparse product; equals torchvision's operator to rounding.

    Returns:
        In channels-last memory, which is how the product comes out.
    """
    B, C, H, W = features.shape
    P, Q = size
    regions = torch.cat(boxes) / stride
    picture = torch.cat([torch.full((len(b),), i) for i, b in enumerate(boxes)])
    R = len(regions)
    if R == 0:
        return features.new_zeros((0, C, P, Q))
    y_index, y_weight = _axis_samples(regions[:, 1], regions[:, 3], P, H, sampling_ratio)
    x_index, x_weight = _axis_samples(regions[:, 0], regions[:, 2], Q, W, sampling_ratio)
    # Outer product of the two axes: (R, P, Q, samples of y, samples of x).
    columns = y_index[:, :, None, :, None] * W + x_index[:, None, :, None, :]
    columns = columns + (picture * H * W)[:, None, None, None, None]
    weights = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    per_row = weights.shape[3] * weights.shape[4]
    with warnings.catch_warnings():
        # Torch calls its CSR layout beta, once per process; the two products used here are tested.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        matrix = torch.sparse_csr_tensor(
            torch.arange(0, R * P * Q * per_row + 1, per_row),
            columns.reshape(-1),
            weights.reshape(-1),
            size=(R * P * Q, B * H * W),
            check_invariants=False,
        )
    flat = features.permute(0, 2, 3, 1).reshape(B * H * W, C)
    aligned: Tensor = _SparseProduct.apply(matrix, flat)
    return aligned.reshape(R, P, Q, C).permute(0, 3, 1, 2)


class _SparseProduct(torch.autograd.Function):
    """A constant sparse matrix times a dense one, with the gradient of the dense one alone.

    In float32 also under autocast: the sparse product has no bf16 kernel.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx, matrix: Tensor, dense: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.matrix = matrix
        return matrix @ dense

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:  # type: ignore[no-untyped-def]
        return None, ctx.matrix.t() @ gradient


def _axis_samples(
    low: Float[Tensor, " R"], high: Float[Tensor, " R"], bins: int, length: int, ratio: int
) -> tuple[Tensor, Tensor]:
    """Positions and weights of the bilinear samples along one axis, both (R, bins, 2·ratio).

    The rules of torchvision's kernel: regions are at least one position long, samples outside
    [-1, length] weigh nothing, samples just inside are moved to the border.
    """
    extent = (high - low).clamp(min=1.0)
    offsets = (torch.arange(bins * ratio, dtype=low.dtype) + 0.5) / (bins * ratio)
    at = low[:, None] + offsets[None, :] * extent[:, None]
    inside = (at >= -1.0) & (at <= length)
    # A coordinate that is not a number is not inside: as an index it would leave the matrix.
    at = torch.where(inside, at, 0.0).clamp(min=0.0, max=length - 1)
    below = at.floor()
    fraction = at - below
    first = below.long()
    second = (first + 1).clamp(max=length - 1)
    index = torch.stack([first, second], dim=2)
    weight = torch.stack([1 - fraction, fraction], dim=2) * (inside / ratio)[:, :, None]
    return index.reshape(len(low), bins, -1), weight.reshape(len(low), bins, -1)
