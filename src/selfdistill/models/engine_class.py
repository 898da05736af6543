"""Models for which vLLM has no class of its own (OLMo-3), in a process that also uses them with transformers.

vLLM runs such a model with the class of transformers, and rewrites that class so that it belongs to an engine: then a model that
was loaded before, such as the policy, cannot run any more, and none can be loaded, such as the teacher.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def keep_from_engine(config: "PretrainedConfig") -> None:
    """Give engines of this process a subclass of the model's class to rewrite: vLLM asks `AutoModel` for the class, loading does not."""
    from transformers import MODEL_MAPPING

    known = MODEL_MAPPING[type(config)]
    if known.__module__ != __name__:
        # `AutoModel.register` ignores another class for a configuration of transformers' own
        MODEL_MAPPING._extra_content[type(config)] = type(known.__name__, (known,), {"__module__": __name__})
