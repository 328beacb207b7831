"""Chat templates that misbehave are one line; the process goes on."""

import time
from copy import deepcopy

import pytest

from self_ensemble.errors import UserError
from self_ensemble.prompts import limited
from self_ensemble.prompts.build import chat_frame
from self_ensemble.questions.schema import Shot

BIG = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
END = "{% endfor %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (BIG + END, "takes longer than 1 s"),
        (BIG + "{{ 'x' * 1000 }}" + END, "takes longer than 1 s"),
        ("{{ 'x' * 9999999999 }}", "MemoryError"),
        ("{{ 'x' * 99999999 }}", "takes longer than 1 s, more than 1 GiB, or does not end"),
        ("{{ raise_exception('no') }}", "refuses the prompt"),
        ("{{ nothing.at.all }}", "refuses the prompt"),
        ("{{ messages + 1 }}", "fails on the prompt .TypeError"),
        ("{{ 1 // 0 }}", "fails on the prompt .ZeroDivisionError"),
        ("{% for", "refuses the prompt"),
        ("{% include 'x' %}", "fails on the prompt|refuses the prompt"),
        ("{{ ''.__class__.__mro__ }}", "refuses the prompt"),
        ("nothing", "drops, reorders or rewrites"),
    ],
)
def test_a_template_that_misbehaves_is_one_line(tiny_tokenizer, monkeypatch, template, message):
    monkeypatch.setattr(limited, "LIMIT_S", 1.0)
    tokenizer = deepcopy(tiny_tokenizer)
    tokenizer.chat_template = template
    started = time.monotonic()
    with pytest.raises(UserError, match=message) as error:
        chat_frame(tokenizer, "Answer.", (Shot("Who?", "He"),))
    assert "--chat-template off" in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 20
