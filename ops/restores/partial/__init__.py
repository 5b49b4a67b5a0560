"""Some rows: chosen with what belongs to them, compared, brought back in one statement, undone."""
