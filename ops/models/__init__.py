"""The tables of ops: one file each."""

from ops.models.backups import Backup, BackupCopy, BackupKind, BackupState, Checked
from ops.models.drills import Drill, DrillVerdict
from ops.models.findings import (
    Area,
    CheckResult,
    CheckState,
    EventKind,
    Finding,
    FindingEvent,
    Severity,
)
from ops.models.notices import Notice, NoticeState
from ops.models.recoveries import Recovery, RecoveryRow, RecoveryState, RowAct
from ops.models.restores import Restore, RestorePoint, RestoreState
from ops.models.runs import Run, RunKind, RunStatus
from ops.models.samples import Sample, Statement, StatementSample
from ops.models.wal import WalSegment

__all__ = [
    "Area",
    "Backup",
    "BackupCopy",
    "BackupKind",
    "BackupState",
    "CheckResult",
    "CheckState",
    "Checked",
    "Drill",
    "DrillVerdict",
    "EventKind",
    "Finding",
    "FindingEvent",
    "Notice",
    "NoticeState",
    "Recovery",
    "RecoveryRow",
    "RecoveryState",
    "Restore",
    "RestorePoint",
    "RestoreState",
    "RowAct",
    "Run",
    "RunKind",
    "RunStatus",
    "Sample",
    "Severity",
    "Statement",
    "StatementSample",
    "WalSegment",
]
