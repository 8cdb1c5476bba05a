"""The benchmark: our hits and misses beside everything they are to be compared with, in one run.

`python -m tools.bench --help`; what is measured and how to read it is in docs/benchmarks.md.
"""
