"""Drills: a restore rehearsed on a private server, by a ladder of ever harder checks."""
