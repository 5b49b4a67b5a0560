"""Accounts, customers, jobs, quotes, invoices, payments. May import ops."""
