"""The restore procedure of a dump: one, for `restore`, `verify --deep` and `drill`.

Into an empty database, by the owner's login: extensions in their own schema and version, then
definitions, rows, indexes and constraints, privileges; then the comparison with the manifest. So
what is called proven has been brought back by what `restore` does, with its rights (docs/adr/0020).
"""
