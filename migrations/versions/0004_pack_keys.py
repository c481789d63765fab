"""pack keys by the rule of digests: without values equal to their default, so that a field added later parts no rows"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from alembic import op

from core.spec import Spec

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_AT_A_TIME = 1000

# As far as this migration knows them.
_experiments = sa.table(
    "experiments", sa.column("id", sa.BigInteger), sa.column("spec", sa.Text), sa.column("pack_key", sa.Text)
)


def upgrade() -> None:
    _renew(lambda spec: Spec.model_validate_json(spec).pack_key)


def downgrade() -> None:
    _renew(_with_defaults)


def _with_defaults(spec: str) -> str:
    """The rule until now, which hashed defaults too: those that the spec was stored with."""
    fields = json.loads(spec, parse_float=_number)
    fields["dataset"].pop("label_noise", None)  # which came later
    shared = {name: fields[name] for name in ("dataset", "model", "loss", "batch_size", "precision")}
    return hashlib.sha256(json.dumps(shared, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _number(text: str) -> float | int:
    """As JSON's one kind of number: 1.0 is written 1."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _renew(key_of: Callable[[str], str]) -> None:
    """Equal keys become equal keys. Those stay of whose specs this Ballast can read none: a newer one wrote them."""
    tx = op.get_bind()
    renewed: dict[str, str] = {}
    last = 0
    while rows := _rows_after(tx, last):
        last = rows[-1].id
        for row in rows:
            if row.pack_key not in renewed:
                with suppress(ValueError, TypeError, KeyError):
                    renewed[row.pack_key] = key_of(row.spec)
        changes = sorted((renewed[row.pack_key], row.id) for row in rows if row.pack_key in renewed)
        for pack_key, group in groupby(changes, key=itemgetter(0)):
            ids = [row_id for _, row_id in group]
            tx.execute(sa.update(_experiments).where(_experiments.c.id.in_(ids)).values(pack_key=pack_key))


def _rows_after(tx: sa.Connection, last: int) -> Sequence[Any]:
    """Locked in the order of their ids, as everybody locks them: a service may be at work meanwhile."""
    rows = sa.select(_experiments).where(_experiments.c.id > last).order_by(_experiments.c.id)
    return tx.execute(rows.limit(_AT_A_TIME).with_for_update(key_share=True)).all()
