"""What `make run` does once the packages are there: prepare everything, then serve."""
