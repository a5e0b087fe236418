"""Points placed in a page of the browser, with the map that follows from them."""

EVERY = 5
"""Each so many-th next place is a check point."""
