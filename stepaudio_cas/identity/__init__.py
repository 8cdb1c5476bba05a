"""What is the same computation: digests, canonical parameters, fingerprints, keys."""
