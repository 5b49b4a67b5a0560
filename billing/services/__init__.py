"""Writes of billing: keyword-only, atomic, in the name of somebody."""
