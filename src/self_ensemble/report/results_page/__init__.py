"""One page about finished results: `self-ensemble report`."""
