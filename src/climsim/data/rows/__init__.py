"""Files of samples, one row for each column of the atmosphere at one time."""
