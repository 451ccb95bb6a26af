"""What `make bench NAME=pacing` measures and how it is shown."""
