"""The equations of FDPS once more, sample by sample in float64 NumPy: slow and obvious."""

import math

import numpy as np


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.normal(size=(n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def oim(x: np.ndarray, ids: np.ndarray, lut: np.ndarray, queue: np.ndarray, tau: float) -> float:
    losses = []
    for sample, t in zip(x, ids, strict=True):
        if t == -1:
            continue
        exponents = [float(np.dot(v, sample)) / tau for v in [*lut, *queue]]
        top = max(exponents)
        log_sum = top + math.log(math.fsum(math.exp(e - top) for e in exponents))
        losses.append(log_sum - exponents[t])
    return math.fsum(losses) / len(losses) if losses else 0.0


def negative(x: np.ndarray, ids: np.ndarray, lut: np.ndarray, sigma: float, beta: float) -> float:
    losses = []
    for sample, t in zip(x, ids, strict=True):
        if t == -1:
            continue
        own = float(np.dot(lut[t], sample))
        hard = []
        for j, centre in enumerate(lut):
            close = float(np.dot(centre, sample))
            if j != t and centre.any() and close > sigma * own:
                hard.append(max(close - beta, 0.0))
        losses.append(sum(hard) / len(hard) if hard else 0.0)
    return math.fsum(losses) / len(losses) if losses else 0.0


def dispersion(lut: np.ndarray, alpha: float | None) -> float:
    exponent = -2 * math.log(len(lut)) if alpha is None else alpha
    return math.fsum(math.exp(float(np.dot(a, b)) + exponent) for a in lut for b in lut)


def updated_table(lut: np.ndarray, x: np.ndarray, ids: np.ndarray, momentum: float) -> np.ndarray:
    lut = lut.copy()
    for sample, t in zip(x, ids, strict=True):
        if t != -1:
            row = momentum * lut[t] + (1 - momentum) * sample
            lut[t] = row / np.linalg.norm(row)
    return lut
