"""What the tests stand on: a throw-away server, a migrated template and clones of it."""
