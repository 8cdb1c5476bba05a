"""Keeping a store in order: what is in it, what may go, whether it is whole, and moving it."""
