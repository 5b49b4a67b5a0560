"""The one way uploaded files come back from a backup: for a restore, a recovery and a proof."""
