"""What migrations make of the schema, recorded with the code, and how to make it again."""
