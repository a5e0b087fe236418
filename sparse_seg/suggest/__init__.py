"""Which pixels a person should label next."""
