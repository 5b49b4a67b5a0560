"""Made-up businesses, their customers and their work, for trying SRVC and for measuring it.

`demo` writes a few businesses through the services, as people would; `bulk` streams thousands of
them in by COPY. Both are deterministic: the same seed and day give the same rows.
"""
