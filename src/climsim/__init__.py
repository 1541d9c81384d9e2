"""Neural emulators of atmospheric physics: train, export, couple, evaluate."""
