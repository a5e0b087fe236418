"""Label images of any size with a trained network."""
