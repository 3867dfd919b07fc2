"""Searches before the main cells: tuning, sweeps and their fronts, told from the folder and mirrored in a database of trials."""
