"""What finished results can tell, without a model: comparisons, curves, robustness, pooling."""
