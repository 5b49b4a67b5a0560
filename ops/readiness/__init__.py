"""Can this environment be restored: up to when, proven when, in how long (docs/adr/0021).

`value.py` is the answer, one frozen value for each environment; `reading.py` is its only reader.
Pages, commands, metrics and health checks format it, and compute nothing of it again.
"""
