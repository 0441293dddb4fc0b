"""A run in one shard that nobody runs, with limits short enough for a test: `python -m … FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow

from flows.pipeline import process_shard
from flows.run_factory import portable_parameters
from flows.shards import ShardedRun, shard_deployment
from tests.run.whole import make_place


@flow
def impatient(root: Path) -> None:
    place = make_place(root, 2)
    with place.run(root / "dataset") as run:
        parameters = portable_parameters("demo", str(root / "dataset"))
        sharded = ShardedRun(
            run, parameters, shard_deployment(process_shard, "idle"), pending_limit_s=0.5, poll_s=0.1
        )
        sharded.process(run.plan(), 1, lambda _done: None)


if __name__ == "__main__":
    impatient(Path(sys.argv[1]))
