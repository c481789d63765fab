"""The tables. Times are milliseconds (BIGINT), states are text under a CHECK, ids are never reused.

A change here needs a migration: a test compares the two.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    literal_column,
)

from core.states import ErrorKind, State, Wish, WorkerState
from core.tokens import Scope

AnyRow = Row[*tuple[Any, ...]]

LARGEST = 2**63 - 1  # a BIGINT

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only an INTEGER


def literally(state: StrEnum) -> ColumnElement[str]:
    """The state as a literal: a bound one would keep PostgreSQL from a partial index (core/store/README.md,
    "Indexes")."""
    return literal_column(f"'{state}'")


def is_id(number: int) -> bool:
    """Whether a row could have this id; a database refuses to compare an id with a number beyond its own."""
    return 0 < number <= LARGEST


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", name=column)


workers = Table(
    "workers",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("kind", Text, key="device_kind", server_default="cpu", nullable=False),  # a GPU's model, or "cpu"
    Column("state", Text, nullable=False),
    Column("experiment_id", BigInteger),
    Column("started_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    # Of its GPU as a whole, at the last heartbeat; null on a CPU, or where the driver does not say.
    Column("memory_used_mib", Integer),
    Column("memory_total_mib", Integer),
    Column("utilisation", Integer),  # percent
    _one_of("state", WorkerState),
    sqlite_autoincrement=True,
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # grows with every visible change
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("spec", Text, nullable=False),  # JSON, every field filled
    Column("digest", Text, nullable=False),
    Column("pack_key", Text, nullable=False),
    Column("dataset", Text, nullable=False),  # three fields of the spec, for lists
    Column("model", Text, nullable=False),
    Column("importance_weight", Text, nullable=False),
    Column("sweep_id", BigInteger),
    Column("position", Integer),
    Column("owner", Text, server_default="local", nullable=False),  # the name of the token that made it
    Column("device", Text, server_default="any", nullable=False),  # on what it may train: any, cpu or gpu
    Column("priority", Integer, nullable=False),
    Column("queued_ms", BigInteger, nullable=False),
    Column("requeued_ms", BigInteger),  # when it came back into the queue, wherever it stands there
    Column("rank", BigInteger, nullable=False),  # the lowest is claimed first
    Column("attempt", BigInteger, nullable=False),  # the fencing token: grows with every claim
    Column("failures", Integer, nullable=False),
    Column("epochs_done", Integer, nullable=False),  # rows stand up to here; it never falls
    Column("attempt_epoch", Integer, server_default="0", nullable=False),  # of this attempt; 0 between two
    Column("epochs_total", Integer, nullable=False),
    Column("checkpoint_row", Integer, server_default="0", nullable=False),  # the last row before the farthest,
    Column("checkpoint_step", BigInteger, server_default="0", nullable=False),  # and its steps, through epochs
    Column("checkpoint_kind", Text, key="checkpoint_device_kind"),  # the kind of device that wrote the newest
    Column("requested", Text),  # a wish that its worker has not obeyed yet
    Column("worker_id", BigInteger, ForeignKey("workers.id")),  # who holds it
    # Never indexed: a heartbeat would rewrite the index (core/store/README.md, "Indexes").
    Column("lease_until_ms", BigInteger),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("error_traceback", Text),
    Column("extends", BigInteger),
    Column("diverged_at", Integer),
    Column("replay_mismatch_from", Integer),
    Column("provenance", Text),  # JSON
    Column("epoch_seconds", Double),  # the median epoch of the last attempt
    Column("progress_ms", BigInteger),  # the last row, or the claim
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    _one_of("state", State),
    _one_of("requested", Wish),
    _one_of("error_kind", ErrorKind),
    CheckConstraint("checkpoint_row <= epochs_done", name="checkpoint_row"),  # it never overtakes the rows
    sqlite_autoincrement=True,
)

# Lists are newest first, whatever they are filtered by.
for _filter in ("sweep_id", "state", "dataset", "model", "importance_weight"):
    Index(f"ix_experiments_{_filter}_id", experiments.c[_filter], experiments.c.id)
Index("ix_experiments_sweep_id_position", experiments.c.sweep_id, experiments.c.position)  # the members of one
Index("ix_experiments_digest_id", experiments.c.digest, experiments.c.id)  # the newest of the same spec

_queued = experiments.c.state == literally(State.QUEUED)
_running = experiments.c.state == literally(State.RUNNING)
# The state is in it for SQLite, which without statistics would take the index above, and sort.
Index(
    "ix_experiments_queued_by_device",
    experiments.c.state,
    experiments.c.owner,
    experiments.c.device,
    experiments.c.rank,
    experiments.c.id,
    experiments.c.requeued_ms,  # so that who counts reads nothing else
    sqlite_where=_queued,
    postgresql_where=_queued,
)
# By which workers of before revision 0010 claim.
Index(
    "ix_experiments_queued",
    experiments.c.state,
    experiments.c.owner,
    experiments.c.rank,
    experiments.c.id,
    sqlite_where=_queued,
    postgresql_where=_queued,
)
Index("ix_experiments_running", experiments.c.id, sqlite_where=_running, postgresql_where=_running)

curve_rows = Table(
    "curve_rows",
    metadata,
    Column("experiment_id", BigInteger, ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("attempt", BigInteger, nullable=False),  # who wrote it
    Column("n_in_domain", Integer, nullable=False),
    Column("n_out_of_domain", Integer, nullable=False),
    Column("base_in_domain", Integer, nullable=False),
    Column("base_out_of_domain", Integer, nullable=False),
    Column("correct_in_domain", Integer, nullable=False),
    Column("finite_in_domain", Integer, nullable=False),
    Column("finite_out_of_domain", Integer, nullable=False),
    # float32, little-endian. As a number, SQLite would take NaN for NULL and -0.0 for 0, and a replay would differ.
    Column("train_loss", LargeBinary, nullable=False),
    Column("train_n_base", Integer, nullable=False),
    Column("train_n_other", Integer, nullable=False),
    Column("train_correct_base", Integer, nullable=False),
    Column("train_correct_other", Integer, nullable=False),
    Column("loss_from", BigInteger),  # iteration of the first loss point; the others follow at every 100th
    Column("loss_values", LargeBinary, nullable=False),  # as train_loss
    Column("seconds", Double, nullable=False),
    Column("diagnostics", LargeBinary),  # as `core.results.Diagnostics.packed` makes them, for the same reason
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("preset", Text),
    Column("grids", Text, nullable=False),  # JSON, [{base, axes, name}]
    Column("next_position", Integer, nullable=False),  # of a member that is added
    Column("created_ms", BigInteger, nullable=False),
    Column("extends", BigInteger),
    Column("owner", Text, server_default="local", nullable=False),  # of all its members too
    Column("device", Text, server_default="any", nullable=False),  # for which it was submitted
    sqlite_autoincrement=True,
)

# Who makes experiments, and the number of the last claim of one of theirs: whose turn it is.
owners = Table(
    "owners",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_turn", BigInteger, server_default="0", nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", Text, unique=True, nullable=False),  # never given again: it is an owner's
    Column("sha256", Text, unique=True, nullable=False),  # of the secret, which is kept nowhere
    Column("scope", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("used_ms", BigInteger),  # to the minute
    Column("revoked_ms", BigInteger),
    # Quotas; null: as many as they like.
    Column("max_queued", Integer),
    Column("max_running", Integer),
    Column("per_minute", Integer),  # requests
    _one_of("scope", Scope),
    sqlite_autoincrement=True,
)

# Of the sign-in page: what a cookie holds stands for a token, and ends with its secret.
sessions = Table(
    "sessions",
    metadata,
    Column("sha256", Text, primary_key=True),  # of the cookie's 256 random bits, which are kept nowhere
    Column("token_id", BigInteger, ForeignKey("tokens.id", ondelete="CASCADE"), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("ix_sessions_token_id", "token_id"),
)

# What has happened in all: of each worker its own rows, which outlive what was deleted, and the worker's.
tallies = Table(
    "tallies",
    metadata,
    Column("worker_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("kind", Text, primary_key=True),  # of error, of what failed; else empty
    Column("n", BigInteger, nullable=False),
)

predictions = Table(
    "predictions",
    metadata,
    Column("experiment_id", BigInteger, ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("in_domain", LargeBinary, nullable=False),  # a bit an image
    Column("out_of_domain", LargeBinary, nullable=False),
)

weights = Table(
    "weights",
    metadata,
    Column(
        "experiment_id",
        BigInteger,
        ForeignKey("experiments.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("safetensors", LargeBinary, nullable=False),
)

# Pointers: the bytes lie behind BALLAST_CHECKPOINT_URL. Two experiments may point to one file, a child to its parent's.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("experiment_id", BigInteger, ForeignKey("experiments.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", BigInteger, nullable=False),  # who wrote it
    Column("epoch", Integer, nullable=False),  # after so many whole epochs
    Column("step", Integer, nullable=False),  # and so many steps of the next
    Column("iteration", BigInteger, nullable=False),  # steps, through epochs
    Column("path", Text, nullable=False),  # under the URL
    Column("sha256", Text, nullable=False),
    Column("numerics", Text, nullable=False),  # JSON: the numerics key that it was trained under
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_checkpoints_experiment_id_id", "experiment_id", "id"),
    Index("ix_checkpoints_path", "path"),
    sqlite_autoincrement=True,
)

# What was answered to a request that made something, so that the same request again makes nothing.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),  # SHA-256 of the request
    Column("answer", Text),  # JSON; not yet there while its first request is in flight
    Column("created_ms", BigInteger, nullable=False),
    Index("ix_idempotency_keys_created_ms", "created_ms"),
)

# What `ballast bench` measured last, of each kind of device of a host.
benchmarks = Table(
    "benchmarks",
    metadata,
    Column("host", Text, primary_key=True),
    Column("device_kind", Text, primary_key=True),
    Column("network", Text, primary_key=True),  # as core.cost.network_of says it
    Column("precision", Text, primary_key=True),
    # Images a second of one process, while all that would train there are at work.
    Column("train_rate", Double, nullable=False),
    Column("evaluate_rate", Double, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("experiment_id", BigInteger, ForeignKey("experiments.id", ondelete="CASCADE"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("attempt", BigInteger, nullable=False),
    Column("worker_id", BigInteger, ForeignKey("workers.id")),
    Column("detail", Text),
    Column("actor", Text),  # the name of a token, local or worker; null where nobody has kept it
    Index("ix_events_experiment_id_id", "experiment_id", "id"),
    sqlite_autoincrement=True,
)

service = Table(
    "service",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("machine", Text, nullable=False),
    Column("host", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
