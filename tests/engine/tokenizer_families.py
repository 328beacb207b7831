"""A small tokenizer of each family that causal language models come with."""

import re
from collections.abc import Callable

from marking_tokenizers import BYTES, STYLES, marking_tokenizer
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

# Much of what is joined at seams: punctuation and line breaks, two line breaks, digits, spaces.
SENTENCES = [
    "Q: What is the capital of France?\nA: Paris\n\nQ: Who wrote it?\nA: The prince.\n\n",
    "Is the bridge old?\n\nSeven are. (1985) The 17 rivers...\n\n  They're wide.\n  So.\n",
    "A: no.\n\nQ: 1,000 or 12?\nA: 1,000\n\nWhat?\n\nQ: \u00e9t\u00e9, \u4ec0\u4e48?\nA: \u4ec0",
]
SPECIAL = ("<|im_start|>", "<|im_end|>")
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _wrapped(tokenizer: Tokenizer, **names: str) -> PreTrainedTokenizerBase:
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=list(SPECIAL),
        chat_template=CHAT_TEMPLATE,
        **names,
    )


def _adding(tokenizer: Tokenizer, template: str) -> None:
    tokens = [token for token in template.split() if token != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, tokenizer.token_to_id(token)) for token in tokens]
    )


def byte_level(
    pre_tokenizer: pre_tokenizers.PreTokenizer, *, template: str = "", vocab_size: int = 320
) -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL),
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if template:
        _adding(tokenizer, template)
    return _wrapped(tokenizer, bos_token="<s>", eos_token="</s>")


def gpt2() -> PreTrainedTokenizerBase:
    """Two line breaks are one token at the end of a text and two before a word."""
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))


def roberta() -> PreTrainedTokenizerBase:
    """A space before the first word, and offsets without the spaces of tokens."""
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer


def llama3() -> PreTrainedTokenizerBase:
    """A question mark is one token with the line break behind it."""
    split = pre_tokenizers.Split(Regex(LLAMA_3), behavior="isolated")
    joined = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = byte_level(
        pre_tokenizers.Sequence([split, joined]), template="<s> $A", vocab_size=360
    )
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), backend.post_processor]
    )
    return tokenizer


def gemma() -> PreTrainedTokenizerBase:
    """SentencePiece BPE with byte fallback and no mark before the first word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=["<unk>", "<s>", "</s>", *BYTES], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    _adding(tokenizer, "<s> $A")
    return _wrapped(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def llama2(style: str) -> PreTrainedTokenizerBase:
    """SentencePiece BPE with a word mark before the first word, in the ways it comes about."""
    tokenizer = marking_tokenizer(style).backend_tokenizer
    _adding(tokenizer, "<s> $A")
    return _wrapped(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def t5() -> PreTrainedTokenizerBase:
    """A Unigram vocabulary, which also holds `</s>`; every text ends in it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=120,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    _adding(tokenizer, "$A </s>")
    return _wrapped(tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="<pad>")


def bert() -> PreTrainedTokenizerBase:
    """WordPiece, which lowers letters and drops spaces; [CLS] before and [SEP] behind a text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=160, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    _adding(tokenizer, "[CLS] $A [SEP]")
    return _wrapped(tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


class PythonTokenizer(PreTrainedTokenizer):
    """Written in Python, so without offsets: the longest of some pieces, else a character."""

    model_input_names = ["input_ids"]  # noqa: RUF012

    def __init__(self, **options: object) -> None:
        self.pieces = ["?\n", "\n\n", "the ", "Wh", "is", " of", "A:", "Q: ", "\n\nQ", ".\n"]
        self.pattern = re.compile("|".join(map(re.escape, sorted(self.pieces, key=len)[::-1])))
        super().__init__(bos_token="<s>", eos_token="</s>", unk_token="<unk>", **options)

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def get_vocab(self) -> dict[str, int]:
        return {piece: n for n, piece in enumerate(self.pieces)}

    def _tokenize(self, text: str, **options: object) -> list[str]:
        tokens, place = [], 0
        while place < len(text):
            found = self.pattern.match(text, place)
            tokens.append(found.group() if found else text[place])
            place += len(tokens[-1])
        return tokens

    def _convert_token_to_id(self, token: str) -> int:
        return self.pieces.index(token) if token in self.pieces else 1000 + ord(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.pieces[index] if index < len(self.pieces) else chr(index - 1000)

    def build_inputs_with_special_tokens(self, ids: list[int], more: object = None) -> list[int]:
        return [self.bos_token_id, *ids]


def python() -> PreTrainedTokenizerBase:
    tokenizer = PythonTokenizer(
        additional_special_tokens=list(SPECIAL), chat_template=CHAT_TEMPLATE
    )
    return tokenizer


FAMILIES: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "gpt2": gpt2,
    "roberta": roberta,
    "llama3": llama3,
    "gemma": gemma,
    **{f"llama2-{style}": (lambda style=style: llama2(style)) for style in STYLES},
    "t5": t5,
    "bert": bert,
    "python": python,
}
