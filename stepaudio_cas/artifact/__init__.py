"""What is kept: the bytes of an artifact and the manifest that names them."""
