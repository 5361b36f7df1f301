"""What the Prefect server is told of a pipeline: work pools and queues, deployments, automations.

As code, and safe to run again: what is there is brought up to date. `plan` says what there is to be,
as plain values; `deploy` tells the server; `as_prefect_yaml` writes the same for `prefect deploy`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema

from aeflow.config import load_config
from aeflow.data.due import schedule_warnings
from aeflow.exceptions import StorageError
from aeflow.settings import home_for
from aeflow.store.nightly_runs import open_nightly_runs
from aeflow.store.paths import Paths
from flows import deployed
from flows.events import RETRAIN_REQUESTED

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient

PoolType = Literal["process", "docker", "kubernetes"]
SCORE_POOL, TRAIN_POOL = "score", "train"
NIGHTLY_QUEUE, BACKFILL_QUEUE, GPU_QUEUE = "nightly", "backfill", "gpu"
# The lower the number the sooner: a night never waits behind a backfill.
QUEUES = {SCORE_POOL: {NIGHTLY_QUEUE: 1, BACKFILL_QUEUE: 10}, TRAIN_POOL: {GPU_QUEUE: 1}}
_PROJECT_IN_IMAGE = "/project"
_SILENT_AFTER = timedelta(minutes=10)
"""A flow run beats every three minutes."""


@dataclass(frozen=True)
class Place:
    """Where flow runs are carried out. image: for docker and kubernetes, with the project at /project."""

    type: PoolType = "process"
    image: str | None = None


@dataclass(frozen=True)
class Plan:
    """One deployment."""

    flow: Flow[..., Any]
    name: str
    pool: str
    queue: str
    parameters: dict[str, Any]
    job_variables: dict[str, Any]
    cron: str | None = None
    time_zone: str = "UTC"

    @property
    def entrypoint(self) -> str:
        """Where the flow lies, as a module path: it is installed wherever it runs."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"

    @property
    def full_name(self) -> str:
        """Flow and deployment, as `prefect deployment run` takes them."""
        return f"{self.flow.name}/{self.name}"


@dataclass(frozen=True)
class Deployed:
    """What the server knows now."""

    pipeline: str
    deployments: dict[str, str]
    """Full name -> when it runs, for a person."""
    automations: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


def plan(config: Path, place: Place | None = None) -> list[Plan]:
    """The deployments of a pipeline.

    Raises:
        ConfigError: the config is not valid.
    """
    place = place or Place()
    pipeline = load_config(config)
    project = config.resolve().parent.parent
    here = place.type == "process"
    parameters = {"config": str(config.resolve() if here else config.resolve().relative_to(project))}
    variables = _job_variables(config, place, project)
    schedule, zone = pipeline.schedule, pipeline.schedule_zone

    def one(flow: Flow[..., Any], pool: str, queue: str, cron: str | None = None) -> Plan:
        return Plan(flow, pipeline.name, pool, queue, parameters, variables, cron, zone)

    return [
        one(deployed.nightly, SCORE_POOL, NIGHTLY_QUEUE, schedule.nightly),
        one(deployed.backfill, SCORE_POOL, BACKFILL_QUEUE),
        one(deployed.watch, SCORE_POOL, NIGHTLY_QUEUE, None if schedule.nightly is None else "17 * * * *"),
        one(deployed.retrain, TRAIN_POOL, GPU_QUEUE, schedule.retrain),
    ]


def deploy(config: Path, place: Place | None = None) -> Deployed:
    """Tell the server that `PREFECT_API_URL` names, and note that nightly runs are expected from now on.

    Raises:
        ConfigError: the config is not valid.
    """
    place = place or Place()
    plans = plan(config, place)
    pipeline = load_config(config)
    make_pools(place)
    with get_client(sync_client=True) as client:
        ids = {p.flow.name: _make_deployment(client, p) for p in plans}
    automations = (
        _make_automation(_retraining_asked_for(pipeline.name, ids["retrain"])),
        _make_automation(_fallen_silent()),
    )
    if pipeline.schedule.nightly is not None:
        runs = open_nightly_runs(Paths(home_for(config), pipeline.name))
        runs.expect(now=datetime.now(UTC))
    return Deployed(
        pipeline.name,
        {p.full_name: f"{p.cron} {p.time_zone}" if p.cron else "on demand" for p in plans},
        automations,
        tuple(schedule_warnings(pipeline)),
    )


def make_pools(place: Place | None = None) -> None:
    """The work pools with their queues.

    Raises:
        StorageError: there is one of that name and another type.
    """
    place = place or Place()
    with get_client(sync_client=True) as client:
        for pool, queues in QUEUES.items():
            _make_pool(client, pool, place.type, queues)


def as_prefect_yaml(config: Path, place: Place | None = None) -> str:
    """The deployments as a prefect.yaml for `prefect deploy --all`, paths relative to the project.
    Automations are no part of such a file: `aeflow deploy` makes them."""
    place = place or Place()
    project = config.resolve().parent.parent
    content = {
        "name": "aeflow",
        "prefect-version": version("prefect"),
        "deployments": [
            {
                "name": p.name,
                "entrypoint": p.entrypoint,
                "parameters": {"config": str(config.resolve().relative_to(project))},
                "schedules": [{"cron": p.cron, "timezone": p.time_zone, "active": True}] if p.cron else [],
                "work_pool": {"name": p.pool, "work_queue_name": p.queue},
                "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
                "enforce_parameter_schema": True,
            }
            for p in plan(config, place)
        ],
    }
    head = (
        f"# Written by: aeflow deploy {config.stem} --yaml. `aeflow deploy {config.stem}` does the same and\n"
        "# more: it makes the work pools, the queues and the automations.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False)


def _job_variables(config: Path, place: Place, project: Path) -> dict[str, Any]:
    if place.type == "process":
        return {
            "working_dir": str(project),
            # Straight to the flow: one process less, and its id is that of the work.
            "command": f"{sys.executable} -m prefect.engine",
            "env": {"AEFLOW_HOME": str(home_for(config))},
        }
    image = {"image": place.image} if place.image else {}
    if place.type == "docker":
        return image | {"volumes": [f"{project}:{_PROJECT_IN_IMAGE}", "aeflow:/home/aeflow/data"]}
    return image


def _make_pool(client: SyncPrefectClient, name: str, kind: PoolType, queues: dict[str, int]) -> None:
    template = _job_template(kind)
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
    except ObjectAlreadyExists:
        known = client.read_work_pool(name)
        if known.type != kind:
            msg = f"expected a work pool of type {kind}, and {name} is of type {known.type}"
            remedy = (
                f"Deploy with --pool-type {known.type}, or remove the pool: prefect work-pool delete {name}"
            )
            raise StorageError(msg, where="Prefect server", remedy=remedy) from None
        if not known.base_job_template:
            client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    for queue, priority in queues.items():
        try:
            found = client.read_work_queue_by_name(queue, work_pool_name=name)
        except ObjectNotFound:
            client.create_work_queue(queue, work_pool_name=name, priority=priority)
        else:
            if found.priority != priority:
                client.update_work_queue(found.id, priority=priority)


def _job_template(kind: PoolType) -> dict[str, Any]:
    """How a job of this type is made, as Prefect ships it: asking its server would look on the net."""
    import prefect.server.api  # noqa: PLC0415 - only where a server is told something

    folder = Path(prefect.server.api.__file__).parent / "collections_data" / "views"
    known = json.loads((folder / "aggregate-worker-metadata.json").read_text(encoding="utf-8"))
    found = next(
        worker for package in known.values() for worker in package.values() if worker["type"] == kind
    )
    template: dict[str, Any] = found["default_base_job_configuration"]
    return template


def _make_deployment(client: SyncPrefectClient, p: Plan) -> UUID:
    schedules = (
        [DeploymentScheduleCreate(schedule=CronSchedule(cron=p.cron, timezone=p.time_zone))] if p.cron else []
    )
    return client.create_deployment(
        flow_id=client.create_flow_from_name(p.flow.name),
        name=p.name,
        entrypoint=p.entrypoint,
        parameters=p.parameters,
        parameter_openapi_schema=parameter_schema(p.flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=True,
        schedules=schedules,
        work_pool_name=p.pool,
        work_queue_name=p.queue,
        job_variables=p.job_variables,
        # One run at a time; the next waits. Claims keep two of them off one batch whatever starts them.
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        description=p.flow.description,
        tags=["aeflow", p.name],
        version=version("aeflow"),
        pull_steps=[],
    )


def _retraining_asked_for(pipeline: str, retrain: UUID) -> AutomationCore:
    """The event of a decision, of enough verdicts or of a person -> the retraining, on the GPU's queue."""
    return AutomationCore(
        name=f"aeflow: retrain {pipeline}",
        description="A retraining that was asked for is run.",
        trigger=EventTrigger(
            expect={RETRAIN_REQUESTED},
            match={"prefect.resource.id": f"aeflow.pipeline.{pipeline}"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=retrain,
                parameters={
                    "reason": {"__prefect_kind": "jinja", "template": "{{ event.payload.reason }}"},
                },
            )
        ],
    )


def _fallen_silent() -> AutomationCore:
    """A flow run whose heart stopped, with its worker or its machine, is crashed: so it holds no slot."""
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    beat = "prefect.flow-run.heartbeat"
    return AutomationCore(
        name="aeflow: runs that fell silent",
        description="A run without a heartbeat is crashed.",
        trigger=EventTrigger(
            after={beat},
            expect={beat, *ends},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENT_AFTER,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"No heartbeat for {_SILENT_AFTER.total_seconds() / 60:.0f} minutes",
            )
        ],
    )


def _make_automation(automation: AutomationCore) -> str:
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(automation.name)
        if not known:
            client.create_automation(automation)
        else:
            client.update_automation(known[0].id, automation)
            for twin in known[1:]:
                client.delete_automation(twin.id)
    return automation.name
