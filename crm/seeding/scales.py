"""How much there is of everything at each scale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A bulk load: so many accounts of very different sizes, and work per customer."""

    name: str
    accounts: int
    customers: int
    # How many of each there are per customer.
    sites: float
    quotes: float
    jobs: float
    invoices: float  # of jobs that are done: fewer than jobs

    def owner_email(self, position: int) -> str:
        """What the owner of the account in that position (from 0) signs in with."""
        return f"owner{position + 1}@{self.name}.example"

    def sizes(self) -> list[int]:
        """How many customers each account has, largest first: a few large, most small.

        The sizes fall off like word frequencies (Zipf), which is how platforms of small
        businesses look; together they are exactly `customers`.
        """
        weights = [1 / (rank + 1 + self.accounts / 100) for rank in range(self.accounts)]
        whole = sum(weights)
        sizes = [max(1, int(self.customers * weight / whole)) for weight in weights]
        # Rounded down, a few are left over: one each for the largest.
        for rank in range(self.customers - sum(sizes)):
            sizes[rank % self.accounts] += 1
        return sizes

    @property
    def expected_rows(self) -> int:
        """About how many rows the load writes, for a progress bar."""
        documents = self.quotes * 3.3 + self.jobs + self.invoices * 5
        return int(self.customers * (1 + self.sites + documents)) + self.accounts * 14


SMALL = Scale("small", 10, 10_000, sites=0.2, quotes=0.3, jobs=1.0, invoices=0.7)
LARGE = Scale("large", 100, 100_000, sites=0.2, quotes=0.3, jobs=1.0, invoices=0.7)
# A million customers are for measuring lists and searches: a modest number of other rows.
MILLION = Scale("million", 1_000, 1_000_000, sites=0.01, quotes=0.01, jobs=0.03, invoices=0.02)
SCALES = {scale.name: scale for scale in (SMALL, LARGE, MILLION)}
DEMO = "demo"
