"""Many trials at once on Ray: hand out, watch, stop, show."""
