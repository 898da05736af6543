"""A pass that runs each prompt once gives the values and gradients of a pass over whole sequences."""

import pytest
import tiny
import torch

from selfdistill.fast_cpu import SWITCH, shared_prefix
from selfdistill.fast_cpu.shared_prefix import (
    can_share,
    distinct_rows,
    parcels,
    pays,
    shared_prefix_hidden,
    widths,
)
from selfdistill.models.loading import load_model
from selfdistill.training.loss.head import hidden_at

PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 4], [5, 6, 7], [5, 6, 7], [9, 8, 7, 6, 5, 4], [11]]
COMPLETIONS = [[3, 4], [12, 13, 14, 15, 16], [4], [6, 5, 4, 3, 2, 1, 7], [8, 8, 8], [10, 11]]


def batch():
    """Prompts padded on the left, completions on the right; row 2 has one token, and row 4 is not in the loss."""
    before, after = max(map(len, PROMPTS)), max(map(len, COMPLETIONS))
    prompts = torch.tensor([[0] * (before - len(p)) + p for p in PROMPTS])
    prompt_mask = torch.tensor([[0] * (before - len(p)) + [1] * len(p) for p in PROMPTS])
    completions = torch.tensor([c + [0] * (after - len(c)) for c in COMPLETIONS])
    mask = torch.tensor([[1] * len(c) + [0] * (after - len(c)) for c in COMPLETIONS])
    tokens = mask.bool()
    tokens[4] = False
    tokens[1, 1] = False
    return prompts, prompt_mask, completions, mask, tokens


def gradients(model, hidden):
    model.zero_grad()
    (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# with the window, the first keys of a prompt are out of a completion's sight
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("template", "window"), [("r1", None), ("qwen3", None), ("olmo3", None), ("olmo3", 4)]
)
def test_values_and_gradients_are_those_of_whole_sequences(
    tmp_path, template, window, attention, monkeypatch
):
    model = load_model(tiny.save_base(tmp_path / "base", template))
    model.set_attn_implementation(attention)
    if window is not None:
        assert "sliding_attention" in model.config.layer_types
        monkeypatch.setattr(model.config, "sliding_window", window)
    prompts, prompt_mask, completions, mask, tokens = batch()
    shared = shared_prefix_hidden(model, prompts, prompt_mask, completions, tokens)
    of_shared = gradients(model, shared)
    ids, whole_mask = torch.cat([prompts, completions], 1), torch.cat([prompt_mask, mask], 1)
    monkeypatch.setenv(SWITCH, "1")
    whole = hidden_at(model, ids, whole_mask, tokens)
    # rounding is of the largest numbers of a state (3.5 here), not of the one that is compared: five units in the last place were seen
    torch.testing.assert_close(shared, whole, rtol=1e-5, atol=5e-7 * float(whole.detach().abs().max()))
    of_whole = gradients(model, whole)
    assert of_whole.keys() == of_shared.keys()
    for name, gradient in of_whole.items():
        torch.testing.assert_close(of_shared[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_a_prompt_is_run_once(tmp_path):
    model, rows = load_model(tiny.save_base(tmp_path / "base")), []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    prompts, prompt_mask, completions, _, tokens = batch()
    shared_prefix_hidden(model, prompts, prompt_mask, completions, tokens)
    assert rows[0] == (3, 6)
    assert sum(count for count, _ in rows[1:]) == len(PROMPTS)


def test_prompts_that_differ_by_padding_only_in_their_ids_are_told_apart():
    ids = torch.tensor([[0, 5], [0, 5], [0, 5]])
    first, number = distinct_rows(ids, torch.tensor([[0, 1], [1, 1], [0, 1]]))
    assert number[0] == number[2] != number[1]
    assert sorted(first.tolist()) == [0, 1]


def test_parcels_cover_the_rows_in_order_and_bound_the_padding():
    lengths = torch.randint(0, 90, (50,), generator=torch.Generator().manual_seed(0)).sort().values.tolist()
    found = list(parcels(lengths, waste=30))
    assert [row for rows, _ in found for row in range(50)[rows]] == list(range(50))
    for rows, width in found:
        assert width == max(lengths[rows])
        assert width * len(lengths[rows]) - sum(lengths[rows]) <= 30
    assert len(found) < 25
    assert list(parcels([7, 7, 7], waste=0)) == [(slice(0, 3), 7)]


def test_widths_count_to_the_last_chosen_token():
    tokens = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    assert widths(tokens) == [3, 0, 2]


def test_recomputed_activations_forbid_sharing_in_training_only(tmp_path):
    model = load_model(tiny.save_base(tmp_path / "base"))
    assert can_share(model)
    model.gradient_checkpointing_enable()
    assert not can_share(model)
    with torch.no_grad():
        assert can_share(model)


def test_sharing_pays_where_prompts_recur_and_masks_stay_small(monkeypatch):
    prompts, prompt_mask, completions, _, _ = batch()
    assert pays(prompts, prompt_mask, completions)
    first = distinct_rows(prompts, prompt_mask)[0]
    assert not pays(prompts[first], prompt_mask[first], completions[first])
    monkeypatch.setattr(shared_prefix, "MASK_LIMIT", 6 * 7 * (6 + 7) - 1)
    assert not pays(prompts, prompt_mask, completions)
