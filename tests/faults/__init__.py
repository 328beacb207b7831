"""Campaigns of injected faults; `make faults` runs them long, the tests run them short."""
