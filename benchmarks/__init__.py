"""Every speed claim, as a ratio against a named peer in the same run. `make bench` runs them all.

`python -m benchmarks [NAME …]` starts a throw-away PostgreSQL with production's settings, loads a
million customers once, measures, prints and removes everything.
"""
