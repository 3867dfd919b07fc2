"""Random models of transformers, a few thousand weights each, with their own processors: whole folders, as save_pretrained writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

TILE, PATCH, TOKEN = 56, 7, 14
"""px: a tile, a ViT patch where four are merged into a token, what a token stands for. A tile has as many tokens as `mini`'s."""
SPECIAL = (
    "<unk>", "<s>", "</s>", "<image>", "<img>", "</img>", "<video>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>",
    *(f"<row_{row}_col_{col}>" for row in (1, 2) for col in (1, 2)),
)  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SQUARE = {"height": TILE, "width": TILE}


def tokenizer() -> Any:
    """Every byte a token, and the special ones."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL])
    named = {"image_token": "<image>", "start_image_token": "<img>", "end_image_token": "</img>"}
    named |= {"context_image_token": "<image>", "video_token": "<video>"}
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>", extra_special_tokens=named
    )


def _text(config: type, words: Any) -> Any:
    tokens = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    return config(vocab_size=len(words), **TEXT, **tokens)


def llava_next(words: Any) -> tuple[Any, Any]:
    pinpoints = [[TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE]]
    images = hf.LlavaNextImageProcessor(size={"shortest_edge": TILE}, crop_size=SQUARE, image_grid_pinpoints=pinpoints)
    processor = hf.LlavaNextProcessor(
        images, words, patch_size=TOKEN, vision_feature_select_strategy="default", chat_template=TEMPLATE, num_additional_image_tokens=1
    )
    vision = hf.CLIPVisionConfig(image_size=TILE, patch_size=TOKEN, **VISION)
    config = hf.LlavaNextConfig(
        vision_config=vision,
        text_config=_text(hf.LlamaConfig, words),
        image_grid_pinpoints=pinpoints,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def internvl(words: Any) -> tuple[Any, Any]:
    images = hf.GotOcr2ImageProcessor(size=SQUARE, max_patches=4)
    videos = hf.InternVLVideoProcessor(size=SQUARE)
    processor = hf.InternVLProcessor(images, words, videos, image_seq_length=(TILE // TOKEN) ** 2, chat_template=TEMPLATE)
    vision = hf.InternVLVisionConfig(image_size=(TILE, TILE), patch_size=(PATCH, PATCH), **VISION)
    config = hf.InternVLConfig(
        vision_config=vision,
        text_config=_text(hf.Qwen2Config, words),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        image_seq_length=(TILE // TOKEN) ** 2,
        tie_word_embeddings=False,
    )
    return hf.InternVLForConditionalGeneration(config), processor


def idefics3(words: Any) -> tuple[Any, Any]:
    images = hf.Idefics3ImageProcessor(size={"longest_edge": 2 * TILE}, max_image_size={"longest_edge": TILE})
    processor = hf.Idefics3Processor(images, words, image_seq_len=(TILE // TOKEN) ** 2, chat_template=TEMPLATE)
    vision = hf.models.idefics3.configuration_idefics3.Idefics3VisionConfig(image_size=TILE, patch_size=PATCH, **VISION)
    config = hf.Idefics3Config(
        vision_config=vision,
        text_config=_text(hf.LlamaConfig, processor.tokenizer),
        image_token_id=processor.image_token_id,
        scale_factor=TOKEN // PATCH,
    )
    return hf.Idefics3ForConditionalGeneration(config), processor


def llava(words: Any) -> tuple[Any, Any]:
    side = 2 * TILE
    images = hf.CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor = hf.LlavaProcessor(
        images, words, patch_size=TOKEN, vision_feature_select_strategy="default", chat_template=TEMPLATE, num_additional_image_tokens=1
    )
    vision = hf.CLIPVisionConfig(image_size=side, patch_size=TOKEN, **VISION)
    config = hf.LlavaConfig(
        vision_config=vision, text_config=_text(hf.LlamaConfig, words), image_token_index=words.convert_tokens_to_ids("<image>")
    )
    return hf.LlavaForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "llava_next": llava_next,
    "internvl": internvl,
    "idefics3": idefics3,
    "llava": llava,
}


def saved(family: str, folder: Path) -> Path:
    """The folder of a random model of a family."""
    torch.manual_seed(0)
    model, processor = FAMILIES[family](tokenizer())
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
