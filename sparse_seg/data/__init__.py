"""Data sets, sparse points and batches. Importing this package does not import torch."""
