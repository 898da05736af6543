"""Write config/README.md, the description of every key, and config/schema.json: `python -m selfdistill.study.reference`.

A test holds both files against the models, so a key cannot be added without its description.
"""

import json
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from selfdistill.study.data import Benchmarks
from selfdistill.study.file import StudyFile
from selfdistill.study.methods import METHODS, SECTIONS
from selfdistill.study.models import Models
from selfdistill.study.yaml import unwrapped
from selfdistill.text import pipe_table

README = Path("config/README.md")
SCHEMA = Path("config/schema.json")
SETTINGS = "Settings"
"""Name of the sections of `training` and of a variant in the schema."""
INTRODUCTION = """# Configuration

This page is written by `python -m selfdistill.study.reference` from the models of `src/selfdistill/study/`; a test holds the two
together. `schema.json`, written by the same call, gives an editor with a YAML language server completion and checks of study files.

A *study* is one file, `config/NAME.yaml`. It refers to the models of `models.yaml` and the benchmarks of `benchmarks.yaml` beside it.
`snakemake --config study=NAME` runs it (default: `mini`; a path works too). Everything is checked before anything runs: unknown keys,
wrong types, missing references, and values that are impossible given the others are refused with the file, the key and what is allowed.

## The stages

1. **Problems** (`datasets`, `benchmarks`): training sets, their nested coverage subsets, and benchmarks.
2. **Bases** (`models.yaml`): trained from scratch, or fetched.
3. **Section 3** (`section_3`): responses to the same problems under four contexts.
4. **Section 4** (`off_policy`, runs of method `sft`): data sets of the correct responses of section 3, and SFT on them.
5. **Sections 5 and 6** (runs of the on-policy methods): training, with checkpoints.
6. **Samples** (`benchmarks`): every checkpoint answers every benchmark, one row per response.
7. **Numbers** (`claims.yaml`): estimates with intervals, and the verdict of every claim.
8. **Report** (`figures`, `tables`): what is shown, and from which experiments.

`training` and `variants` hold the settings of stages 4 and 5, `resources` what the jobs of each stage ask for.

## Worked examples

Copy `mini.yaml` to `mine.yaml`, change its first key to `study: mine`, and run `snakemake --config study=mine`. Results of the copy lie
in `results/mine`. A dry run (`snakemake -n --config study=mine`) checks every change below in seconds.

**Add replicates.** Each draws its own base models, training problems, coverage subsets and off-policy data, and repeats every run on them;
`seeds` repeats the training within each. What is finished stays. For one call, without editing: `--config replicates=0,1,2` or `0-2`.

```yaml
# mini.yaml
replicates: [0, 1, 2]
seeds: [0]
```

**Add a model.** Name its weights under `bases` and its thinking under `models`, then use its key in `runs`.

```yaml
# models.yaml
bases:
  qwen3-4b: {source: hub, repo_id: Qwen/Qwen3-4B, template: qwen3}
models:
  qwen3-4b-think: {base: qwen3-4b, thinking: on, label: "Qwen3-4B, thinking on"}
```

```yaml
# mini.yaml
runs:
  - {experiment: larger, models: [qwen3-4b-think], method: grpo, dataset: chain}
```

**Add a variant.** Name only the keys that differ from `training`, then list the variant in `runs`.

```yaml
# mini.yaml
variants:
  slow: {sdpo: {learning_rate: 1e-5}}
runs:
  - {experiment: rate, models: [r1-mini], method: sdpo, contexts: [solution], teachers: [fixed], variants: [slow], dataset: chain}
```

**Add a benchmark.** Describe its file, then add its key to `benchmarks.names`: finished checkpoints are evaluated on it, nothing is trained.

```yaml
# benchmarks.yaml
benchmarks:
  harder:
    label: Harder (4 operations and pairs)
    source: organism
    types: {d4: 0.5, s22: 0.5}
    ood: true
```

```yaml
# mini.yaml
benchmarks:
  names: [in-domain, shorter, longer, paired, harder]
```

**Add an experiment.** An entry of `runs` is the Cartesian product of its lists. A run that two experiments declare is trained once.
`figures` and `tables` name the experiments that each shows.

## The files

| file | what it is |
|---|---|
| `mini.yaml` | the whole paper as a model organism, two CPU cores |
| `beyond.yaml` | past the paper: contexts, rates, methods, schedules and parts of the loss on one organism ([page](../docs/beyond.md)) |
| `test.yaml` | the end-to-end test: all rules on models that learn nothing |
| `paper.yaml` | the paper's runs at the paper's scale (Slurm) |
| `single_gpu.yaml` | Qwen3-1.7B with shorter responses on one 80 GB GPU |
| `released.yaml` | evaluation only, of the checkpoints that the authors released |
| `smoke_gpu.yaml` | every rule of `paper.yaml` once, on Qwen3-1.7B and one GPU, before a large study; measures the machine |
| `smoke_random.yaml` | the same with random weights of that shape, without a hub |
| `smollm.yaml` | real weights and questions out of Python packages, a few steps on the CPU |
| `models.yaml`, `benchmarks.yaml` | what the studies may refer to |
| `accelerate/` | how a training job is split over several GPUs (below) |
| `claims.yaml`, `claims_beyond.yaml` | the claims of the paper, and those of `beyond.yaml`, each with the rule of its verdict |
| `reported.yaml` | the numbers that the paper reports, with how well each is known |
| `elsewhere.yaml` | what others measured since, with its reading for each claim |
| `recommendations.yaml` | what to do for each outcome, written before the runs except where marked |
| `earlier_verdicts.yaml` | the verdicts of the earlier rule, and why each may differ |
| `lock/` | the revisions that the first fetch of a study found |
| `paper_settings.yaml` | the settings of the paper; a test holds `paper.yaml` and TRL's arguments against it |
| `schema.json` | the JSON schema of a study file, for editors |

Data files are fetched from the hub or from the authors' repository. Where a machine has no network, put the
files into one folder under their `local` names and name it with `data_root` in the study file, or with the
variable `SELFDISTILL_DATA`. Each file is checked against `expect` before anything is made of it.

## Training on several GPUs

A training job runs in one process, unless `resources.rl` (GRPO, SDPO) or `resources.sft` names a configuration of
`accelerate/`: `rl: {gpus: 4, accelerate: fsdp}` starts `accelerate launch` with four processes, one per GPU. A copy of a
file there under another name is another configuration. What cannot be shared out evenly, or needs a configuration
and has none, is refused before any job starts.

| file | what it does | tested |
|---|---|---|
| `accelerate/ddp.yaml` | every GPU holds the whole model | on two CPU processes: losses, kill, stop, resume |
| `accelerate/fsdp.yaml` | FSDP2 shares out weights, gradients, optimizer and teacher | the same in float32; neither bfloat16 nor GPUs |
| `accelerate/zero3.yaml` | DeepSpeed ZeRO-3; a teacher that moves is refused | only that accelerate takes the file |

With `backend: transformers` a run is the same on any number of processes, up to rounding: every process draws the whole
batch of rollouts, and mini-batches hold the same rows. With `vllm` each process draws the responses of its own problems,
each response with the seed that it has on one process; the last bits of vLLM's logits depend on the batch, so there a
response can, rarely, depend on the number of GPUs. `ddp` with `processes: 2` and no GPUs runs
two processes on CPUs with torchrun. SIGTERM (`scancel`, a time limit) stops all processes after the same step, with a
checkpoint, from which the run goes on with the same configuration.

`rl: {gpus: 16, nodes: 2, accelerate: fsdp}` spreads a job over two nodes of a Slurm cluster, eight GPUs each: `srun` starts one
`accelerate launch` per node. The results are those of sixteen GPUs on one node. Tested with two launchers on one machine.
"""


def type_text(annotation: Any) -> str:
    """Return a type in words: `int`, `list of str`, `` `on` `off` `` for choices."""
    kind = unwrapped(annotation)
    if get_origin(kind) is Annotated:
        return type_text(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(member) for member in get_args(kind)))
    if get_origin(kind) is list:
        return f"list of {type_text(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"mapping to {type_text(get_args(kind)[1])}"
    if kind is type(None):
        return "null"
    return (
        getattr(kind, "__name__", str(kind))
        if not is_section(kind)
        else f"[{kind.__name__}](#{kind.__name__.lower()})"
    )


def is_section(kind: Any) -> bool:
    """Return whether a type is one of the config models."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def default_text(default: Any) -> str:
    """Return a default as YAML shows it; nothing for a required key."""
    if default is PydanticUndefined:
        return "required"
    if default is None or is_section(type(default)):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def new_keys(model: type[BaseModel], described: Sequence[type[BaseModel]]) -> dict[str, FieldInfo]:
    """Return the fields of one model without those that are the same in a model of `described`."""
    return {
        name: field
        for name, field in model.model_fields.items()
        if not any(repr(kind.model_fields.get(name)) == repr(field) for kind in described)
    }


def table(model: type[BaseModel], described: Sequence[type[BaseModel]] = ()) -> str:
    """Return the keys of one model as a Markdown table, without those that are the same in a model of `described`."""
    first_line = (model.__doc__ or "").strip().splitlines()[0]
    rows = []
    for name, field in new_keys(model, described).items():
        cells = (
            f"`{name}`",
            type_text(field.annotation),
            default_text(field.default),
            field.description or "",
        )
        rows.append(cells)
    keys = pipe_table(("key", "type", "default", "meaning"), rows)
    return f"### {model.__name__}\n\n{first_line}\n\n{keys}"


def sections(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield a model and every model below it, each in order of appearance."""
    kind = unwrapped(kind)
    if is_section(kind):
        yield kind
        for field in kind.model_fields.values():
            yield from sections(field.annotation)
    else:
        for member in get_args(kind):
            yield from sections(member)


def readme() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for title, root in (
        ("A study file", StudyFile),
        ("models.yaml", Models),
        ("benchmarks.yaml", Benchmarks),
    ):
        parts += [f"## {title}", *(table(model) for model in dict.fromkeys(sections(root)))]
    parts.append("## Sections of `training` and `variants`")
    for name, method in METHODS.items():
        used = " and ".join(f"`{section}`" for section in method.sections)
        others = [other for other in METHODS.values() if other.settings in method.settings.__mro__[1:]]
        kinds = [other.settings for other in others]
        own = table(method.settings, kinds) if new_keys(method.settings, kinds) else ""
        also = (
            f" Those of {' and '.join(other.name for other in others)}{', and:' if own else '.'}"
            if others
            else ""
        )
        parts += [f"{name}: keys of {used} together.{also}", *filter(None, [own])]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def schema() -> str:
    """Return the JSON schema of a study file, the settings of all methods included."""
    found = StudyFile.model_json_schema()
    settings = {
        "type": "object",
        "additionalProperties": False,
        "properties": {section: section_schema(section, found["$defs"]) for section in SECTIONS},
    }
    found["$defs"][SETTINGS], once = settings, {"$ref": f"#/$defs/{SETTINGS}"}
    keys = found["properties"]
    keys["training"] = {"allOf": [once], "description": keys["training"]["description"]}
    (pattern,) = keys["variants"]["patternProperties"]
    keys["variants"]["patternProperties"] = {pattern: once}
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **found}, indent=1) + "\n"


def section_schema(section: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a section of `training`: the keys of the methods whose keys it may hold, none required."""
    properties: dict[str, Any] = {}
    for method in METHODS.values():
        if method.may_stand_in(section):
            kind = method.settings.model_json_schema()
            definitions |= kind.get("$defs", {})
            properties |= kind["properties"]
    return {"type": "object", "additionalProperties": False, "properties": properties}


def main() -> None:
    """Write the page and the schema."""
    README.write_text(readme(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
