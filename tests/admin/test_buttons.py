"""Buttons and bulk actions: asked first, posted, refused row by row with a reason."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.test import Client
from django.utils import timezone

from crm.models import Customer, Invoice, Job, Payment, Quote, QuoteStatus, User
from crm.services.documents import decide_quote, issue_invoice, send_quote
from ops.rls.session import acting_as
from tests.admin.pages import address, messages_of, sign_in
from tests.factories import make_customer, make_invoice, make_quote

HTMX = {"HX-Request": "true"}


def press(client: Client, row: Any, button: str, **data: Any) -> Any:
    return client.post(address(type(row), button, row.pk), data)


def test_a_quote_goes_all_the_way_to_the_money(client: Client, owner: User) -> None:
    with acting_as(owner):
        quote = make_quote(make_customer(), "100", "50", title="Boiler")
    assert press(client, quote, "send_one").status_code == 302
    assert press(client, quote, "accept").status_code == 302
    job_page = press(client, quote, "to_job")
    with acting_as(owner):
        job = Job.objects.get()
        assert job_page["Location"] == address(Job, "change", job.pk)
        assert (job.quote_id, job.customer_id, job.title) == (quote.pk, quote.customer_id, "Boiler")
    press(client, job, "schedule", start_0="2026-03-02", start_1="09:00")
    press(client, job, "start")
    press(client, job, "complete_one")
    press(client, job, "new_invoice")
    with acting_as(owner):
        job.refresh_from_db()
        invoice = Invoice.objects.get()
        assert job.status == "completed"
        assert (invoice.job_id, invoice.quote_id, invoice.total) == (job.pk, quote.pk, 150)
        assert Quote.objects.get().status == QuoteStatus.CONVERTED
    press(client, invoice, "issue_one")
    press(client, invoice, "record_payment", amount="60", received_on="2026-03-02", method="cash")
    with acting_as(owner):
        invoice.refresh_from_db()
        payment = Payment.objects.get()
        assert (invoice.number, invoice.balance, payment.method) == (1, 90, "cash")
    press(client, payment, "reverse", received_on="2026-03-03")
    with acting_as(owner):
        invoice.refresh_from_db()
        assert invoice.balance == 150
    press(client, invoice, "void", reason="wrong customer")
    with acting_as(owner):
        invoice.refresh_from_db()
        assert (invoice.status, invoice.status_reason) == ("void", "wrong customer")


def test_asking_changes_nothing(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
    url = address(Invoice, "issue_one", invoice.pk)
    page = client.get(url)
    assert page.status_code == 200
    assert "It gets its number" in page.content.decode()
    dialog = client.get(url, headers=HTMX).content.decode()
    assert '<div id="dialog">' in dialog
    assert "<html" not in dialog
    with acting_as(owner):
        invoice.refresh_from_db()
        assert invoice.status == "draft"


def test_a_button_is_no_door_for_other_sites(owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert strict.post(address(Invoice, "issue_one", invoice.pk)).status_code == 403
    with acting_as(owner):
        invoice.refresh_from_db()
        assert invoice.status == "draft"


def test_a_dialog_tells_refusals_and_sends_the_page_on(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        empty = make_quote(customer)
        full = make_quote(customer, "10")
    url = address(Quote, "send_one", empty.pk)
    refused = client.post(url, headers=HTMX)
    assert "A quote without lines can&#x27;t be sent." in refused.content.decode()
    done = client.post(address(Quote, "send_one", full.pk), headers=HTMX)
    assert done["HX-Redirect"] == address(Quote, "change", full.pk)
    missing = client.post(address(Job, "hold", 1), headers=HTMX)
    assert missing.status_code == 302


def test_a_stale_page_is_told_and_nothing_happens_twice(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
    page = client.post(address(Invoice, "issue_one", invoice.pk), follow=True)
    assert messages_of(page) == ["INV-00001 has changed meanwhile. Nothing was changed."]


def test_a_reason_is_asked_for(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
    page = press(client, invoice, "void", reason="")
    assert page.context["form"].errors == {"reason": ["This field is required."]}
    with acting_as(owner):
        invoice.refresh_from_db()
        assert invoice.status == "issued"


def test_a_quote_is_billed_once(client: Client, owner: User) -> None:
    with acting_as(owner):
        quote = send_quote(quote=make_quote(make_customer(), "10"), by=owner)
        decide_quote(quote=quote, accepted=True, by=owner)
    press(client, quote, "to_invoice")
    again = press(client, quote, "to_invoice")
    assert "Draft invoice bills this quote already." in again.content.decode()
    with acting_as(owner):
        assert Invoice.objects.count() == 1


def test_buttons_are_offered_where_they_lead_somewhere(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")

    def offered() -> list[str]:
        page = client.get(address(Invoice, "change", invoice.pk))
        return [action["title"] for action in page.context["actions_detail"]]

    assert offered() == ["Issue"]
    press(client, invoice, "issue_one")
    assert offered() == ["Record payment", "Write off", "Void"]


def test_a_technician_starts_and_completes_but_bills_nothing(technician: User, owner: User) -> None:
    with acting_as(owner):
        job = Job.objects.create(
            customer=make_customer(),
            title="Dig",
            status="scheduled",
            scheduled_start=timezone.now(),
        )
    browser = sign_in(technician)
    page = browser.get(address(Job, "change", job.pk))
    assert [action["title"] for action in page.context["actions_detail"]] == [
        "Start",
        "Complete",
        "Hold",
    ]
    assert "Paperwork" not in page.content.decode()
    assert press(browser, job, "start").status_code == 302
    assert press(browser, job, "new_invoice").status_code == 403
    assert press(browser, job, "cancel", reason="no").status_code == 403
    with acting_as(owner):
        job.refresh_from_db()
        assert job.status == "in_progress"


def test_prefilled_forms_start_from_their_parent(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer(company_name="Harbour")
    response = client.get(address(Customer, "new_quote", customer.pk))
    assert response["Location"] == f"/admin/crm/quote/add/?customer={customer.pk}"
    assert "Harbour" in client.get(response["Location"]).content.decode()


def run(client: Client, rows: list[Any], action: str) -> list[str]:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return messages_of(client.post(address(type(rows[0]), "changelist"), data, follow=True))


def test_bulk_actions_do_what_they_may_and_tell_why_not(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        drafts = [make_invoice(customer, "10"), make_invoice(customer, "20")]
        issued = issue_invoice(invoice=make_invoice(customer, "30"), by=owner)
        empty = make_invoice(customer)
    assert run(client, [*drafts, empty, issued], "issue") == [
        "3 issued.",
        "1 not issued: An invoice without lines can't be issued.",
    ]
    assert run(client, [*drafts, empty], "pay") == [
        "2 paid.",
        "1 not paid: The invoice is draft and takes no payment.",
    ]
    with acting_as(owner):
        assert [i.balance for i in Invoice.objects.filter(pk__in=[d.pk for d in drafts])] == [0, 0]
        assert sum(p.amount for p in Payment.objects.all()) == Decimal(30)


def test_bulk_actions_on_jobs_quotes_and_customers(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        quote = make_quote(customer, "10")
        draft = Job.objects.create(customer=customer, title="Draft")
        planned = Job.objects.create(
            customer=customer,
            title="Planned",
            status="scheduled",
            scheduled_start=dt.datetime(2026, 3, 2, tzinfo=dt.UTC),
        )
    assert run(client, [draft, planned], "complete") == [
        "1 completed.",
        "1 not completed: The job is draft and can't become completed.",
    ]
    assert run(client, [quote], "send") == ["1 sent."]
    assert run(client, [customer], "archive") == ["1 archived."]
    with acting_as(owner):
        customer.refresh_from_db()
        assert customer.status == "archived"


def test_bulk_actions_need_the_right_to_do_them(technician: User, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
    browser = sign_in(technician)
    run(browser, [customer], "archive")
    with acting_as(owner):
        customer.refresh_from_db()
        assert customer.status == "active"
