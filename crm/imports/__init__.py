"""Rows from elsewhere: CSV files of customers, products, jobs and invoices.

A file is decoded (`encodings`), split into rows (`reading`), its columns recognised (`headers`) and
its rows checked one by one (`values`, `kinds`), on their way into temporary tables (`staging`).
What was there already is found (`duplicates`) and the rest written (`kinds`) by the database, in
one transaction: `run` has the service.
"""
