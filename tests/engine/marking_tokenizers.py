"""SentencePiece-style tokenizers, which mark the beginning of a word, and the unmarked twin."""

import json

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SENTENCES = [
    "The river that runs through the old town is wide and slow.",
    "What is the capital of France? The capital of France is Paris.",
    "Who wrote the play about the prince of Denmark?",
]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
STYLES = ("always", "first", "normalizer")


def marking_tokenizer(style: str) -> PreTrainedTokenizerBase:
    """BPE with byte fallback, as Llama 2 and Mistral have it.

    Args:
        style: Where the word mark of a text's first word comes from: Metaspace "always" or
            "first", a "normalizer", or "never" (none).
    """
    trained = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = BpeTrainer(
        vocab_size=420,
        special_tokens=["<unk>", "<s>", "</s>", *BYTES],
        show_progress=False,
    )
    trained.train_from_iterator(SENTENCES, trainer)
    vocabulary = trained.get_vocab()
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(
        BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True)
    )
    if style == "normalizer":
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=style, split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ("<s>", "</s>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
