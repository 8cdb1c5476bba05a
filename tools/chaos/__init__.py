"""A fleet under load whose servers are killed, frozen, emptied and slowed at random, with a seed.

`python -m tools.chaos --help`; what is promised and what was found is in docs/benchmarks.md.
"""
