"""Feature sets: from accepted rows to the columns that enter a distance."""
