"""Commands of Django's that SRVC replaces.

An app of its own: the first app that has a command wins, and the pages of `srvc` come last.
"""
