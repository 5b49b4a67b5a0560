"""One account as an archive: everything of it in a documented file, for any server to take in.

See docs/accounts.md for the format. What belongs to an account is found by the catalog: tables
whose policy names an account, and what hangs on them.
"""
