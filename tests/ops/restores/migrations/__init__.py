"""Migrations of an app that renamed and dropped what a backup has."""
