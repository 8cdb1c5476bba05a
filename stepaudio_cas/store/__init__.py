"""Where artifacts are kept: backends, and objects and manifests on them."""
