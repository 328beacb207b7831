"""How the server does under load: `python -m benchmarks.serving`.

200 requests from 32 connections on the loopback, beside the same requests one at a time, and a
short answer while a long one is being made. Needs the extras `serve` and `dev`. The last line of
the output is one JSON document.
"""

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

import httpx
import torch

from benchmarks.facts import commit, hardware, versions
from self_ensemble.questions.demo import load_demo

MODEL = "smollm2_135m_it"
NUM_REQUESTS, NUM_CONNECTIONS = 200, 32
NUM_LONG = 512  # tokens of the long answer
TOKENS = (8, 16, 24, 32)  # longest answers, in turn


@dataclass(frozen=True, slots=True)
class Load:
    """What a number of connections took.

    Attributes:
        connections: How many asked at once.
        seconds: From the first request to the last answer.
        latencies: Of each request, in seconds.
        answers: Their texts, in the order of the requests.
        tokens: Of all answers together.
    """

    connections: int
    seconds: float
    latencies: list[float]
    answers: list[str]
    tokens: int

    @property
    def numbers(self) -> dict[str, float]:
        """What is reported."""
        cuts = quantiles(self.latencies, n=20)
        return {
            "connections": self.connections,
            "answered": len(self.answers),
            "seconds": round(self.seconds, 2),
            "requests_per_s": round(len(self.answers) / self.seconds, 2),
            "tokens_per_s": round(self.tokens / self.seconds, 1),
            "p50_s": round(median(self.latencies), 3),
            "p95_s": round(cuts[18], 3),
        }


@contextmanager
def serving(port: int) -> Iterator[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "self_ensemble", "serve", "--model", MODEL,
               "--port", str(port), "--max-waiting", str(NUM_REQUESTS), "--deadline", "600",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(f"{url}/healthz").raise_for_status()
                break
            except httpx.HTTPError:
                if process.poll() is not None:
                    raise SystemExit("The server has not come up.") from None
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def bodies(number: int, num_wordings: int, method: str) -> list[dict[str, object]]:
    """Questions of the bundled data, over and over, with answers of several lengths."""
    questions = load_demo(num_shots=0, seed=0).questions
    return [
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": question.wordings[0]}],
            "wordings": list(question.wordings[1:num_wordings]),
            "method": method,
            "members": False,
            "max_tokens": TOKENS[n % len(TOKENS)],
        }
        for n in range(number)
        for question in [questions[n % len(questions)]]
    ]


def load(url: str, asked: Sequence[dict[str, object]], num_connections: int) -> Load:
    """Ask, by so many connections at once."""
    with httpx.Client(
        base_url=url, timeout=600, limits=httpx.Limits(max_connections=num_connections)
    ) as client:

        def ask(body: dict[str, object]) -> tuple[float, str, int]:
            started = time.perf_counter()
            found = client.post("/v1/chat/completions", json=body).raise_for_status().json()
            seconds = time.perf_counter() - started
            answer = found["choices"][0]["message"]["content"]
            return seconds, answer, found["usage"]["completion_tokens"]

        started = time.perf_counter()
        with ThreadPoolExecutor(num_connections) as pool:
            found = list(pool.map(ask, asked))
        seconds = time.perf_counter() - started
    latencies, answers, tokens = zip(*found, strict=True)
    return Load(num_connections, seconds, list(latencies), list(answers), sum(tokens))


def short_behind_long(url: str, repeats: int) -> dict[str, float]:
    """Seconds of a short answer alone, and while one of `NUM_LONG` tokens is being made."""
    short = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 8}
    long = {**short, "prompt": "Once upon a time", "max_tokens": NUM_LONG, "temperature": 1.0,
            "seed": 4}  # fmt: skip

    def seconds() -> float:
        started = time.perf_counter()
        httpx.post(f"{url}/v1/completions", json=short, timeout=600).raise_for_status()
        return time.perf_counter() - started

    alone = [seconds() for _ in range(repeats)]
    with ThreadPoolExecutor(1) as pool:
        started = time.perf_counter()
        coming = pool.submit(
            lambda: httpx.post(f"{url}/v1/completions", json=long, timeout=600).json()
        )
        time.sleep(0.3)
        beside: list[float] = []
        while not coming.done() and len(beside) < repeats:
            beside.append(seconds())
        found = coming.result()
        long_s = time.perf_counter() - started
    return {
        "short_alone_s": round(median(alone), 3),
        "short_beside_long_s": round(median(beside), 3),
        "short_beside_long_worst_s": round(max(beside), 3),
        "num_beside": len(beside),
        "long_s": round(long_s, 2),
        "long_tokens": found["usage"]["completion_tokens"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=NUM_REQUESTS)
    parser.add_argument("--connections", type=int, default=NUM_CONNECTIONS)
    parser.add_argument("--wordings", type=int, default=1)
    parser.add_argument("--method", default="flex_attention")
    options = parser.parse_args()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    asked = bodies(options.requests, options.wordings, options.method)
    with serving(port) as url:
        load(url, asked[:4], 1)  # warm
        many = load(url, asked, options.connections)
        # One at a time, an eighth of them: it is the rate that is compared.
        some = asked[: max(8, len(asked) // 8)]
        one = load(url, some, 1)
        same = sum(a == b for a, b in zip(many.answers, one.answers, strict=False))
        behind = short_behind_long(url, 10)
    lines = [f"{'':>14}{'requests/s':>12}{'tokens/s':>10}{'p50 s':>8}{'p95 s':>8}"]
    lines += [
        f"{each.connections:>6} at once{n['requests_per_s']:>12}{n['tokens_per_s']:>10}"
        f"{n['p50_s']:>8}{n['p95_s']:>8}"
        for each in (many, one)
        for n in [each.numbers]
    ]
    lines += [f"{len(many.answers)} of {len(asked)} answered; {same} of {len(one.answers)} equal."]
    facts = {"load": many.numbers, "one": one.numbers, "equal": same, **behind}
    work = {"wordings": options.wordings, "method": options.method}
    about = {"hardware": hardware(torch.device("cpu")), "versions": versions(), "commit": commit()}
    sys.stdout.write("\n".join([*lines, json.dumps(facts | work | about)]) + "\n")


if __name__ == "__main__":
    main()
