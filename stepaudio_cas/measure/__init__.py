"""What a host spends, and where: timed in a process of its own, with the cache and without."""
