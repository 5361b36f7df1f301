"""The steps of a flow that touch the outside, and the only retries.

Under a Prefect server a step is a task: seen in the UI, retried when its source or store did not
answer. Without one it is the plain function: nothing to start, nothing to wait for.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from aeflow.exceptions import AeflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import Flow, Task
    from prefect.client.schemas.objects import State, TaskRun

_RETRY_SECONDS = [1.0, 5.0]

P = ParamSpec("P")
R = TypeVar("R")


def tracked() -> bool:
    """Whether a Prefect flow run is under way."""
    return FlowRunContext.get() is not None


def io_step(function: Callable[P, R]) -> Callable[P, R]:
    """A step that reads or writes outside the process: tried three times under Prefect."""
    return _step(function, retries=2)


def step(function: Callable[P, R]) -> Callable[P, R]:
    """A step that computes: what failed once would fail again."""
    return _step(function, retries=0)


def run(flow: Flow[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a flow: under Prefect where a server is configured, else as the plain function it is."""
    from aeflow.settings import prefect_api_configured  # noqa: PLC0415 - read when asked, not when imported

    return flow(*args, **kwargs) if prefect_api_configured() else flow.fn(*args, **kwargs)


def _step(function: Callable[P, R], retries: int) -> Callable[P, R]:
    as_task: Task[P, R] = task(
        retries=retries,
        retry_delay_seconds=_RETRY_SECONDS[:retries],
        retry_condition_fn=_worth_another_try,
        persist_result=False,
        cache_policy=NO_CACHE,
    )(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return as_task(*args, **kwargs) if tracked() else function(*args, **kwargs)

    return call


def _worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Our own errors say what a person has to mend; only foreign ones may pass by themselves."""
    failure = state.result(raise_on_failure=False)
    return not isinstance(failure, AeflowError)
