"""The checks of the database itself: one file for each area, its checks in `CHECKS`."""
