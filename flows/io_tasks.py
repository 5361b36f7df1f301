"""The steps of a flow that touch the outside, and the only retries.

Under a Prefect server a step is a task: seen in the UI, retried when its source or store did not
answer. Without one it is the plain function: nothing to start, nothing to wait for, and Prefect (two
seconds) is not even imported.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache, partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from aeflow.exceptions import AeflowError
from aeflow.settings import prefect_api_configured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

_RETRY_SECONDS = [1.0, 5.0]

P = ParamSpec("P")
R = TypeVar("R")


def tracked() -> bool:
    """Whether a Prefect flow run is under way."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext  # noqa: PLC0415

    return FlowRunContext.get() is not None


def io_step(function: Callable[P, R]) -> Callable[P, R]:
    """A step that reads or writes outside the process: tried three times under Prefect."""
    return _step(function, retries=2)


def step(function: Callable[P, R]) -> Callable[P, R]:
    """A step that computes: what failed once would fail again."""
    return _step(function, retries=0)


def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a flow by its function: under Prefect where a server is configured, else as it is."""
    if not prefect_api_configured():
        return function(*args, **kwargs)
    from flows.prefect_flows import FLOWS  # noqa: PLC0415

    return cast("R", FLOWS[function](*args, **kwargs))


@contextmanager
def beside(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Iterator[Future[R]]:
    """`function` in a thread of its own while the block runs, which ends no sooner than it; a step is
    still a task of this flow."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(copy_context().run, partial(function, *args, **kwargs))


def _step(function: Callable[P, R], retries: int) -> Callable[P, R]:
    @cache
    def as_task() -> Task[P, R]:
        from prefect import task  # noqa: PLC0415
        from prefect.cache_policies import NO_CACHE  # noqa: PLC0415

        return task(
            retries=retries,
            retry_delay_seconds=_RETRY_SECONDS[:retries],
            retry_condition_fn=_worth_another_try,
            persist_result=False,
            cache_policy=NO_CACHE,
        )(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return as_task()(*args, **kwargs) if tracked() else function(*args, **kwargs)

    return call


def _worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Our own errors say what a person has to mend; only foreign ones may pass by themselves."""
    failure = state.result(raise_on_failure=False)
    return not isinstance(failure, AeflowError)
