"""Images and masks in files: reading them by windows, and writing class maps."""
