"""The table that the benchmark prints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table. What is wanted: a bound on the value, on value ÷ reference, or nothing.

    The value is in seconds, or in GB where max_gigabytes is given.
    """

    what: str
    value: float
    reference: float | None = None
    max_seconds: float | None = None
    max_ratio: float | None = None
    max_gigabytes: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """None where nothing is wanted."""
        if self.max_ratio is not None and self.ratio is not None:
            return self.ratio <= self.max_ratio
        most = self.max_gigabytes if self.max_gigabytes is not None else self.max_seconds
        return self.value <= most if most is not None else None

    def cells(self) -> dict[str, str]:
        wanted = f"ratio ≤ {self.max_ratio:g}" if self.max_ratio is not None else ""
        wanted = f"≤ {self.max_seconds:g} s" if self.max_seconds is not None else wanted
        wanted = f"≤ {self.max_gigabytes:g} GB" if self.max_gigabytes is not None else wanted
        return {
            "what": self.what,
            "value": f"{self.value:.2f} GB" if self.max_gigabytes is not None else duration(self.value),
            "reference": duration(self.reference) if self.reference is not None else "",
            "ratio": f"{self.ratio:.3f}" if self.ratio is not None else "",
            "wanted": wanted,
            "met": {True: "yes", False: "no", None: ""}[self.met],
        }


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
