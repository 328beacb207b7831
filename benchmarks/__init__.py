"""How this engine is measured beside its rivals: `python -m benchmarks`; not shipped to users."""
