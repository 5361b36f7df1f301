"""The review app, running in a thread of its own."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import uvicorn

from aeflow.review.app import create_app
from aeflow.review.serve import listen, open_desk


@contextmanager
def serving(config, host="127.0.0.1", **options):
    """The address of the running app, and its desk."""
    listening = listen(host, 0)
    desk = open_desk(config, host=host, reviewer="anna", **options)
    settings = uvicorn.Config(
        create_app(desk), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://{host}:{listening.getsockname()[1]}", desk
    finally:
        server.should_exit = True
        thread.join()
