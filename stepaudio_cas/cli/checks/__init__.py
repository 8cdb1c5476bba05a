"""What `cas-tool doctor` looks at, one module per subject."""
