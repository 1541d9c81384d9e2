"""The architectures: every module here registers one; a new file is a new network."""
