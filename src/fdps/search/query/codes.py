r"""Embeddings in eight bits, and how far a product of two of them can be from the true one.

A row x is kept as whole numbers c with a step s, so that :math:`x = s c + e`, where e is what the
code leaves out. With a query :math:`q = s_q c_q + e_q`, coded likewise,

.. math::
    \langle x, q \rangle = s s_q \langle c, c_q \rangle
        + \langle s c, e_q \rangle + \langle e, q \rangle,

and by Cauchy-Schwarz the last two terms are at most
:math:`\lVert s c \rVert \lVert e_q \rVert + \lVert e \rVert \lVert q \rVert`. Both lengths of what
is left out are measured, not estimated, so the bound is tight: some 0.015 for unit rows of 256
numbers. A scan of the codes reads a quarter of the memory of a scan of float32, and tells without
doubt which rows cannot be among the best.

Axes: B rows of a block, D embedding dimension, Q queries.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64

from fdps.devices import n_threads
from fdps.search.store import UNIT_TOLERANCE

LARGEST = 127
UNIT_ROUNDOFF = 2.0**-24  # unit roundoff of float32
ROWS_AT_ONCE = 256  # they stay in the processor's cache
_SLACK = 1e-9  # far more than the float64 arithmetic of a product and a bound loses


class Products(NamedTuple):
    """Products of queries with rows, and how far each can be from the true one."""

    rough: Float64[np.ndarray, "Q B"]
    errors: Float64[np.ndarray, "Q B"]


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Rows in eight bits.

    Args:
        codes: Whole numbers from -127 to 127.
        steps: s of each row; 0 for a row of zeros.
        left_out: Length of e of each row, rounded up.
    """

    codes: Int8[np.ndarray, "B D"]
    steps: Float32[np.ndarray, " B"]
    left_out: Float32[np.ndarray, " B"]

    @classmethod
    def of(cls, rows: Float32[np.ndarray, "B D"]) -> "Codes":
        """Code rows of unit length, or of zeros.

        Example:
            >>> Codes.of(np.array([[0.8, -0.6], [0.0, 0.0]], dtype=np.float32)).codes.tolist()
            [[127, -95], [0, 0]]
        """
        codes = np.empty(rows.shape, dtype=np.int8)
        steps, left_out = (np.empty(len(rows), dtype=np.float32) for _ in range(2))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            exact = rows[part]
            steps[part] = np.abs(exact).max(axis=1, initial=0) / np.float32(LARGEST)
            step = steps[part, None]
            coded = np.divide(exact, step, out=np.zeros_like(exact), where=step > 0)
            np.rint(coded, out=coded)
            codes[part] = coded
            coded *= step
            np.subtract(exact, coded, out=coded)
            left_out[part] = np.sqrt(np.einsum("bd,bd->b", coded, coded))
        # All of this was float32, on rows of unit length: what it has lost is added.
        left_out *= np.float32(1 + rows.shape[1] * UNIT_ROUNDOFF)
        left_out += np.float32(4 * UNIT_ROUNDOFF)
        return cls(codes, steps, left_out)

    def __len__(self) -> int:
        return len(self.codes)

    def taken(self, rows: Bool[np.ndarray, " B"] | Int64[np.ndarray, " _"]) -> "Codes":
        """Copy some of the rows."""
        return Codes(self.codes[rows], self.steps[rows], self.left_out[rows])

    def products(self, queries: "Codes") -> Products:
        """Multiply all rows with coded queries.

        The lengths of rows and queries are those of unit vectors, within
        :data:`~fdps.search.store.UNIT_TOLERANCE`.
        """
        import simsimd

        if not len(self) or not len(queries):  # which simsimd refuses
            return Products(*np.zeros((2, len(queries), len(self))))
        dots = simsimd.cdist(
            queries.codes, self.codes, "dot", threads=n_threads(), out_dtype="float64"
        )
        steps = self.steps.astype(np.float64)
        rough = np.asarray(dots).reshape(len(queries), len(self))
        rough *= queries.steps.astype(np.float64)[:, None]
        rough *= steps
        left_out, of_query = (c.left_out.astype(np.float64) for c in (self, queries))
        unit = 1 + UNIT_TOLERANCE
        # The coded row is at most as long as the row and what it leaves out together.
        errors = (unit + left_out) * of_query[:, None] + unit * left_out + _SLACK
        return Products(rough, errors)


def can_multiply_codes() -> bool:
    """Tell whether the library that multiplies codes is here (the extra ``fast``)."""
    return find_spec("simsimd") is not None
