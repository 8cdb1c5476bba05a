"""The hot path in the host: look-up, single flight, breakers, events, keeping."""
