"""Data sets as bytes in memory or files on disk, and batches of them."""
