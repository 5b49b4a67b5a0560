"""Taking backups, proving what is in them, keeping and finding them again.

A backup is an object in a storage and a manifest beside it, written last. `snapshot`, `proof` and
`fingerprint` say what a database is, and `comparison` where two of them differ; they know no model
and no setting, so a restored database on any server is asked the same way as the live one.
"""
