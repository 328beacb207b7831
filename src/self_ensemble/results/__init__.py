"""Results that survive a kill: where they lie, what they hold, how they are written."""
