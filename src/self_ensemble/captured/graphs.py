"""A forward pass as a compiled function, and as a CUDA graph."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from self_ensemble.errors import UserError

MOST_COMPILATIONS = 64
WARM_UPS = 2


def compiled_forward(model: PreTrainedModel) -> Callable[..., Any]:
    """The model's forward, compiled whole at the first call with tensors of a shape.

    Raises, when called:
        UserError: It does not compile.
    """
    compiled = torch.compile(model.forward, dynamic=False, fullgraph=True)

    def forward(**arguments: object) -> Any:
        # Every shape is a compilation of the same code, and past a limit there would be none.
        with torch._dynamo.config.patch(recompile_limit=MOST_COMPILATIONS):
            try:
                return compiled(**arguments)  # type: ignore[no-untyped-call]
            except torch.OutOfMemoryError:
                raise
            except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
                raise _cannot_be(model, "compiled", error, "captured") from error

    return forward


def captured(model: PreTrainedModel, run: Callable[[], None], pool: Any) -> Callable[[], object]:
    """What `run` does on the current CUDA device, as a graph to replay.

    Args:
        model: For the message.
        run: A pass over buffers that stay where they are. It runs a few times here, so that code
            is compiled and libraries have made their workspaces.
        pool: Memory of the graph, from `torch.cuda.graph_pool_handle`.

    Raises:
        UserError: It waits for the device, or does something else that no graph can hold.
    """
    current = torch.cuda.current_stream()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            run()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        # A capture that fails leaves its stream in place; the outer one goes back.
        with torch.cuda.stream(current), torch.cuda.graph(graph, pool=pool, stream=side):
            run()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # The end of a broken capture raises an error of its own.
        cause = error.__context__ if isinstance(error.__context__, Exception) else error
        raise _cannot_be(model, "captured", cause, "tree") from error
    return graph.replay


def _cannot_be(model: PreTrainedModel, done: str, error: Exception, instead: str) -> UserError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"A decode step of {type(model).__name__} cannot be {done} ({reason}). "
        f"Use --decode {instead}.",
        "SE-0405",
    )
