"""The scores: each module of this folder registers some."""
