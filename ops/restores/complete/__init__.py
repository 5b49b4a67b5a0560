"""The whole database: restored beside, compared there, swapped in last; taken back the same way."""
