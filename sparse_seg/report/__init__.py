"""Tables, figures and pages from measured runs. Reads result.json and panels/, and needs no torch."""
