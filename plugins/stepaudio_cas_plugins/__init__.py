"""One small module per host family, found by entry points."""
