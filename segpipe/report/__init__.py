"""What people read of a run: profiles of the segments, their names and one HTML page."""
