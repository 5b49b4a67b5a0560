"""Where a table of the past and the live one differ, row by row, within bounded memory."""
