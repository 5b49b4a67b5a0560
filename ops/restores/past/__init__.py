"""What a partial recovery reads: of a backup, a moment or a CSV file only what may be needed."""
