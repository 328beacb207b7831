"""What `mask` does once its options are read; `cli/mask.py` has them."""
