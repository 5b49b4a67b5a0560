"""Restores: the whole database, a moment, a table, one customer; rehearsed by drills.

Nothing live is touched before the restored data is proven beside it, and every change can be taken
back: a swapped database is kept, and a recovered row's former values are recorded.
"""
