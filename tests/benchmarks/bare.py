"""The service that one writes in an afternoon, as a rival: a POST inserts a row and sends a Celery task, the task
trains by the same engine and updates the row. It knows nothing of leases, wishes, checkpoints or curves.
"""

import os
from pathlib import Path
from typing import Any

import torch
import uvicorn
from celery import Celery
from fastapi import FastAPI
from sqlalchemy import create_engine, text

from core.results import EpochResult
from core.spec import Spec
from core.store.session import database_url
from core.training import Member, load, train

engine = create_engine(database_url(os.environ["BARE_DATABASE"]))
celery = Celery("bare", broker=os.environ["BARE_BROKER"])
celery.conf.update(broker_connection_retry_on_startup=True, worker_concurrency=1, worker_pool="threads")
api = FastAPI()


@api.post("/experiments", status_code=201)
def submit(spec: Spec) -> dict[str, int]:
    stored = spec.model_dump_json()
    with engine.begin() as tx:
        number = tx.execute(text("INSERT INTO bare (spec) VALUES (:spec) RETURNING id"), {"spec": stored}).scalar_one()
    train_one.delay(number, stored)
    return {"id": number}


@celery.task(name="train", ignore_result=True)
def train_one(number: int, stored: str) -> None:
    spec = Spec.model_validate_json(stored)
    folder = Path(os.environ["BARE_FOLDER"])
    data = load(spec.dataset, folder / "data", folder / "locks")
    rows: list[Any] = [row for _, row in train([Member(spec)], data) if isinstance(row, EpochResult)]
    with engine.begin() as tx:
        done = text("UPDATE bare SET done = true, loss = :loss WHERE id = :id")
        tx.execute(done, {"loss": rows[-1].train_loss, "id": number})


def serve() -> None:
    with engine.begin() as tx:
        tx.execute(text("CREATE TABLE bare (id bigserial PRIMARY KEY, spec text, loss float, done bool DEFAULT false)"))
    uvicorn.run(api, host="127.0.0.1", port=int(os.environ["BARE_PORT"]), log_level="warning")


def work() -> None:
    torch.set_num_threads(1)
    celery.Worker(loglevel="WARNING", quiet=True).start()
