"""The HTTP service: runs as resources, their events as streams, a history that outlives it."""
