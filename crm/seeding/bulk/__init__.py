"""Thousands of businesses by COPY, with totals, numbers and sums as the services write them."""
