"""Functions, procedures, aggregates, triggers, rules, views."""

# One line each: a table is read like a table.
# ruff: noqa: E501
# fmt: off

from tests.ops.backups.kinds.kind import Kind

_T = "CREATE TABLE t (a int, b int); "
_F = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "

FUNCTIONS = (
    Kind("function_sql", "CREATE FUNCTION f(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT a + b'", "CREATE OR REPLACE FUNCTION f(a int, b int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT a - b'"),
    Kind("function_sql_body", _T + "CREATE FUNCTION f(x int) RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM t WHERE a > x; END", "CREATE OR REPLACE FUNCTION f(x int) RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM t WHERE a < x; END"),
    Kind("function_sql_return", "CREATE FUNCTION f(x int) RETURNS int IMMUTABLE RETURN x * 2", "CREATE OR REPLACE FUNCTION f(x int) RETURNS int IMMUTABLE RETURN x * 3"),
    Kind("function_plpgsql", "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$", "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 2; END $$"),
    Kind("function_of_a_table_that_is_not_there", "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM no_such_table); END'", "DROP FUNCTION f"),
    Kind("function_overloaded", "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE FUNCTION f(int, text) RETURNS int LANGUAGE sql AS 'SELECT 3'", "DROP FUNCTION f(text)"),
    Kind("function_parameters", "CREATE FUNCTION f(IN a int, OUT b int, INOUT c text, VARIADIC d int[]) LANGUAGE plpgsql AS 'BEGIN b := 1; END'", "DROP FUNCTION f"),
    Kind("function_default_of_enum", "CREATE TYPE e AS ENUM ('x'); CREATE FUNCTION f(a e DEFAULT 'x', b date DEFAULT CURRENT_DATE) RETURNS e LANGUAGE sql AS 'SELECT a'", "CREATE OR REPLACE FUNCTION f(a e DEFAULT NULL, b date DEFAULT CURRENT_DATE) RETURNS e LANGUAGE sql AS 'SELECT a'"),
    Kind("function_returning_table", "CREATE FUNCTION f() RETURNS TABLE (a int, b text) LANGUAGE sql ROWS 7 COST 33 AS 'SELECT 1, ''x'''", "ALTER FUNCTION f ROWS 8"),
    Kind("function_returning_set_of_rows", _T + "CREATE FUNCTION f() RETURNS SETOF t LANGUAGE sql AS 'SELECT 1, 2'", "ALTER FUNCTION f ROWS 8"),
    Kind("function_polymorphic", "CREATE FUNCTION f(a anyelement, b anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT a'", "ALTER FUNCTION f IMMUTABLE"),
    Kind("function_properties", "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SECURITY DEFINER COST 5 AS 'SELECT 1'", "ALTER FUNCTION f SECURITY INVOKER"),
    Kind("function_volatility", "CREATE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'", "ALTER FUNCTION f VOLATILE"),
    Kind("function_parallelism", "CREATE FUNCTION f() RETURNS int PARALLEL RESTRICTED LANGUAGE sql AS 'SELECT 1'", "ALTER FUNCTION f PARALLEL UNSAFE"),
    Kind("function_settings", "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = \"$user\", pg_temp SET work_mem = '7MB' SET datestyle TO 'ISO, DMY' AS 'SELECT 1'", "ALTER FUNCTION f SET work_mem = '8MB'"),
    Kind("function_body_with_quotes", "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $x$ SELECT '$$ it''s \\ $y$' $x$", "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS $x$ SELECT '$$ it''s \\ $z$' $x$"),
    Kind("function_window", "CREATE FUNCTION f() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE STRICT AS 'window_row_number'", "DROP FUNCTION f", refused="internal"),
    Kind("function_in_c", "CREATE FUNCTION f(internal) RETURNS internal LANGUAGE c AS '$libdir/dict_snowball', 'dsnowball_init'", "DROP FUNCTION f", refused="language c"),
    Kind("function_leakproof", "CREATE FUNCTION f(int) RETURNS bool LEAKPROOF LANGUAGE sql AS 'SELECT true'", "ALTER FUNCTION f NOT LEAKPROOF", refused="leakproof"),
    Kind("function_with_a_superusers_setting", "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET session_replication_role = replica AS 'SELECT 1'", "ALTER FUNCTION f RESET ALL", refused="session_replication_role"),
    Kind("function_with_support", "CREATE FUNCTION f(text, text) RETURNS bool IMMUTABLE LANGUAGE sql SUPPORT textlike_support AS 'SELECT $1 LIKE $2'", "DROP FUNCTION f", refused="support"),
    Kind("procedure", "CREATE PROCEDURE f(INOUT a int, b text DEFAULT 'x') LANGUAGE plpgsql AS 'BEGIN COMMIT; END'", "DROP PROCEDURE f"),
    Kind("procedure_with_output", "CREATE PROCEDURE f(OUT a int) LANGUAGE sql BEGIN ATOMIC SELECT 1; END", "DROP PROCEDURE f"),
    Kind("aggregate", "CREATE AGGREGATE f(int) (SFUNC = int4pl, STYPE = int, INITCOND = '5')", "DROP AGGREGATE f(int); CREATE AGGREGATE f(int) (SFUNC = int4pl, STYPE = int, INITCOND = '6')"),
    Kind("aggregate_of_own_function", "CREATE FUNCTION s(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + $2'; CREATE FUNCTION e(int) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1::text'; CREATE AGGREGATE f(int) (SFUNC = s, STYPE = int, FINALFUNC = e, COMBINEFUNC = s, PARALLEL = SAFE)", "DROP AGGREGATE f(int)"),
    Kind("aggregate_ordered_set", "CREATE FUNCTION e(int[], numeric) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1[1]'; CREATE AGGREGATE f(numeric ORDER BY int) (SFUNC = array_append, STYPE = int[], FINALFUNC = e)", "DROP AGGREGATE f(numeric ORDER BY int)"),
    Kind("aggregate_moving", "CREATE AGGREGATE f(int) (SFUNC = int4pl, STYPE = int, MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, SORTOP = <)", "DROP AGGREGATE f(int)"),
    Kind("aggregate_variadic", "CREATE FUNCTION s(int, VARIADIC int[]) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'; CREATE AGGREGATE f(VARIADIC int[]) (SFUNC = s, STYPE = int)", "DROP AGGREGATE f(VARIADIC int[])"),
    Kind("function_comment", "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION f(int) IS 'it''s one'", "COMMENT ON FUNCTION f(int) IS 'two'"),
)

TRIGGERS = (
    Kind("trigger_before_row", _T + _F + "CREATE TRIGGER r BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", "DROP TRIGGER r ON t"),
    Kind("trigger_after_statement", _T + _F + "CREATE TRIGGER r AFTER TRUNCATE OR DELETE ON t EXECUTE FUNCTION f()", "DROP TRIGGER r ON t"),
    Kind("trigger_of_columns", _T + _F + "CREATE TRIGGER r BEFORE UPDATE OF b, a ON t FOR EACH ROW EXECUTE FUNCTION f()", "CREATE OR REPLACE TRIGGER r BEFORE UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()"),
    Kind("trigger_when", _T + _F + "CREATE TRIGGER r BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.a IS DISTINCT FROM NEW.a AND (NEW.b > 1 OR NEW.b IS NULL)) EXECUTE FUNCTION f()", "CREATE OR REPLACE TRIGGER r BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.a IS DISTINCT FROM NEW.a) EXECUTE FUNCTION f()"),
    Kind("trigger_when_rows_differ", _T + _F + "CREATE TRIGGER r BEFORE UPDATE ON t FOR EACH ROW WHEN ((OLD.a, OLD.b) IS DISTINCT FROM (NEW.a, NEW.b)) EXECUTE FUNCTION f()", "DROP TRIGGER r ON t"),
    Kind("trigger_arguments", _T + _F + "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f('x', 'it''s', '\\', 'ü')", "CREATE OR REPLACE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f('x')"),
    Kind("trigger_transition_tables", _T + _F + "CREATE TRIGGER r AFTER UPDATE ON t REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION f()", "DROP TRIGGER r ON t"),
    Kind("trigger_off", _T + _F + "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER r", "ALTER TABLE t ENABLE TRIGGER r"),
    Kind("trigger_always", _T + _F + "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE ALWAYS TRIGGER r", "ALTER TABLE t ENABLE REPLICA TRIGGER r"),
    Kind("trigger_instead_of", _T + _F + "CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER r INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION f()", "DROP TRIGGER r ON v"),
    Kind("trigger_that_would_refuse_rows", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$; CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "DROP TRIGGER r ON t"),
    Kind("trigger_comment", _T + _F + "CREATE TRIGGER \"odd one\" BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); COMMENT ON TRIGGER \"odd one\" ON t IS 'x'", 'COMMENT ON TRIGGER "odd one" ON t IS NULL'),
    Kind("rule_instead", _T + "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", "DROP RULE r ON t"),
    Kind("rule_also_with_condition", _T + "CREATE TABLE log (x int); CREATE RULE r AS ON UPDATE TO t WHERE NEW.a <> OLD.a DO ALSO (INSERT INTO log VALUES (NEW.a); INSERT INTO log VALUES (OLD.a))", "DROP RULE r ON t"),
    Kind("rule_of_a_view", _T + "CREATE VIEW v AS SELECT a FROM t; CREATE RULE r AS ON INSERT TO v DO INSTEAD INSERT INTO t VALUES (NEW.a, 0) RETURNING t.a", "DROP RULE r ON v"),
    Kind("rule_off", _T + "CREATE RULE r AS ON INSERT TO t DO ALSO NOTHING; ALTER TABLE t DISABLE RULE r", "ALTER TABLE t ENABLE RULE r"),
    Kind("rule_that_would_keep_rows_away", _T + "INSERT INTO t VALUES (1, 2); CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING", "DROP RULE r ON t"),
    Kind("event_trigger", "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER {k} ON ddl_command_end WHEN TAG IN ('CREATE SEQUENCE') EXECUTE FUNCTION f()", "ALTER EVENT TRIGGER {k} DISABLE", refused="event trigger"),
)

VIEWS = (
    Kind("view", _T + "CREATE VIEW v AS SELECT a, b + 1 AS c FROM t WHERE a > 0 ORDER BY b", "CREATE OR REPLACE VIEW v AS SELECT a, b + 2 AS c FROM t"),
    Kind("view_of_several", _T + "CREATE VIEW v AS SELECT x.a, y.b, count(*) OVER w AS n FROM t x LEFT JOIN t y USING (a) WINDOW w AS (PARTITION BY x.a ORDER BY y.b)", "DROP VIEW v"),
    Kind("view_with_column_names", _T + 'CREATE VIEW v (x, "y z") AS SELECT a, b FROM t', "ALTER VIEW v RENAME x TO w"),
    Kind("view_recursive", "CREATE RECURSIVE VIEW v (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v WHERE n < 9", "DROP VIEW v"),
    Kind("view_with_data_changing_names", _T + "CREATE VIEW v AS WITH q AS MATERIALIZED (SELECT a FROM t), r AS (SELECT 1 AS a) SELECT * FROM q UNION SELECT * FROM r EXCEPT VALUES (3)", "DROP VIEW v"),
    Kind("view_grouping_sets", _T + "CREATE VIEW v AS SELECT a, b, grouping(a, b) AS g, sum(a) FILTER (WHERE b > 0) AS s FROM t GROUP BY GROUPING SETS ((a, b), ROLLUP (a), ()) HAVING count(*) > 0", "DROP VIEW v"),
    Kind("view_lateral", _T + "CREATE VIEW v AS SELECT t.a, l.n FROM t CROSS JOIN LATERAL generate_series(1, t.b) WITH ORDINALITY AS l (n, o)", "DROP VIEW v"),
    Kind("view_options", _T + "CREATE VIEW v WITH (security_barrier, security_invoker) AS SELECT a FROM t WHERE a > 0 WITH CASCADED CHECK OPTION", "ALTER VIEW v RESET (security_barrier)"),
    Kind("view_default", _T + "CREATE VIEW v AS SELECT a FROM t; ALTER VIEW v ALTER a SET DEFAULT 7", "ALTER VIEW v ALTER a DROP DEFAULT"),
    Kind("view_of_a_view", _T + "CREATE VIEW v AS SELECT a FROM t; CREATE VIEW w AS SELECT a FROM v", "DROP VIEW w"),
    Kind("view_of_own_function", "CREATE FUNCTION f() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1'; CREATE VIEW v AS SELECT f.x FROM f() AS f (x) WHERE f.x IN (SELECT f())", "DROP VIEW v"),
    Kind("view_circular_by_rule", "CREATE VIEW v AS SELECT 1 AS a; CREATE VIEW w AS SELECT a FROM v; CREATE OR REPLACE VIEW v AS SELECT 2 AS a", "DROP VIEW w"),
    Kind("view_grouped_by_the_key", "CREATE TABLE t (a int PRIMARY KEY, b int); CREATE VIEW v AS SELECT a, b, count(*) FROM t GROUP BY a", "DROP VIEW v"),
    Kind("view_with_constants", "CREATE VIEW v AS SELECT 'x' AS t, NULL AS n, ARRAY['a'] AS r, interval '1 day' AS i, 1.50 AS d, E'a\\nb' AS l", "DROP VIEW v"),
    Kind("view_of_json_table", "CREATE VIEW v AS SELECT * FROM JSON_TABLE('[1]'::jsonb, '$[*]' COLUMNS (a int PATH '$'))", "DROP VIEW v", since=17),
    Kind("view_whose_table_named_itself", "CREATE TABLE v_of (v_of int, b int); CREATE VIEW v AS SELECT v_of.v_of, v_of.b FROM v_of WHERE v_of.b > 0", "DROP VIEW v"),
    Kind("materialized_view", _T + "INSERT INTO t VALUES (1, 2); CREATE MATERIALIZED VIEW m AS SELECT a FROM t", "DROP MATERIALIZED VIEW m"),
    Kind("materialized_view_empty", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a WITH NO DATA", "REFRESH MATERIALIZED VIEW m"),
    Kind("materialized_view_options", "CREATE MATERIALIZED VIEW m WITH (fillfactor = 66) AS SELECT 1 AS a", "ALTER MATERIALIZED VIEW m SET (fillfactor = 67)"),
    Kind("materialized_view_of_another", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE MATERIALIZED VIEW n AS SELECT a FROM m; CREATE VIEW v AS SELECT a FROM n", "DROP VIEW v"),
    Kind("materialized_view_of_own_function", "CREATE TABLE u (x int); INSERT INTO u VALUES (1); CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM u; END; CREATE MATERIALIZED VIEW m AS SELECT f() AS n", "DROP MATERIALIZED VIEW m"),
    Kind("materialized_view_columns", "CREATE MATERIALIZED VIEW m AS SELECT 'x'::text AS a; ALTER MATERIALIZED VIEW m ALTER a SET STORAGE EXTERNAL; ALTER MATERIALIZED VIEW m ALTER a SET STATISTICS 300", "ALTER MATERIALIZED VIEW m ALTER a SET STATISTICS 400"),
)
