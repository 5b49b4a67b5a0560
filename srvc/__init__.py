"""Composition root: settings, urls, wsgi, navigation. Nothing imports it."""
