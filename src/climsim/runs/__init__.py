"""What an online run is, on every host: its status, its record, its history streams."""
