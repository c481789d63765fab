"""Migrations: up, down and up again with rows in every table; two at once; no drift between tables and migrations."""

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

import migrations
from core.results import EpochResult, Predictions
from core.states import ErrorKind, State, Wish, WorkerState
from core.store import attempts, curves, experiments, schema, sweeps, tokens, workers
from core.store.errors import SchemaBehind, SchemaMissing
from core.store.schema import SchemaState
from core.store.session import Store
from core.store.tables import metadata
from core.sweeps import SweepRequest, grids_and_specs
from core.tokens import Scope
from tests.servers import wait_until
from tests.unit.store.builders import DIAGNOSTICS, a_worker, claimed, result, spec, submitted


@pytest.fixture
def empty(empty_url: str) -> Iterator[Store]:
    store = Store(empty_url)
    yield store
    store.close()


def fill(store: Store) -> None:
    """Rows in every table."""
    with store.writing() as tx:
        sweeps.submit(tx, *grids_and_specs(SweepRequest(base=spec().model_dump())))
    claim = claimed(store)
    with store.writing() as tx:
        seen = DIAGNOSTICS._replace(margin_low_other=0.0)  # a number equals itself
        kept = Predictions(b"1", b"0")
        attempts.record(tx, claim, result(1, predictions=kept, weights=b"safetensors", diagnostics=seen))
        tx.execute(text("INSERT INTO service (id, machine, host) VALUES (1, 'a', 'b')"))
        tx.execute(text("INSERT INTO idempotency_keys VALUES ('/experiments', 'k', 'f', '{}', 1)"))
        tx.execute(text("INSERT INTO benchmarks VALUES ('host', 'cpu', 'cnn 64', 'fp32', 1.5, 2.5)"))
        tokens.create(tx, "alice", Scope.SUBMIT)
        tx.execute(text("INSERT INTO sessions VALUES ('sha256', 1, 1)"))
        pointer = f"1, {claim.experiment_id}, 1, 1, 0, 10, 'path', 'sha256', 'numerics', 1"
        tx.execute(text(f"INSERT INTO checkpoints VALUES ({pointer})"))


def counts(tx: Connection) -> dict[str, int]:
    return {name: tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in metadata.tables}


def test_up_down_and_up_again_with_rows_in_every_table(empty: Store, empty_url: str) -> None:
    schema.upgrade(empty_url)
    fill(empty)
    with empty.reading() as tx:
        assert all(counts(tx).values())
    schema.downgrade(empty_url, "base")
    with empty.reading() as tx:
        assert set(inspect(tx).get_table_names()) <= {"alembic_version"}
    schema.upgrade(empty_url)
    fill(empty)


def test_a_sweep_is_no_strangers_after_down_and_up(empty: Store, empty_url: str) -> None:
    """The numbers of sweeps begin anew, and those of experiments do not."""
    schema.upgrade(empty_url)
    fill(empty)
    schema.downgrade(empty_url, "0001")
    schema.upgrade(empty_url)
    with empty.writing() as tx:
        sweep_id = sweeps.submit(tx, *grids_and_specs(SweepRequest(base=spec().model_dump(), axes={"seed": [1, 2, 3]})))
        assert [each.spec["seed"] for each in experiments.members(tx, sweep_id, 9)] == [1, 2, 3]
        assert counts(tx)["experiments"] == 4


# By the rule that hashed defaults too: of the shortest spec, as it was stored before revision 0004.
MNIST_BEFORE = "a23e355a4f351250635050ca10c4dfd82c25e6de9f42541884d797f7e3f7c16e"


def test_pack_keys_are_renewed_and_brought_back_with_nothing_else_changed(empty: Store, empty_url: str) -> None:
    def rows() -> list[dict[str, Any]]:
        with empty.reading() as tx:
            return [dict(row._mapping) for row in tx.execute(text("SELECT * FROM experiments ORDER BY id"))]

    schema.upgrade(empty_url)
    fill(empty)  # with what refers to experiments: nothing of it may go
    others = [{"seed": 1}, {"model": {"name": "cnn", "width": 16, "dropout": 0.5}}, {"batch_size": None}]
    for fields in others:
        submitted(empty, **fields)
    of_tomorrow = submitted(empty)
    with empty.writing() as tx:
        tx.execute(text("UPDATE experiments SET revision = 7, priority = 3 WHERE id = 2"))
        odd = {"spec": '{"of": "tomorrow"}', "id": of_tomorrow}
        tx.execute(text("UPDATE experiments SET pack_key = 'odd', spec = :spec WHERE id = :id"), odd)
        of_later = {
            "benchmarks": 0,
            "tokens": 0,
            "sessions": 0,
            "tallies": 0,
            "owners": 1,
        }  # since 0003
        before = counts(tx) | of_later
    renewed = rows()
    assert [row["pack_key"] for row in renewed[:-1]] == [spec(**fields).pack_key for fields in ({}, *others)]

    schema.downgrade(empty_url, "0003")
    old = rows()
    keys = [row["pack_key"] for row in old]
    assert keys[:2] == [MNIST_BEFORE] * 2
    assert len(set(keys)) == 4
    assert keys[-1] == "odd"
    schema.upgrade(empty_url)
    assert rows() == renewed
    alike = {"pack_key": "", "owner": "local", "device": "any"}  # of the others 0003 knows nothing
    assert [row | alike for row in old] == [row | alike for row in renewed]
    with empty.reading() as tx:
        assert counts(tx) == before


def test_pack_keys_are_renewed_in_the_order_in_which_everybody_locks(empty: Store, empty_url: str) -> None:
    """By ids, beside a service at work: two that lock in other orders may wait for each other."""
    if empty.dialect == "sqlite":
        pytest.skip("one writer at a time: no rows are locked")
    schema.upgrade(empty_url)
    # By their keys, the second would come first.
    first, second = sorted((spec(), spec(batch_size=8)), key=lambda each: each.pack_key, reverse=True)
    numbers = [submitted(empty, batch_size=each.batch_size) for each in (first, second)]
    schema.downgrade(empty_url, "0003")
    lock = text("SELECT id FROM experiments WHERE id = :id FOR NO KEY UPDATE")  # as `moves` does, of any revision
    upgrade = threading.Thread(target=schema.upgrade, args=[empty_url])
    with empty.writing() as tx:
        tx.execute(lock, {"id": numbers[0]})
        upgrade.start()
        wait_until(lambda: tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one() > 0)
        tx.execute(lock, {"id": numbers[1]})
    upgrade.join()
    with empty.reading() as tx:
        keys = tx.execute(text("SELECT pack_key FROM experiments ORDER BY id")).scalars().all()
    assert keys == [first.pack_key, second.pack_key]


def test_columns_come_to_tables_in_the_order_in_which_everybody_reads_them(empty: Store, empty_url: str) -> None:
    """A sweep is read before its members: an upgrade that holds the members and waits for the sweeps ends neither."""
    if empty.dialect == "sqlite":
        pytest.skip("one writer at a time: no tables are locked")
    schema.upgrade(empty_url)
    schema.downgrade(empty_url, "0009")
    upgrade = threading.Thread(target=schema.upgrade, args=[empty_url])
    with empty.writing() as tx:
        tx.execute(text("SELECT count(*) FROM sweeps"))
        upgrade.start()
        wait_until(lambda: tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one() > 0)
        tx.execute(text("SELECT count(*) FROM experiments"))
    upgrade.join()
    assert schema.state_of(empty) is SchemaState.CURRENT


def test_more_pack_keys_than_a_batch_are_renewed(empty: Store, empty_url: str) -> None:
    schema.upgrade(empty_url)
    specs = [spec(seed=seed, batch_size=1 + seed % 3) for seed in range(2100)]
    with empty.writing() as tx:
        sweeps.submit(tx, [], specs)
    schema.downgrade(empty_url, "0003")
    with empty.reading() as tx:
        keys = tx.execute(text("SELECT pack_key FROM experiments")).scalars().all()
    assert len(set(keys)) == 3
    assert not set(keys) & {each.pack_key for each in specs}
    schema.upgrade(empty_url)
    with empty.reading() as tx:
        keys = tx.execute(text("SELECT pack_key FROM experiments ORDER BY id")).scalars().all()
    assert keys == [each.pack_key for each in specs]


def test_a_new_kind_of_error_comes_and_goes_beside_a_connection_that_is_open(empty: Store, empty_url: str) -> None:
    schema.upgrade(empty_url)
    fill(empty)
    failed = "UPDATE experiments SET error_kind = 'bad_device' WHERE id = 1"
    with empty.writing() as tx:
        tx.execute(text(failed))
        before = counts(tx) | {"tokens": 0, "sessions": 0, "tallies": 0, "owners": 1}  # of which 0005 knows nothing
    schema.downgrade(empty_url, "0005")
    with empty.reading() as tx:
        assert tx.execute(text("SELECT error_kind FROM experiments WHERE id = 1")).scalar_one() == "internal"
    with pytest.raises(Exception, match="ck_experiments_error_kind"), empty.writing() as tx:
        tx.execute(text(failed))
    schema.upgrade(empty_url)
    with empty.writing() as tx:
        tx.execute(text(failed))
        assert counts(tx) == before
        if empty.dialect == "sqlite":
            assert tx.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"


def test_a_row_from_before_diagnostics_has_none_and_goes_down_and_up_unchanged(empty: Store, empty_url: str) -> None:
    schema.upgrade(empty_url)
    fill(empty)

    def rows() -> list[EpochResult]:
        with empty.reading() as tx:
            return curves.read(tx, 1)[1]

    before = rows()
    assert [row.diagnostics for row in before] == [DIAGNOSTICS._replace(margin_low_other=0.0)]
    schema.downgrade(empty_url, "0006")
    schema.upgrade(empty_url)
    assert rows() == [row._replace(diagnostics=None) for row in before]


def test_what_only_a_gpu_computes_is_for_one_since_0010(empty: Store, empty_url: str) -> None:
    schema.upgrade(empty_url)
    with empty.writing() as tx:
        sweeps.submit(tx, [], [spec(precision="tf32", seed=seed) for seed in range(1100)])  # more than a batch
        of_gpus = set(tx.execute(text("SELECT id FROM experiments")).scalars())
    named = submitted(empty, name='"precision":"tf32"')
    schema.downgrade(empty_url, "0009")
    schema.upgrade(empty_url)
    with empty.reading() as tx:
        devices = dict(tuple(row) for row in tx.execute(text("SELECT id, device FROM experiments")))
    assert {each for each, device in devices.items() if device == "gpu"} == of_gpus
    assert devices[named] == "any"


def test_an_upgrade_of_what_is_current_keeps_every_row(store: Store, database_url: str) -> None:
    fill(store)
    with store.reading() as tx:
        before = counts(tx)
    schema.upgrade(database_url)
    with store.reading() as tx:
        assert counts(tx) == before


def test_two_upgrades_at_once_both_succeed(empty: Store, empty_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    upgrades = [spawn.Process(target=schema.upgrade, args=(empty_url,)) for _ in range(3)]
    for upgrade in upgrades:
        upgrade.start()
    for upgrade in upgrades:
        upgrade.join()
    assert [upgrade.exitcode for upgrade in upgrades] == [0, 0, 0]
    assert schema.state_of(empty) is SchemaState.CURRENT


def test_the_migrations_make_the_tables_that_the_code_describes(store: Store) -> None:
    with store.reading() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_every_index_serves_the_rows_that_the_code_says(store: Store) -> None:
    with store.reading() as tx:
        indexes = {index["name"]: index for index in inspect(tx).get_indexes("experiments")}
    partial = {"ix_experiments_queued", "ix_experiments_queued_by_device", "ix_experiments_running"}
    filters = {"sweep_id", "state", "dataset", "model", "importance_weight"}
    lists = {f"ix_experiments_{column}_id" for column in (*filters, "digest")}
    assert set(indexes) == partial | lists | {"ix_experiments_sweep_id_position"}
    for name, index in ((name, indexes[name]) for name in partial):
        condition = str(index["dialect_options"][f"{store.dialect}_where"])
        assert "state" in condition
        assert f"'{name.removeprefix('ix_experiments_').removesuffix('_by_device')}'" in condition


def test_the_revision_of_the_code_is_the_last_of_the_migrations() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [schema.REVISION]


def test_every_state_wish_and_kind_of_error_can_be_stored_and_no_other(store: Store) -> None:
    experiment_id, worker_id = submitted(store), a_worker(store)
    columns = {"state": State, "requested": Wish, "error_kind": ErrorKind}
    with store.writing() as tx:
        for column, values in columns.items():
            for value in values:
                tx.execute(text(f"UPDATE experiments SET {column} = '{value}' WHERE id = {experiment_id}"))
        for state in WorkerState:
            workers.report(tx, worker_id, state, None)
    for column in columns:
        with pytest.raises(Exception, match=f"ck_experiments_{column}"), store.writing() as tx:
            tx.execute(text(f"UPDATE experiments SET {column} = 'odd' WHERE id = {experiment_id}"))


def test_a_pointer_that_would_overtake_the_rows_is_refused_by_the_database(store: Store) -> None:
    experiment_id = submitted(store)
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET epochs_done = 2, checkpoint_row = 2"))
    with pytest.raises(Exception, match="ck_experiments_checkpoint_row"), store.writing() as tx:
        tx.execute(text(f"UPDATE experiments SET checkpoint_row = 3 WHERE id = {experiment_id}"))


def test_a_database_stands_empty_behind_current_or_ahead(
    empty: Store, empty_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def stands_at(revision: str) -> SchemaState:
        with empty.writing() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        return schema.state_of(empty)

    assert schema.state_of(empty) is SchemaState.EMPTY
    with pytest.raises(SchemaMissing, match="ballast db upgrade"):
        schema.require(empty)
    schema.upgrade(empty_url)
    assert schema.state_of(empty) is SchemaState.CURRENT
    schema.require(empty)
    assert stands_at("0000") is SchemaState.BEHIND
    with pytest.raises(SchemaBehind, match="ballast db upgrade"):
        schema.require(empty)
    assert stands_at("9999") is SchemaState.AHEAD
    capsys.readouterr()
    schema.require(empty)
    assert "newer than this Ballast" in capsys.readouterr().out
    assert stands_at(schema.REVISION) is SchemaState.CURRENT
    schema.downgrade(empty_url, "base")
    assert schema.state_of(empty) is SchemaState.EMPTY


def test_an_upgrade_works_from_any_folder_and_turns_write_ahead_logging_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ballast.db'}"
    code = (
        f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); from core.store import schema; schema.upgrade({url!r})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    store = Store(url)
    with store.reading() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    store.close()


def test_the_store_loads_neither_alembic_nor_torch() -> None:
    rooms = "claims, curves, events, experiments, schema, session, workers"
    unwanted = "{'alembic', 'torch', 'numpy', 'fastapi', 'celery'}"
    code = f"import sys; from core.store import {rooms}; print({unwanted} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
