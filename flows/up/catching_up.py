"""Making good what a stop, a crash or a power cut has left: runs that are no more, nights that did not come.

Prefect makes no run for a time at which its server was down, and knows of a run whose process was killed
with its worker only that it has begun.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed

from aeflow.backlog import paths_of
from aeflow.config import load_config
from aeflow.exceptions import AeflowError
from aeflow.overdue import missed_fire
from aeflow.store.claims import holder
from aeflow.store.nightly_runs import NIGHTLY, open_nightly_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

CATCH_UP = "catch-up"
_STARTS_WITHIN = timedelta(minutes=2)
_TRIES = 3
"""A night that ends in a crash so often is not tried again before the next one."""
_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


@dataclass(frozen=True)
class CaughtUp:
    """What was done. crashed: names of runs that had no process any more; begun: pipelines of which a
    nightly run was begun that should have been before."""

    crashed: tuple[str, ...]
    begun: tuple[str, ...]


def catch_up(*, now: datetime | None = None) -> CaughtUp:
    """Call crashed what has no process on this machine any more, and begin each nightly run that should
    have come and has not.

    For servers whose process workers all run on this machine: a run elsewhere has no process here.

    Args:
        now: an aware time. None: the present.
    """
    now = now or datetime.now(UTC)
    with get_client(sync_client=True) as client:
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=["aeflow"]))
        crashed = [
            run.name
            for run in client.read_flow_runs(deployment_filter=ours, flow_run_filter=_in(_UNDER_WAY))
            if _is_dead(run, now) and _crash(client, run)
        ]
        begun = [
            deployment.name
            for deployment in client.read_deployments(deployment_filter=ours)
            if (deployment.entrypoint or "").endswith(".nightly") and _begin(client, deployment, now)
        ]
    return CaughtUp(tuple(crashed), tuple(begun))


def _begin(client: SyncPrefectClient, deployment: DeploymentResponse, now: datetime) -> bool:
    """Whether a nightly run was begun."""
    if deployment.paused:
        return False
    try:
        fire = _missed(Path(deployment.parameters["config"]), now)
    except AeflowError:  # a config that was removed, or is being written
        return False
    if fire is None:
        return False
    of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    runs = client.read_flow_runs(deployment_filter=of_it, limit=50)
    if any(_is_coming(run, now) for run in runs):
        return False
    tried = [r for r in runs if CATCH_UP in r.tags and r.created is not None and r.created > fire]
    if len(tried) >= _TRIES:
        return False
    client.create_flow_run_from_deployment(deployment.id, tags=[CATCH_UP], name=f"{deployment.name} catch-up")
    return True


def _missed(config: Path, now: datetime) -> datetime | None:
    """When a nightly run was to begin that did not come to an end; None while one is at work."""
    pipeline, paths = load_config(config), paths_of(config)
    if holder(paths.task_claim(NIGHTLY)) is not None:
        return None
    return missed_fire(pipeline, open_nightly_runs(paths), now)


def _is_coming(run: FlowRun, now: datetime) -> bool:
    if run.state is None or run.state.is_final():
        return False
    return run.state.type != StateType.SCHEDULED or (
        run.expected_start_time is not None and run.expected_start_time <= now + _STARTS_WITHIN
    )


def _is_dead(run: FlowRun, now: datetime) -> bool:
    process = run.infrastructure_pid
    if not process:
        begun = run.state.timestamp if run.state is not None else None
        return begun is not None and now - begun > _STARTS_WITHIN
    number = process.rsplit(":", 1)[-1]
    return number.isdigit() and not _runs(int(number), str(run.id))


def _runs(pid: int, flow_run: str) -> bool:
    """Whether the process lives and is that of the flow run: ids of processes are used again."""
    environment = Path("/proc") / str(pid) / "environ"
    if Path("/proc/self/environ").exists():
        with suppress(OSError):
            return flow_run in environment.read_bytes().decode("utf-8", errors="replace")
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _crash(client: SyncPrefectClient, run: FlowRun) -> bool:
    message = "Its process is no more: it was killed, with its worker or with the machine."
    state: State[None] = Crashed(message=message)
    below = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)),
    )
    for one in [run, *client.read_flow_runs(flow_run_filter=below)]:
        client.set_flow_run_state(one.id, state, force=True)
    return True


def _in(states: list[StateType]) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
