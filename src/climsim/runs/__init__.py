"""What an online run is asked for and what it says about itself, on every host."""
