"""Dumps that somebody else made: opened, read as hostile, loaded where they can do no harm."""
