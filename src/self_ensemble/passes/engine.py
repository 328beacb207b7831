"""One model with one attention backend, and the work that it has done."""

from dataclasses import dataclass, field

from self_ensemble.models.load import LoadedModel
from self_ensemble.models.support import attention_backends, first_position
from self_ensemble.passes.attention import attention_name


@dataclass(slots=True)
class Counters:
    """Work done, in numbers that do not depend on the machine.

    Attributes:
        forwards: Forward passes of the model.
        prefix_tokens: Tokens of the shared prefix that went through the model.
        prompt_tokens: Tokens of segments and cues.
        decode_tokens: Generated tokens fed back.
        masks: Attention masks built; layers of a kind (with or without window) share one of the
            rows, and those with a window one of the prefix where that is not in the rows.
        logit_rows: Real positions for which vocabulary logits were computed.
        padding_tokens: Padding that went through the model: FlexAttention's buckets, rows that a
            captured step has beyond its batch, and on a CPU lengths that are rounded up.
        captures: Decode steps of fixed shape that were set up; on CUDA, graphs captured. What is
            run to warm one up or to capture it is no forward.
    """

    forwards: int = 0
    prefix_tokens: int = 0
    prompt_tokens: int = 0
    decode_tokens: int = 0
    masks: int = 0
    logit_rows: int = 0
    padding_tokens: int = 0
    captures: int = 0


@dataclass(slots=True)
class Engine:
    """One model with one attention backend.

    Attributes:
        model: The loaded model.
        backend: sdpa, flex or eager.
        counters: Work done so far.
        first_position: What the model calls the first position.
    """

    model: LoadedModel
    backend: str
    counters: Counters = field(default_factory=Counters)
    first_position: int = field(init=False)

    def __post_init__(self) -> None:
        self.first_position = first_position(self.model.model)

    def attach(self) -> None:
        """Give the model this backend, where another engine has given it its own."""
        name = attention_name(self.backend)
        if self.model.model.config._attn_implementation != name:
            self.model.model.set_attn_implementation(name)

    @property
    def backend_name(self) -> str:
        """The backend that runs; prefill+decode where they differ."""
        if self.backend != "flex":
            return self.backend
        available = attention_backends(self.model.model.config)
        return "flex+sdpa" if "sdpa" in available else "flex+eager"
