import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusion import PROMPTS, add_lora, tiny_pixels, tiny_stable_diffusion

from fvm_core.errors import CheckpointError, DataError
from fvm_core.generation.diffusion_model import load_diffusion
from fvm_core.generation.diffusion_task import TARGETS
from fvm_core.generation.lora import load_adapter, save_adapter
from fvm_core.generation.small_unet import byte_tokenizer, save


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_stable_diffusion(tmp_path_factory.mktemp("sd") / "base")


@pytest.fixture
def copy(stable: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stable, tmp_path / "copy"))


def test_a_pipeline_of_diffusers_is_loaded_part_by_part(stable: Path) -> None:
    from diffusers import StableDiffusionPipeline

    ours = load_diffusion(stable)
    theirs = StableDiffusionPipeline.from_pretrained(stable, safety_checker=None, requires_safety_checker=False)
    for part in ("unet", "text_encoder", "vae"):
        expected, got = getattr(theirs, part).state_dict(), getattr(ours, part).state_dict()
        assert expected.keys() == got.keys() and all(torch.equal(expected[key], got[key]) for key in expected)
    assert not any(p.requires_grad for part in (ours.unet, ours.text_encoder, ours.vae) for p in part.parameters())
    assert (ours.side, ours.channels) == (16, 3)
    embedded, _ = theirs.encode_prompt(list(PROMPTS), "cpu", 1, False)
    assert torch.equal(ours.embed(list(PROMPTS)), embedded)
    theirs.vae.requires_grad_(False)  # as ours is: PyTorch may take another kernel for weights that want gradients
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    expected = theirs.vae.encode(pixels).latent_dist.mean * 0.18215
    assert torch.allclose(ours.encode(pixels), expected)
    shown = theirs.vae.decode(expected / 0.18215).sample.clamp(-1, 1)
    assert torch.allclose(ours.decode(expected), shown, atol=1e-6)


def test_a_small_model_of_ours_comes_back_whole(tmp_path: Path) -> None:
    made = tiny_pixels()
    save(made, tmp_path)
    found = load_diffusion(tmp_path)
    assert found.vae is None and (found.side, found.channels) == (8, 1)
    assert torch.equal(found.embed(list(PROMPTS)), made.embed(list(PROMPTS)))
    for key, value in made.unet.state_dict().items():
        assert torch.equal(found.unet.state_dict()[key], value)
    pixels = torch.rand(1, 1, 8, 8) * 2 - 1
    assert torch.equal(found.decode(found.encode(pixels)), pixels)


def test_byte_tokens_know_every_letter_and_merges_shorten_what_was_trained_on() -> None:
    plain, merged = (byte_tokenizer(PROMPTS, merges=merges, context=64) for merges in (0, 32))
    for text in ("ein grünes haus", "日本 语", "a_b?"):
        assert plain.decode(plain(text)["input_ids"][1:-1]).replace(" ", "") == text.replace(" ", "")
    counts = [len(tokenizer(PROMPTS[0])["input_ids"]) for tokenizer in (plain, merged)]
    assert counts == [2 + len("aredcross"), counts[1]] and counts[1] < counts[0]
    with pytest.raises(DataError, match="`prompts` must hold at least one prompt"):
        byte_tokenizer([], merges=4, context=8)


def test_prompts_longer_than_the_context_are_refused_and_not_cut(stable: Path) -> None:
    model = load_diffusion(stable)
    assert model.tokens(["a" * 22]).shape == (1, 24)
    with pytest.raises(DataError, match=r"prompt must be at most 24 tokens long for this text encoder, got 25"):
        model.tokens(["short", "a" * 23])
    with pytest.raises(DataError, match=r"at most 4 tokens"):
        tiny_pixels(context=4)


def test_lora_sits_on_every_attention_layer_and_changes_nothing_at_first(stable: Path) -> None:
    model = load_diffusion(stable)
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor([1, 500]), torch.randn(2, 24, 16))
    before = model.unet(*inputs).sample
    linear = {name for name, layer in model.unet.named_modules() if name.endswith(TARGETS)}
    tuned = add_lora(model, rank=2, alpha=2.0, seed=3)
    assert torch.allclose(model.unet(*inputs).sample, before, atol=1e-6)
    asked = {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert len(asked) == 2 * len(linear) > 16 and all(".lora_" in name for name in asked)
    again = add_lora(load_diffusion(stable), rank=2, alpha=2.0, seed=3).state_dict()
    assert all(torch.equal(again[key], value) for key, value in tuned.state_dict().items())


def test_an_adapter_comes_back_with_its_effect(stable: Path, tmp_path: Path) -> None:
    model = load_diffusion(stable)
    tuned = add_lora(model, rank=2, alpha=4.0)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor([1, 500]), torch.randn(2, 24, 16))
    expected = model.unet(*inputs).sample
    save_adapter(tuned, tmp_path / "adapter")
    other = load_diffusion(stable)
    assert not torch.allclose(other.unet(*inputs).sample, expected, atol=1e-3)
    loaded = load_adapter(other.unet, tmp_path / "adapter")
    assert torch.allclose(other.unet(*inputs).sample, expected, atol=1e-6)
    assert sum(p.requires_grad for p in loaded.parameters()) == sum(p.requires_grad for p in tuned.parameters())


def test_an_adapter_for_another_base_is_refused(stable: Path, tmp_path: Path) -> None:
    save_adapter(add_lora(tiny_pixels(width=16)), tmp_path / "wide")
    for other in (tiny_pixels(width=8), load_diffusion(stable)):
        with pytest.raises(CheckpointError, match=r"must be for this base model, but belongs to another: `.*` is"):
            load_adapter(other.unet, tmp_path / "wide")


def test_missing_parts_are_named(copy: Path) -> None:
    shutil.rmtree(copy / "tokenizer")
    with pytest.raises(CheckpointError, match=r"must hold the folder `tokenizer`, which is not there"):
        load_diffusion(copy)
    (copy / "model_index.json").unlink()
    with pytest.raises(CheckpointError, match=r"must be a folder of a Stable Diffusion pipeline with model_index.json"):
        load_diffusion(copy)


def test_an_empty_tokenizer_folder_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "tokenizer")
    (copy / "tokenizer").mkdir()
    with pytest.raises(CheckpointError, match=r"must hold the tokenizer \(tokenizer.json, or vocab.json"):
        load_diffusion(copy)


def test_weights_that_can_run_code_are_refused(copy: Path) -> None:
    weights = copy / "unet/diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), copy / "unet/diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"must hold its weights as .safetensors, and holds none"):
        load_diffusion(copy)


def test_incomplete_and_damaged_weights_are_refused(copy: Path) -> None:
    weights = copy / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    dropped = next(iter(sorted(tensors)))
    save_file({key: value for key, value in tensors.items() if key != dropped}, weights)
    with pytest.raises(CheckpointError, match=rf"lack 1 tensors of its config, `{dropped}` first|cannot be loaded"):
        load_diffusion(copy)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"truncated or damaged"):
        load_diffusion(copy)


@pytest.mark.parametrize(
    ("part", "key", "value", "match"),
    [
        ("model_index.json", "_class_name", "StableDiffusionXLPipeline", "must hold a StableDiffusionPipeline, got"),
        ("scheduler/scheduler_config.json", "prediction_type", "sample", "`prediction_type` of the scheduler must be"),
    ],
)
def test_other_kinds_of_pipeline_are_refused(copy: Path, part: str, key: str, value: str, match: str) -> None:
    path = copy / part
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(CheckpointError, match=match):
        load_diffusion(copy)


def test_parts_of_different_models_are_refused(copy: Path, tmp_path: Path) -> None:
    save(tiny_pixels(), tmp_path / "small")
    shutil.rmtree(copy / "text_encoder")
    shutil.copytree(tmp_path / "small/text_encoder", copy / "text_encoder")
    with pytest.raises(CheckpointError, match=r"`unet` must take texts of width 8, got 16"):
        load_diffusion(copy)
