"""Times of models side by side: every model in a process of its own, the runs interleaved."""
