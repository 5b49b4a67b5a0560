"""Uploaded files back from a media backup, and the way back."""
