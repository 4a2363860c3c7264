from __future__ import annotations

import json

from groundup.tokenizer.formats.folder_config import (
    read_chat_format,
    read_config,
    read_roles,
)
from groundup.tokenizer.templates import CHAT_FORMATS


def test_files_of_a_folder_are_read_together(tmp_path) -> None:
    assert read_config(tmp_path) == {}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<a>", "x": 1}))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<b>", "chat_template": "old"})
    )
    (tmp_path / "chat_template.jinja").write_text("new")
    assert read_config(tmp_path) == {"bos_token": "<b>", "x": 1, "chat_template": "new"}


def test_roles_are_as_the_config_says() -> None:
    names = ["<s>", "</s>", "<pad>", "<|im_end|>"]
    config = {"bos_token": {"content": "<s>"}, "eos_token": "<|im_end|>"}
    roles = read_roles(config, names)
    assert (roles.end_of_text, roles.end_of_turn, roles.pad) == ("<s>", "<|im_end|>", None)
    assert read_roles({"bos_token": "<gone>"}, names).end_of_text is None
    assert read_roles({}, []).end_of_text is None


def test_the_template_tells_the_chat_format() -> None:
    for name, layout in CHAT_FORMATS.items():
        assert read_chat_format({"chat_template": layout.template}, []) == name
    assert read_chat_format({"chat_template": "{{ other }}"}, ["<|endoftext|>"]) is None
    for name in ("chatml", "llama3"):
        assert read_chat_format({}, CHAT_FORMATS[name].special_tokens) == name
