"""The kinds of rows that can be imported, one file each."""
