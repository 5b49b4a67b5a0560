"""The server's log: found, read piece by piece, parsed, with secrets out of it."""
