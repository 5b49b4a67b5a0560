"""Health: what is wrong with the database, since when, and what to do, before users notice.

Checks (`checks/`, and the apps' own) are plain functions that look and report; `running` asks them
one after the other, read-only and each within its time; `recording` gives what they report a life.
Nothing here changes the database that is looked at, but for the tables that remember.
"""
