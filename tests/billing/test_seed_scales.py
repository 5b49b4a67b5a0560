"""`seed` at the bulk scales: by COPY, and as consistent as rows written one by one."""

import datetime as dt
import io
from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from billing.errors import BillingError
from billing.seeding.bulk import is_loaded, load_scale
from billing.seeding.progress import shown
from crm.models import Customer, Invoice, InvoiceLine, Product, User
from crm.seeding.bulk import copying
from crm.seeding.progress import Silent
from crm.seeding.scales import LARGE, MILLION, SCALES, SMALL, Scale
from crm.services.documents import issue_invoice
from ops.rls.session import acting_as
from tests.crm.seeding.invariants import broken_invariants, count

TODAY = dt.date(2026, 3, 2)
TINY = replace(SMALL, name="tiny", accounts=5, customers=400)


def content(columns: str, table: str) -> list[tuple[object, ...]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY id")
        rows: list[tuple[object, ...]] = cursor.fetchall()
        return rows


def test_totals_numbers_allocations_and_history_are_as_in_life(fresh_database: str) -> None:
    load_scale(TINY, seed=1, today=TODAY, progress=Silent())
    assert broken_invariants() == {}
    assert (count("accounts"), count("customers"), count("users")) == (5, 400, 15)
    assert count("invoices", "status = 'issued' AND balance > 0 AND due_date < '2026-03-02'") > 5
    assert count("invoices", "allocated_total > 0 AND balance > 0") > 5
    assert {row[0] for row in content("status", "quotes")} >= {"sent", "accepted", "converted"}
    assert count("customers_history", "changed_via = 'seed --scale tiny'") == 400
    names = content("first_name, last_name, city, phone_e164", "customers")
    assert len({row[0] for row in names}) > 80
    assert len({row[1] for row in names}) > 80
    assert len({row[3] for row in names}) > 350
    statuses = [status for (status,) in content("status", "customers")]
    assert 300 < statuses.count("active") < 360
    # Nobody signs in to a bulk account.
    assert not any(user.has_usable_password() for user in User.objects.all())


def test_the_next_number_goes_on_where_the_load_ended(fresh_database: str) -> None:
    load_scale(TINY, seed=1, today=TODAY, progress=Silent())
    owner = User.objects.get(email="owner1@tiny.example")
    last = count("invoices", f"user_id = {owner.pk} AND number IS NOT NULL")
    with acting_as(owner):
        customer, product = Customer.objects.earliest("id"), Product.objects.earliest("id")
        invoice = Invoice.objects.create(customer=customer)
        line = InvoiceLine(invoice=invoice, product=product)
        line.copy_product()
        line.save()
        assert issue_invoice(invoice=invoice, by=owner).number == last + 1


def test_the_rules_are_back_in_force_after_the_load(fresh_database: str) -> None:
    from django.db import IntegrityError

    load_scale(TINY, seed=1, today=TODAY, progress=Silent())
    with (
        connections["owner"].cursor() as cursor,
        pytest.raises(IntegrityError, match="lines can't be changed"),
    ):
        cursor.execute(
            "DELETE FROM invoice_lines WHERE invoice_id = "
            "(SELECT id FROM invoices WHERE status = 'issued' LIMIT 1)"
        )


def test_the_same_seed_and_day_give_the_same_rows(fresh_database: str) -> None:
    columns = (
        ("status, first_name, last_name, company_name, email, phone_e164, created_at", "customers"),
        ("number, total, status, issue_date, allocated_total", "invoices"),
    )
    seen = []
    for seed in (7, 7, 8):
        load_scale(TINY, seed=seed, today=TODAY, progress=Silent())
        seen.append([content(*table) for table in columns])
        with connections["owner"].cursor() as cursor:
            cursor.execute("TRUNCATE users, accounts, customers CASCADE")
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


def test_a_second_load_is_refused_and_changes_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCALES, "small", replace(TINY, name="small"))
    out = io.StringIO()
    call_command("seed", scale="small", today=TODAY, stdout=out)
    assert out.getvalue().startswith("Loaded 5 accounts with 400 customers (")
    call_command("seed", scale="small", today=TODAY, once=True)
    with pytest.raises(CommandError, match=r"small is loaded already\. Nothing was changed"):
        call_command("seed", scale="small", today=TODAY)
    assert count("customers") == 400


class _StopsHalfWay:
    """Somebody presses Ctrl-C when some rows are written."""

    def __init__(self) -> None:
        self.rows = 0

    def advance(self, rows: int) -> None:
        self.rows += rows
        if self.rows > 450:
            raise KeyboardInterrupt


def test_stopped_half_way_it_leaves_nothing(fresh_database: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_scale(TINY, seed=1, today=TODAY, progress=_StopsHalfWay())
    assert [count(table) for table in ("users", "accounts", "customers")] == [0, 0, 0]
    assert not is_loaded(TINY)
    load_scale(TINY, seed=1, today=TODAY, progress=Silent())
    assert count("customers") == 400


def test_two_scales_stand_beside_each_other(fresh_database: str) -> None:
    load_scale(TINY, seed=1, today=TODAY, progress=Silent())
    load_scale(replace(TINY, name="other"), seed=1, today=TODAY, progress=Silent())
    assert broken_invariants() == {}
    with pytest.raises(BillingError):
        load_scale(TINY, seed=2, today=TODAY, progress=Silent())
    assert count("customers") == 800


@pytest.mark.parametrize("scale", [SMALL, LARGE, MILLION])
def test_sizes_are_skewed_and_add_up(scale: Scale) -> None:
    sizes = scale.sizes()
    assert (len(sizes), sum(sizes)) == (scale.accounts, scale.customers)
    assert min(sizes) >= 1
    assert max(sizes) > 1.5 * scale.customers / scale.accounts > 1.5 * sizes[-1]


def test_text_is_escaped_for_copy() -> None:
    line = copying.text_line(["a\tb\nc\\d\re", None, True, False, 3, dt.date(2026, 3, 2)])
    assert line == "a\\tb\\nc\\\\d\\re\t\\N\tt\tf\t3\t2026-03-02\n"


def test_a_log_gets_lines_and_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr("billing.seeding.progress.time.monotonic", lambda: next(moments))
    out: list[str] = []

    class Log:
        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> None:
            out.append(text)

    with shown(Log(), "Loading small", 1_000) as progress:
        for _ in range(3):
            progress.advance(200)
    assert progress.rows == 600
    assert out == ["Loading small: 40 %, 400 rows, 67 a second"]
