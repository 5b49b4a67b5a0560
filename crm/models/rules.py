"""Rules that the database itself keeps, whichever door a change comes through.

A refusal is a check violation of the "constraint" `business_rule`, with a sentence for people.
Triggers of one table fire in the order of their names: `a_…` first.
"""

from __future__ import annotations

from collections.abc import Iterable

import pgtrigger

REFUSAL = "business_rule"
_OLD_STATUS = "replace(OLD.status, '_', ' ')"
_NEW_STATUS = "replace(NEW.status, '_', ' ')"


def refuse(message: str, *values: str) -> str:
    """PL/pgSQL that refuses the statement with a sentence; `%` stands for each value."""
    arguments = "".join(f", {value}" for value in values)
    text = message.replace("'", "''")
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = '{REFUSAL}', "
        f"MESSAGE = format('{text.replace('%', '%s')}'{arguments});"
    )


def allowed_transitions(noun: str, transitions: Iterable[tuple[str, str]]) -> pgtrigger.Trigger:
    """A trigger that refuses a change of status which is not among the transitions."""
    pairs = ", ".join(f"('{old}', '{new}')" for old, new in transitions)
    return pgtrigger.Trigger(
        name="allowed_transitions",
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        condition=pgtrigger.Condition("OLD.status IS DISTINCT FROM NEW.status"),
        func=f"""
        IF (OLD.status, NEW.status) NOT IN ({pairs}) THEN
            {refuse(f"The {noun} is % and can't become %.", _OLD_STATUS, _NEW_STATUS)}
        END IF;
        RETURN NEW;
        """,
    )


def frozen(noun: str, *, unless: str, still_open: Iterable[str]) -> pgtrigger.Trigger:
    """A trigger that refuses changes and deletion once a row is out of its editable states.

    `unless` is SQL about OLD that says when the row may be edited; `still_open` names the columns
    that may change all the same.
    """
    columns = ", ".join(f"'{column}'" for column in still_open)
    return pgtrigger.Trigger(
        name="b_frozen",
        when=pgtrigger.Before,
        operation=pgtrigger.Update | pgtrigger.Delete,
        condition=pgtrigger.Condition(f"NOT ({unless})"),
        func=f"""
        IF TG_OP = 'DELETE' THEN
            {refuse(f"The {noun} is % and can't be deleted.", _OLD_STATUS)}
        END IF;
        IF (to_jsonb(NEW) - ARRAY[{columns}]) IS DISTINCT FROM
           (to_jsonb(OLD) - ARRAY[{columns}]) THEN
            {refuse(f"The {noun} is % and can't be changed.", _OLD_STATUS)}
        END IF;
        RETURN NEW;
        """,
    )


def frozen_with_parent(noun: str, table: str, column: str, *, unless: str) -> pgtrigger.Trigger:
    """A trigger that refuses any change of a line once its document may not be edited.

    The document's row is locked in share mode, so it can't be issued in the same moment.
    """
    lookup = f"""
        SELECT status INTO parent_status FROM {table}
        WHERE id = {{row}}.{column} AND user_id = {{row}}.user_id FOR SHARE;
        IF FOUND AND NOT (parent_status IN ({unless})) THEN
            {refuse(f"The {noun} is % and its lines can't be changed.", "parent_status")}
        END IF;
    """
    return pgtrigger.Trigger(
        name="b_frozen_with_document",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
        declare=[("parent_status", "text")],
        func=f"""
        IF TG_OP <> 'INSERT' THEN
            {lookup.format(row="OLD")}
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        {lookup.format(row="NEW")}
        RETURN NEW;
        """,
    )


def takes_number(series: str, *, drafts: str = "NEW.status = 'draft'") -> pgtrigger.Trigger:
    """A trigger that numbers a document when it stops being a draft, through whichever door."""
    return pgtrigger.Trigger(
        name="take_number",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update,
        func=f"""
        IF NEW.number IS NULL AND NOT ({drafts}) THEN
            INSERT INTO document_counters (user_id, series, last_number)
            VALUES (NEW.user_id, '{series}', 1)
            ON CONFLICT (user_id, series)
            DO UPDATE SET last_number = document_counters.last_number + 1
            RETURNING last_number INTO NEW.number;
        END IF;
        RETURN NEW;
        """,
    )


def allocated_as_recorded(message: str, column: str) -> pgtrigger.Trigger:
    """A trigger that takes no `allocated_total` but the sum of what payment_allocations says.

    `column` is the allocation's key to this row. It asks the rows themselves: who changed the
    value, and from where, could be feigned.
    """
    return pgtrigger.Trigger(
        name="c_allocated_as_recorded",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update,
        func=f"""
        IF TG_OP = 'UPDATE' AND OLD.allocated_total = NEW.allocated_total THEN
            RETURN NEW;
        END IF;
        IF NEW.allocated_total <> (
            SELECT coalesce(sum(amount), 0) FROM payment_allocations
            WHERE user_id = NEW.user_id AND {column} = NEW.id) THEN
            {refuse(message)}
        END IF;
        RETURN NEW;
        """,
    )


def begins_as_draft(noun: str) -> pgtrigger.Trigger:
    """A trigger that refuses a row which begins its life beyond the checks on leaving a draft."""
    return pgtrigger.Trigger(
        name="a_begins_as_draft",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        condition=pgtrigger.Condition("NEW.status <> 'draft'"),
        func=refuse(f"A new {noun} is a draft first."),
    )
