"""How this engine is measured beside its rivals: `python -m benchmarks`; not shipped to users."""

# First of all: PyTorch reads what this sets when it is imported.
import self_ensemble  # noqa: F401
