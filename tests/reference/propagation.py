"""A continuous-time walker on a line, by dense algebra and by exact fractions."""

from fractions import Fraction

import numpy as np


def generator(V, T=1.0, rates="arrhenius"):
    """L with L[i, j] the rate i -> j, rows summing to zero."""
    n = len(V)
    L = np.zeros((n, n))
    for i in range(n):
        for j in (i - 1, i + 1):
            if 0 <= j < n:
                step = (V[j] - V[i]) / T
                L[i, j] = {
                    "arrhenius": np.exp(-step / 2),
                    "metropolis": min(1.0, np.exp(-step)),
                    "heat_bath": 1 / (1 + np.exp(step)),
                }[rates]
        L[i, i] = -L[i].sum()
    return L


def resolvent_fractions(right, left, s):
    """s (s − L)^{-1} of the given float rates without any rounding, by Gauss–Jordan elimination."""
    n = len(right)
    s = Fraction(s)
    A = [[Fraction(0)] * n for _ in range(n)]
    for i in range(n):
        A[i][i] = s + Fraction(right[i]) + Fraction(left[i])
        if i + 1 < n:
            A[i][i + 1] = -Fraction(right[i])
        if i > 0:
            A[i][i - 1] = -Fraction(left[i])
    B = [[s if i == j else Fraction(0) for j in range(n)] for i in range(n)]
    for k in range(n):
        pivot = A[k][k]
        A[k] = [a / pivot for a in A[k]]
        B[k] = [b / pivot for b in B[k]]
        for i in range(n):
            if i != k and A[i][k]:
                factor = A[i][k]
                A[i] = [a - factor * c for a, c in zip(A[i], A[k], strict=True)]
                B[i] = [b - factor * c for b, c in zip(B[i], B[k], strict=True)]
    return B


def rates_decimal(V, T, digits=60):
    """Eigenvalues of −L by bisection with `digits` decimal digits, ascending, as floats."""
    from decimal import Decimal, getcontext

    getcontext().prec = digits
    n = len(V)
    V = [Decimal(float(v)) for v in V]
    T = Decimal(float(T))
    right = [(-(V[i + 1] - V[i]) / (2 * T)).exp() for i in range(n - 1)] + [Decimal(0)]
    left = [Decimal(0)] + [((V[i + 1] - V[i]) / (2 * T)).exp() for i in range(n - 1)]

    def below(x):  # Sturm count of the symmetrised −L
        count, pivot = 0, Decimal(1)
        for i in range(n):
            off = right[i - 1] * left[i] if i else Decimal(0)
            pivot = right[i] + left[i] - x - (off / pivot if i else Decimal(0))
            if pivot == 0:
                pivot = Decimal(10) ** -digits
            count += pivot < 0
        return count

    top = 4 * max(r + q for r, q in zip(right, left, strict=True))
    found = []
    for k in range(1, n):
        low, high = Decimal(10) ** -40, top
        while high - low > high * Decimal("1e-16"):
            middle = (low * high).sqrt() if high > 2 * low else (low + high) / 2
            low, high = (low, middle) if below(middle) > k else (middle, high)
        found.append(float(high))
    return [0.0, *found]
