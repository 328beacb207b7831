"""A server on the loopback, and clients of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from fastapi import FastAPI
from openai import OpenAI

from self_ensemble.ensemble import Ensemble
from self_ensemble.integrations.serve import create_app
from self_ensemble.serving.listening import make_server, open_socket


class Running:
    """A server that runs."""

    def __init__(self, app, port, ensemble):
        self.app, self.port, self.ensemble = app, port, ensemble
        self.service = app.state.service
        self.url = f"http://127.0.0.1:{port}"
        self.clients: list[OpenAI] = []

    def client(self, key: str = "none", **options) -> OpenAI:
        found = OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **options)
        self.clients.append(found)  # a socket that is not closed is a warning in some later test
        return found

    def post(self, path: str = "/v1/completions", **options) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", timeout=60, **options)

    def wait_until(self, is_so: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.005)


@contextmanager
def running(
    ensemble: Ensemble, mount: Callable[[FastAPI], object] | None = None, **options
) -> Iterator[Running]:
    app = create_app(ensemble, **options)
    if mount is not None:
        mount(app)
    listening = open_socket("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = make_server(app, app.state.service.limits)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        found = Running(app, port, ensemble)
        yield found
        for one in found.clients:
            one.close()
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
        listening.close()
