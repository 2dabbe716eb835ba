"""What a user gets: plans, reports, timings; values alone, no rendering."""
