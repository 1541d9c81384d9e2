"""Training: configuration, Lightning module, checkpoints, the entry function."""
