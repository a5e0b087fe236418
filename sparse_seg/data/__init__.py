"""Data sets, sparse points and batches. Importing this package does not import torch."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations would ask PyPI for its version on import
