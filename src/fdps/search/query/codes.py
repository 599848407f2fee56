r"""Embeddings in eight bits, and how far a product of two of them can be from the true one.

A row x is kept as whole numbers c with a step s, so that :math:`x = s c + e`, where e is what the
code leaves out. With a query :math:`q = s_q c_q + e_q`, coded likewise,

.. math::
    \langle x, q \rangle = s s_q \langle c, c_q \rangle
        + \langle s c, e_q \rangle + \langle e, q \rangle,

and by Cauchy-Schwarz the last two terms are at most
:math:`\lVert s c \rVert \lVert e_q \rVert + \lVert e \rVert \lVert q \rVert`. The lengths of what
is left out are measured, the greatest of a block, so the bound is tight: some 0.02 for unit rows of
256 numbers. A scan of the codes reads a quarter of the memory of a scan of float32, and tells
without doubt which rows cannot be among the best.

Axes: B rows of a block, D embedding dimension, Q queries.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int8

from fdps.devices import n_threads
from fdps.search.store import UNIT_TOLERANCE

LARGEST = 127
UNIT_ROUNDOFF = 2.0**-24  # unit roundoff of float32
ROWS_AT_ONCE = 256  # they stay in the processor's cache
_SLACK = 1e-9  # far more than the float64 arithmetic of a product and a bound loses


class Products(NamedTuple):
    """Products of queries with rows, and how far each can be from the true one."""

    rough: Float64[np.ndarray, "Q B"]
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Rows in eight bits.

    Args:
        codes: Whole numbers from -127 to 127.
        steps: s of each row; 0 for a row of zeros.
        left_out: The greatest length of e of any row, rounded up.
    """

    codes: Int8[np.ndarray, "B D"]
    steps: Float64[np.ndarray, " B"]
    left_out: float

    @classmethod
    def of(cls, rows: Float32[np.ndarray, "B D"]) -> "Codes":
        """Code rows of unit length, or of zeros.

        Example:
            >>> Codes.of(np.array([[0.8, -0.6], [0.0, 0.0]], dtype=np.float32)).codes.tolist()
            [[127, -95], [0, 0]]
        """
        codes = np.empty(rows.shape, dtype=np.int8)
        steps, left_out = np.empty(len(rows)), 0.0
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            exact = rows[part]
            step = np.abs(exact).max(axis=1, initial=0, keepdims=True) / np.float32(LARGEST)
            coded = np.divide(exact, step, out=np.zeros_like(exact), where=step > 0)
            np.rint(coded, out=coded)
            codes[part], steps[part] = coded, step[:, 0]
            coded *= step
            np.subtract(exact, coded, out=coded)
            left_out = max(left_out, float(np.einsum("bd,bd->b", coded, coded).max()))
        # All of this was float32, on rows of unit length: what it has lost is added.
        greatest = left_out**0.5 * (1 + rows.shape[1] * UNIT_ROUNDOFF) + 4 * UNIT_ROUNDOFF
        return cls(codes, steps, greatest)

    def __len__(self) -> int:
        return len(self.codes)

    def products(self, queries: "Codes") -> Products:
        """Multiply all rows with coded queries.

        The lengths of rows and queries are those of unit vectors, within
        :data:`~fdps.search.store.UNIT_TOLERANCE`.
        """
        import simsimd

        unit = 1 + UNIT_TOLERANCE
        # The coded row is at most as long as the row and what it leaves out together.
        error = (unit + self.left_out) * queries.left_out + unit * self.left_out + _SLACK
        if not len(self) or not len(queries):  # which simsimd refuses
            return Products(np.zeros((len(queries), len(self))), error)
        dots = simsimd.cdist(
            queries.codes, self.codes, "dot", threads=n_threads(), out_dtype="float64"
        )
        rough = np.asarray(dots).reshape(len(queries), len(self))
        rough *= self.steps
        rough *= queries.steps[:, None]
        return Products(rough, error)


def can_multiply_codes() -> bool:
    """Tell whether the library that multiplies codes is here (the extra ``fast``)."""
    return find_spec("simsimd") is not None
