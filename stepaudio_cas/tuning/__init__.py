"""How a host is made faster without editing it: what may be asked for, and what came of it."""
