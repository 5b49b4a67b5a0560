"""Rights, policies, comments, publications, foreign data, extensions, large objects, odd names."""

# One line each: a table is read like a table.
# ruff: noqa: E501
# fmt: off

from tests.ops.backups.kinds.kind import Kind

_T = "CREATE TABLE t (a int, b int); "
_63 = "n" * 63

RIGHTS = (
    Kind("grant_table", _T + "GRANT SELECT, INSERT, UPDATE, DELETE ON t TO srvc_member", "REVOKE DELETE ON t FROM srvc_member"),
    Kind("grant_table_all", _T + "GRANT ALL ON t TO srvc_admin; GRANT REFERENCES, TRIGGER, TRUNCATE ON t TO srvc_public", "REVOKE TRIGGER ON t FROM srvc_public"),
    Kind("grant_table_option", _T + "GRANT SELECT ON t TO srvc_member WITH GRANT OPTION", "REVOKE GRANT OPTION FOR SELECT ON t FROM srvc_member"),
    Kind("grant_table_public", _T + "GRANT SELECT ON t TO PUBLIC", "REVOKE SELECT ON t FROM PUBLIC"),
    Kind("grant_table_taken_from_its_owner", _T + "INSERT INTO t VALUES (1, 1); REVOKE INSERT, TRUNCATE ON t FROM srvc_owner", "GRANT TRUNCATE ON t TO srvc_owner"),
    Kind("grant_table_maintain", _T + "GRANT MAINTAIN ON t TO srvc_member", "REVOKE MAINTAIN ON t FROM srvc_member", since=17),
    Kind("grant_columns", _T + "GRANT SELECT (a), UPDATE (a, b) ON t TO srvc_member; GRANT INSERT (b) ON t TO srvc_admin WITH GRANT OPTION", "REVOKE UPDATE (b) ON t FROM srvc_member"),
    Kind("grant_columns_of_a_view", _T + "CREATE VIEW v AS SELECT a, b FROM t; GRANT SELECT (b) ON v TO srvc_member", "REVOKE SELECT (b) ON v FROM srvc_member"),
    Kind("grant_view", _T + "CREATE VIEW v AS SELECT a FROM t; GRANT SELECT ON v TO srvc_member", "REVOKE SELECT ON v FROM srvc_member"),
    Kind("grant_materialized_view", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; GRANT SELECT ON m TO srvc_member", "REVOKE SELECT ON m FROM srvc_member"),
    Kind("grant_partition", "CREATE TABLE t (a int) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); GRANT SELECT ON t1 TO srvc_member; GRANT INSERT ON t TO srvc_member", "REVOKE SELECT ON t1 FROM srvc_member"),
    Kind("grant_schema", "GRANT USAGE ON SCHEMA {k} TO srvc_member; GRANT CREATE ON SCHEMA {k} TO srvc_admin", "REVOKE CREATE ON SCHEMA {k} FROM srvc_admin"),
    Kind("grant_function", "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION f(int) FROM PUBLIC; GRANT EXECUTE ON FUNCTION f(int) TO srvc_member", "REVOKE EXECUTE ON FUNCTION f(int) FROM srvc_member"),
    Kind("grant_procedure", "CREATE PROCEDURE f() LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON PROCEDURE f() TO srvc_member", "REVOKE EXECUTE ON PROCEDURE f() FROM srvc_member"),
    Kind("grant_aggregate", "CREATE AGGREGATE f(int) (SFUNC = int4pl, STYPE = int); GRANT EXECUTE ON FUNCTION f(int) TO srvc_member", "REVOKE EXECUTE ON FUNCTION f(int) FROM PUBLIC"),
    Kind("grant_type", "CREATE TYPE e AS ENUM ('x'); REVOKE USAGE ON TYPE e FROM PUBLIC; GRANT USAGE ON TYPE e TO srvc_member", "GRANT USAGE ON TYPE e TO PUBLIC"),
    Kind("grant_domain", "CREATE DOMAIN d AS int; GRANT USAGE ON DOMAIN d TO srvc_member WITH GRANT OPTION", "REVOKE USAGE ON DOMAIN d FROM srvc_member"),
    Kind("grant_taken_and_given_back", _T + "REVOKE ALL ON t FROM srvc_owner; GRANT ALL ON t TO srvc_owner", "GRANT SELECT ON t TO srvc_member"),
    Kind("default_privileges_in_a_schema", "ALTER DEFAULT PRIVILEGES IN SCHEMA {k} GRANT SELECT ON TABLES TO srvc_member; ALTER DEFAULT PRIVILEGES IN SCHEMA {k} GRANT USAGE ON SEQUENCES TO srvc_admin; CREATE TABLE t (a serial)", "ALTER DEFAULT PRIVILEGES FOR ROLE srvc_owner IN SCHEMA {k} REVOKE SELECT ON TABLES FROM srvc_member"),
    Kind("default_privileges_for_functions", "ALTER DEFAULT PRIVILEGES IN SCHEMA {k} GRANT EXECUTE ON FUNCTIONS TO srvc_member; ALTER DEFAULT PRIVILEGES IN SCHEMA {k} GRANT USAGE ON TYPES TO srvc_member; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "ALTER DEFAULT PRIVILEGES FOR ROLE srvc_owner IN SCHEMA {k} REVOKE EXECUTE ON FUNCTIONS FROM srvc_member"),
    Kind("default_privileges_of_another_role", "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA {k} GRANT SELECT ON TABLES TO srvc_member", "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA {k} REVOKE SELECT ON TABLES FROM srvc_member", refused="default privileges of another role"),
    Kind("owner_of_a_table_is_another", _T + "ALTER TABLE t OWNER TO srvc_admin", "ALTER TABLE t OWNER TO srvc_member", refused="owner"),
    Kind("owner_of_a_schema_is_another", _T + "ALTER SCHEMA {k} OWNER TO srvc_admin", "ALTER SCHEMA {k} OWNER TO srvc_owner", refused="owner", since=16),  # before, a member may give it
    Kind("owner_of_a_function_is_another", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO srvc_admin", "ALTER FUNCTION f() OWNER TO srvc_member", refused="owner"),
    Kind("owner_of_a_type_is_another", "CREATE TYPE e AS ENUM ('x'); ALTER TYPE e OWNER TO srvc_admin", "ALTER TYPE e OWNER TO srvc_member", refused="owner"),
    Kind("policy", _T + "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY y ON t USING (a > 0)", "ALTER POLICY y ON t USING (a > 1)"),
    Kind("policy_for_roles", _T + "CREATE POLICY y ON t FOR SELECT TO srvc_member, srvc_admin USING (true)", "ALTER POLICY y ON t TO srvc_member"),
    Kind("policy_restrictive", _T + "CREATE POLICY y ON t AS RESTRICTIVE FOR UPDATE USING (a = 1) WITH CHECK (b = 2)", "DROP POLICY y ON t; CREATE POLICY y ON t FOR UPDATE USING (a = 1) WITH CHECK (b = 2)"),
    Kind("policy_with_check", _T + "CREATE POLICY y ON t FOR INSERT WITH CHECK (a IN (1, 2) OR (b > 0 OR a IS NULL))", "ALTER POLICY y ON t WITH CHECK (a IN (1, 2))"),
    Kind("policy_of_a_query", _T + "CREATE TABLE u (x int); CREATE POLICY y ON t USING (a IN (SELECT x FROM u) AND a = (SELECT current_setting('app.account_id', true)::int))", "ALTER POLICY y ON t USING (true)"),
    Kind("policy_of_own_function", _T + "CREATE FUNCTION f(int) RETURNS bool LANGUAGE sql AS 'SELECT true'; CREATE POLICY \"odd one\" ON t USING (f(a)); COMMENT ON POLICY \"odd one\" ON t IS 'x'", "COMMENT ON POLICY \"odd one\" ON t IS 'y'"),
    Kind("comment_table", _T + "COMMENT ON TABLE t IS 'it''s'; COMMENT ON COLUMN t.a IS E'two\\nlines'", "COMMENT ON COLUMN t.a IS 'one'"),
    Kind("comment_view", _T + "CREATE VIEW v AS SELECT a FROM t; COMMENT ON VIEW v IS 'x'; COMMENT ON COLUMN v.a IS 'y'", "COMMENT ON COLUMN v.a IS NULL"),
    Kind("comment_sequence", "CREATE SEQUENCE s; COMMENT ON SEQUENCE s IS 'x'", "COMMENT ON SEQUENCE s IS 'y'"),
    Kind("comment_schema", "COMMENT ON SCHEMA {k} IS 'x'", "COMMENT ON SCHEMA {k} IS 'y'"),
    Kind("comment_rule", _T + "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING; COMMENT ON RULE r ON t IS 'x'", "COMMENT ON RULE r ON t IS 'y'"),
    Kind("comment_aggregate", "CREATE AGGREGATE f(int) (SFUNC = int4pl, STYPE = int); COMMENT ON AGGREGATE f(int) IS 'x'", "COMMENT ON AGGREGATE f(int) IS 'y'"),
    Kind("comment_operator", "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq); COMMENT ON OPERATOR === (int, int) IS 'x'", "COMMENT ON OPERATOR === (int, int) IS 'y'"),
    Kind("comment_cast", "CREATE TYPE e AS ENUM ('x'); CREATE CAST (text AS e) WITH INOUT; COMMENT ON CAST (text AS e) IS 'x'", "COMMENT ON CAST (text AS e) IS 'y'"),
    Kind("comment_collation", "CREATE COLLATION c (LOCALE = 'C'); COMMENT ON COLLATION c IS 'x'", "COMMENT ON COLLATION c IS 'y'"),
    Kind("comment_search", "CREATE TEXT SEARCH CONFIGURATION c (COPY = simple); COMMENT ON TEXT SEARCH CONFIGURATION c IS 'x'", "COMMENT ON TEXT SEARCH CONFIGURATION c IS 'y'"),
    Kind("comment_materialized_view", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; COMMENT ON MATERIALIZED VIEW m IS 'x'", "COMMENT ON MATERIALIZED VIEW m IS 'y'"),
    Kind("comment_of_many_letters", _T + "DO $$ BEGIN EXECUTE format('COMMENT ON TABLE t IS %L', repeat('ü''\\ ', 3000)); END $$", "COMMENT ON TABLE t IS 'x'"),
)

ELSEWHERE = (
    Kind("publication", _T + "CREATE PUBLICATION {k} FOR TABLE t WITH (publish = 'insert, update')", "ALTER PUBLICATION {k} SET (publish = 'insert')"),
    Kind("publication_of_columns_and_rows", _T + "CREATE PUBLICATION {k} FOR TABLE t (a) WHERE (a > 1)", "ALTER PUBLICATION {k} SET TABLE t (a) WHERE (a > 2)"),
    Kind("publication_via_the_root", "CREATE TABLE t (a int) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE PUBLICATION {k} FOR TABLE t WITH (publish_via_partition_root)", "ALTER PUBLICATION {k} SET (publish_via_partition_root = false)"),
    Kind("publication_empty", "CREATE PUBLICATION {k}; COMMENT ON PUBLICATION {k} IS 'x'", "COMMENT ON PUBLICATION {k} IS 'y'"),
    Kind("publication_of_generated_columns", "CREATE TABLE t (a int PRIMARY KEY, b int GENERATED ALWAYS AS (a) STORED); CREATE PUBLICATION {k} FOR TABLE t WITH (publish_generated_columns = stored)", "ALTER PUBLICATION {k} SET (publish_generated_columns = none)", since=18),
    Kind("publication_of_all_tables", "CREATE PUBLICATION {k} FOR ALL TABLES WITH (publish = 'truncate')", "ALTER PUBLICATION {k} SET (publish = 'delete')", refused="publication"),
    Kind("publication_of_a_schema", "CREATE PUBLICATION {k} FOR TABLES IN SCHEMA {k}", "ALTER PUBLICATION {k} DROP TABLES IN SCHEMA {k}", refused="publication"),
    Kind("foreign_data_wrapper", "CREATE FOREIGN DATA WRAPPER {k} OPTIONS (debug 'true')", "ALTER FOREIGN DATA WRAPPER {k} OPTIONS (SET debug 'false')", refused="foreign-data wrapper"),
    Kind("foreign_server", "CREATE FOREIGN DATA WRAPPER {k}; CREATE SERVER {k} TYPE 'x' VERSION '2' FOREIGN DATA WRAPPER {k} OPTIONS (host 'h')", "ALTER SERVER {k} OPTIONS (SET host 'i')", refused="foreign server"),
    Kind("foreign_table", "CREATE FOREIGN DATA WRAPPER {k}; CREATE SERVER {k} FOREIGN DATA WRAPPER {k}; CREATE FOREIGN TABLE t (a int OPTIONS (n 'x') NOT NULL, b text DEFAULT 'y' CHECK (b <> '')) SERVER {k} OPTIONS (t 'y')", "ALTER FOREIGN TABLE t OPTIONS (SET t 'z')", refused="foreign table"),
    Kind("foreign_table_as_a_partition", "CREATE FOREIGN DATA WRAPPER {k}; CREATE SERVER {k} FOREIGN DATA WRAPPER {k}; CREATE TABLE t (a int) PARTITION BY LIST (a); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE FOREIGN TABLE t2 PARTITION OF t FOR VALUES IN (2) SERVER {k}; INSERT INTO t VALUES (1)", "ALTER TABLE t DETACH PARTITION t2", refused="foreign table"),
    Kind("user_mapping", "CREATE FOREIGN DATA WRAPPER {k}; CREATE SERVER {k} FOREIGN DATA WRAPPER {k}; CREATE USER MAPPING FOR srvc_member SERVER {k} OPTIONS (user 'u', password 'p'); CREATE USER MAPPING FOR PUBLIC SERVER {k}", "DROP USER MAPPING FOR PUBLIC SERVER {k}", refused="user mapping"),
    Kind("grant_foreign_server", "CREATE FOREIGN DATA WRAPPER {k}; CREATE SERVER {k} FOREIGN DATA WRAPPER {k}; GRANT USAGE ON FOREIGN SERVER {k} TO srvc_member; GRANT USAGE ON FOREIGN DATA WRAPPER {k} TO srvc_owner", "REVOKE USAGE ON FOREIGN SERVER {k} FROM srvc_member", refused="foreign server"),
    Kind("extension", "CREATE EXTENSION hstore SCHEMA public; CREATE TABLE t (a public.hstore); INSERT INTO t VALUES ('x=>1')", "ALTER TABLE t ALTER a TYPE text"),
    Kind("extension_in_a_schema_of_its_own", "CREATE EXTENSION citext SCHEMA {k}; CREATE TABLE t (a {k}.citext UNIQUE); INSERT INTO t VALUES ('X')", "ALTER EXTENSION citext SET SCHEMA public"),
    Kind("extension_index", "CREATE TABLE t (a text); CREATE INDEX g ON t USING gin (a public.gin_trgm_ops)", "DROP INDEX g"),
    Kind("extension_rights_on_a_member", "CREATE EXTENSION fuzzystrmatch SCHEMA {k}; REVOKE EXECUTE ON FUNCTION {k}.soundex(text) FROM PUBLIC", "GRANT EXECUTE ON FUNCTION {k}.soundex(text) TO srvc_member", refused="extension"),
    Kind("large_object", "SELECT lo_from_bytea(770001, '\\x00ff'), lo_put(770001, 30000, '\\xdead')"),
    Kind("large_object_of_nothing", "SELECT lo_create(770002)"),
    Kind("large_object_of_several_pieces", "SELECT lo_from_bytea(770003, convert_to(repeat('piece', 500000), 'UTF8')); GRANT SELECT ON LARGE OBJECT 770003 TO srvc_member; COMMENT ON LARGE OBJECT 770003 IS 'x'"),
)

NAMES = (
    Kind("name_of_63_bytes", f"CREATE TABLE {_63} ({_63} int CONSTRAINT {_63} CHECK ({_63} > 0)); CREATE INDEX {'i' * 63} ON {_63} ({_63}); INSERT INTO {_63} VALUES (1)", f"DROP INDEX {'i' * 63}"),
    Kind("name_of_63_bytes_of_two_each", f'CREATE TABLE "{'ü' * 31}" (a int); INSERT INTO "{'ü' * 31}" VALUES (1)', f'ALTER TABLE "{'ü' * 31}" ADD b int'),
    Kind("name_with_quotes", "CREATE TABLE \"a\"\"b'c`d\" (a int); INSERT INTO \"a\"\"b'c`d\" VALUES (1)", "ALTER TABLE \"a\"\"b'c`d\" ADD b int"),
    Kind("name_with_dots", 'CREATE TABLE "a.b.c" (a int); INSERT INTO "a.b.c" VALUES (1); CREATE VIEW "v.w" AS SELECT "a.b.c".a FROM "a.b.c"', 'ALTER TABLE "a.b.c" ADD b int'),
    Kind("name_with_blanks", 'CREATE TABLE " a  b " (" c " int); INSERT INTO " a  b " VALUES (1)', 'ALTER TABLE " a  b " ADD b int'),
    Kind("name_with_line_breaks", 'CREATE TABLE "a\nb\rc" ("d\ne" int); INSERT INTO "a\nb\rc" VALUES (1); CREATE INDEX "i\nj" ON "a\nb\rc" ("d\ne")', 'DROP INDEX "i\nj"'),
    Kind("name_with_semicolons", 'CREATE TABLE "a; DROP TABLE b; --" (a int); INSERT INTO "a; DROP TABLE b; --" VALUES (1)', 'ALTER TABLE "a; DROP TABLE b; --" ADD b int'),
    Kind("name_like_a_header", 'CREATE TABLE "x; Type: TABLE DATA; Schema: y; Owner: z" (a int); INSERT INTO "x; Type: TABLE DATA; Schema: y; Owner: z" VALUES (1)', 'ALTER TABLE "x; Type: TABLE DATA; Schema: y; Owner: z" ADD b int'),
    Kind("name_with_wildcards", 'CREATE TABLE "*" (a int); CREATE TABLE "a?" (a int); CREATE TABLE "[]" (a int); CREATE TABLE "$1|(x)" (a int); INSERT INTO "*" VALUES (1)', 'DROP TABLE "a?"'),
    Kind("name_with_percents", 'CREATE TABLE "%s%%(x)s{0}" ("%I" int); INSERT INTO "%s%%(x)s{0}" VALUES (1)', 'ALTER TABLE "%s%%(x)s{0}" ADD b int'),
    Kind("name_with_backslashes", 'CREATE TABLE "a\\b\\n" (a int); INSERT INTO "a\\b\\n" VALUES (1); CREATE SEQUENCE "s\\t"', 'DROP SEQUENCE "s\\t"'),
    Kind("name_keyword", "CREATE TABLE \"select\" (\"from\" int, \"table\" int); CREATE TABLE \"user\" (\"order\" int); CREATE FUNCTION \"values\"() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO \"select\" VALUES (1)", 'DROP TABLE "user"'),
    Kind("name_upper_case", 'CREATE TABLE "Upper" ("Id" int); CREATE TABLE "upper" (id int); INSERT INTO "Upper" VALUES (1)', 'DROP TABLE "upper"'),
    Kind("name_unicode", 'CREATE TABLE "таблица 表 🐘" ("\u00e9" int, "e\u0301" int); INSERT INTO "таблица 表 🐘" VALUES (1, 2)', 'ALTER TABLE "таблица 表 🐘" ADD b int'),
    Kind("name_of_a_catalogue", "CREATE TABLE \"pg_class \" (a int); CREATE TABLE class (a int); CREATE TYPE int4 AS ENUM ('x'); CREATE FUNCTION now() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE t (a {k}.int4); INSERT INTO t VALUES ('x')", "DROP TABLE class"),
    Kind("name_of_a_built_in_operator", "CREATE OPERATOR + (LEFTARG = bool, RIGHTARG = bool, FUNCTION = boolne); CREATE VIEW v AS SELECT true OPERATOR({k}.+) false AS x", "DROP VIEW v"),
    Kind("schema_with_an_odd_name", "CREATE SCHEMA \"{k}$ \"\"odd; 'ü.*\"; CREATE TABLE \"{k}$ \"\"odd; 'ü.*\".t (a serial); INSERT INTO \"{k}$ \"\"odd; 'ü.*\".t DEFAULT VALUES", "DROP TABLE \"{k}$ \"\"odd; 'ü.*\".t"),
    Kind("schema_with_line_break", 'CREATE SCHEMA "{k}$\nx"; CREATE TABLE "{k}$\nx".t (a int); INSERT INTO "{k}$\nx".t VALUES (1)', 'DROP TABLE "{k}$\nx".t'),
    Kind("schema_empty", 'CREATE SCHEMA "{k}$empty"', 'DROP SCHEMA "{k}$empty"'),
    Kind("schema_in_upper_case", 'CREATE SCHEMA "{k}$UPPER"; CREATE TABLE "{k}$UPPER"."T" ("A" int PRIMARY KEY); CREATE TABLE t (a int REFERENCES "{k}$UPPER"."T")', "DROP TABLE t"),
)
