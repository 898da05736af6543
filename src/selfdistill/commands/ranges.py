"""Numbers that are assumed and not measured: an optimistic, an expected and a pessimistic value, and how they are printed."""

from typing import NamedTuple


class Range(NamedTuple):
    """Optimistic, expected and pessimistic value."""

    low: float
    mid: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        """Return the sum, value by value."""
        return Range(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: "float | Range") -> "Range":
        """Return each value times a number, or times the corresponding value of another range."""
        factors = factor if isinstance(factor, Range) else (factor,) * 3
        return Range(*(value * f for value, f in zip(self, factors, strict=True)))

    def at_most(self, limit: float) -> "Range":
        """Return each value, capped at `limit`."""
        return Range(*(min(value, limit) for value in self))


ZERO = Range(0.0, 0.0, 0.0)


def number(value: float) -> str:
    """Return a number as text, two digits below 10 and whole above: 0.04, 1.5, 320, 12,000."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def span(values: Range) -> str:
    """Return the expected value and the range as text: `320 (90 to 1,200)`."""
    return f"{number(values.mid)} ({number(values.low)} to {number(values.high)})"
