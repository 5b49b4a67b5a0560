"""The corpus: one small object of each kind that PostgreSQL knows, each in a schema of its own."""

from tests.ops.backups.kinds.constraints import CONSTRAINTS, INDEXES
from tests.ops.backups.kinds.kind import Kind
from tests.ops.backups.kinds.partitions import PARTITIONS
from tests.ops.backups.kinds.programs import FUNCTIONS, TRIGGERS, VIEWS
from tests.ops.backups.kinds.rights import ELSEWHERE, NAMES, RIGHTS
from tests.ops.backups.kinds.tables import COLUMNS, TABLES
from tests.ops.backups.kinds.types import OPERATORS, SEQUENCES, TYPES

KINDS: tuple[Kind, ...] = (
    *TABLES,
    *COLUMNS,
    *CONSTRAINTS,
    *INDEXES,
    *PARTITIONS,
    *FUNCTIONS,
    *TRIGGERS,
    *VIEWS,
    *TYPES,
    *SEQUENCES,
    *OPERATORS,
    *RIGHTS,
    *ELSEWHERE,
    *NAMES,
)

__all__ = ["KINDS", "Kind"]
