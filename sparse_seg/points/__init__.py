"""What is labelled: points drawn from masks, points in files, points held out."""
