"""Climate models that an emulator can be coupled to, one adapter each."""
