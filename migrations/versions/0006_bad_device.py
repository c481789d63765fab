"""a kind of error: bad_device, where a worker's device cannot compute as the spec says"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BEFORE = "error_kind IN ('diverged', 'bad_data', 'out_of_memory', 'lost', 'internal')"
_AFTER = "error_kind IN ('diverged', 'bad_data', 'bad_device', 'out_of_memory', 'lost', 'internal')"


def upgrade() -> None:
    _replace(_BEFORE, _AFTER)


def downgrade() -> None:
    op.execute("UPDATE experiments SET error_kind = 'internal' WHERE error_kind = 'bad_device'")
    _replace(_AFTER, _BEFORE)


def _replace(before: str, after: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE experiments DROP CONSTRAINT ck_experiments_error_kind, "
            f"ADD CONSTRAINT ck_experiments_error_kind CHECK ({after})"
        )
        return
    # In place (https://sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes"): the table is not
    # made anew, which would take as long as it is large. Others see the new version, and read it again.
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    changed = connection.exec_driver_sql(
        "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'experiments'"
        " AND instr(sql, ?) > 0",
        (before, after, before),
    )
    if changed.rowcount != 1:
        raise RuntimeError("the CHECK of error_kind is not what the migrations before have made")
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")
