"""Indexes that are missing or needless, rows that are dead, statistics that nobody took."""

from __future__ import annotations

from tests.ops.health.planted.fault import FLUSH, Fault, Looks, mends

SCHEMA = "CREATE SCHEMA reports"
PARENT = "CREATE TABLE reports.parent (a int PRIMARY KEY)"
BIG = "CREATE TABLE reports.big AS SELECT n, n % 7 AS kind FROM generate_series(1, 5000) n"
EVERY_ROW = (
    "DO $$ BEGIN FOR i IN 1..60 LOOP PERFORM count(*) FROM reports.big WHERE n = i;"
    " END LOOP; END $$"
)
BLOATED = (
    SCHEMA,
    "CREATE TABLE reports.big (n int PRIMARY KEY, told text) WITH (autovacuum_enabled = off)",
    "INSERT INTO reports.big SELECT n, repeat('x', 100) FROM generate_series(1, 30000) n",
    "DELETE FROM reports.big WHERE n % 20 > 0",
    "VACUUM (ANALYZE) reports.big",
)
SMALL = {"table_bloat_bytes": 1_000_000, "index_bloat_bytes": 200_000}
PAIR = "CREATE TABLE reports.pair (a int, b int)"
ANY_SIZE = {"duplicate_index_bytes": 0}

FAULTS = [
    Fault(
        "a reference has no index",
        "unindexed_references", "reports.Child.to_parent",
        (SCHEMA, PARENT,
         ('CREATE TABLE reports."Child" ("order" int'
         ' CONSTRAINT to_parent REFERENCES reports.parent)')),
        mends('index reports."Child_order_idx"'),
    ),
    Fault(
        "a reference of a partitioned table has no index",
        "unindexed_references", "reports.child.to_parent",
        (SCHEMA, PARENT,
         ("CREATE TABLE reports.child (a int CONSTRAINT to_parent REFERENCES reports.parent)"
         " PARTITION BY RANGE (a)"),
         "CREATE TABLE reports.child_1 PARTITION OF reports.child DEFAULT"),
        mends("index reports.child_a_idx", "index reports.child_1_a_idx"),
    ),
    Fault(
        "a large table is mostly read whole",
        "missing_indexes", "reports.big", (SCHEMA, BIG, "ANALYZE reports.big", EVERY_ROW, FLUSH),
        Looks(), limits={"missing_index_rows": 1000},
    ),
    Fault(
        "an index has never been used",
        "unused_indexes", "reports.unused",
        (SCHEMA, BIG, "CREATE INDEX unused ON reports.big (kind)"),
        mends("index reports.unused"), limits={"unused_index_bytes": 1, "unused_index_days": 0},
    ),
    Fault(
        "an index is there twice",
        "duplicate_indexes", "reports.second",
        (SCHEMA, PAIR, "CREATE INDEX first ON reports.pair (a)",
         "CREATE INDEX second ON reports.pair (a)"),
        mends("index reports.second"),
    ),
    Fault(
        "an index is the beginning of another",
        "duplicate_indexes", "reports.first",
        (SCHEMA, PAIR, "CREATE INDEX first ON reports.pair (a)",
         "CREATE INDEX second ON reports.pair (a, b)"),
        mends("index reports.first"), limits=ANY_SIZE,
    ),
    Fault(
        "a plain index beside an immediate rule and a deferrable one",
        "duplicate_indexes", "reports.plain",
        (SCHEMA, "CREATE TABLE reports.pair (a int CONSTRAINT later UNIQUE DEFERRABLE, b int)",
         "CREATE UNIQUE INDEX now ON reports.pair (a)", "CREATE INDEX plain ON reports.pair (a)"),
        mends("index reports.plain"),
    ),
    Fault(
        "an index of a partitioned table is there twice",
        "duplicate_indexes", "reports.again",
        (SCHEMA, "CREATE TABLE reports.p (a int) PARTITION BY RANGE (a)",
         "CREATE TABLE reports.p1 PARTITION OF reports.p DEFAULT",
         "CREATE INDEX whole ON reports.p (a)", "CREATE INDEX again ON reports.p (a)"),
        mends("index reports.again", "index reports.p1_a_idx1"),
    ),
    Fault(
        "most of a table is empty room",
        "bloated_tables", "reports.big", BLOATED, mends(), limits=SMALL,
    ),
    Fault(
        "much of an index is empty room",
        "bloated_indexes", "reports.big_pkey", BLOATED, mends(), limits=SMALL,
    ),
    Fault(
        "updates find no room in their page",
        "hot_updates", "reports.filled",
        (SCHEMA, ("CREATE TABLE reports.filled (n int PRIMARY KEY, state int, told text)"
         " WITH (autovacuum_enabled = off)"),
         "INSERT INTO reports.filled SELECT n, 0, repeat('x', 500) FROM generate_series(1, 2000) n",
         "UPDATE reports.filled SET state = 1 WHERE n % 2 = 0", FLUSH),
        mends("table reports.filled"), limits={"hot_updates": 1000},
    ),
    Fault(
        "a table was never analyzed",
        "never_analyzed", "reports.big", (SCHEMA, BIG, FLUSH), mends(),
        limits={"vacuum_patience_seconds": 0},
    ),
    Fault(
        "a table is not vacuumed",
        "behind_autovacuum", "reports.big",
        (SCHEMA, BIG, "ALTER TABLE reports.big SET (autovacuum_enabled = off)",
         "ANALYZE reports.big", "DELETE FROM reports.big WHERE n > 2600", FLUSH),
        mends(), limits={"vacuum_patience_seconds": 0},
    ),
    Fault(
        "autovacuum leaves a table alone",
        "autovacuum_off", "reports.still",
        (SCHEMA, "CREATE TABLE reports.still (n int) WITH (autovacuum_enabled = off)"),
        mends("table reports.still"),
    ),
]  # fmt: skip
