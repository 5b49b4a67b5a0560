"""The WAL archive: every change since a base backup, so that any moment can be restored.

names.py says what things are called, gaps.py what can be restored and what is missing, shipping.py
stores one segment and reads it back, slot.py watches the server's side, receiver.py runs it all.
"""
