"""The table that the benchmark prints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table, in seconds. What is wanted: a bound on the value, on value ÷ reference, or nothing."""

    what: str
    value: float
    reference: float | None = None
    max_seconds: float | None = None
    max_ratio: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """None where nothing is wanted."""
        if self.max_ratio is not None and self.ratio is not None:
            return self.ratio <= self.max_ratio
        return self.value <= self.max_seconds if self.max_seconds is not None else None

    def cells(self) -> dict[str, str]:
        wanted = f"ratio ≤ {self.max_ratio:g}" if self.max_ratio is not None else ""
        wanted = f"≤ {self.max_seconds:g} s" if self.max_seconds is not None else wanted
        return {
            "what": self.what,
            "value": duration(self.value),
            "reference": duration(self.reference) if self.reference is not None else "",
            "ratio": f"{self.ratio:.3f}" if self.ratio is not None else "",
            "wanted": wanted,
            "met": {True: "yes", False: "no", None: ""}[self.met],
        }


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
