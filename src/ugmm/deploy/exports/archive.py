"""A trained network as a pt2 archive: what torch.export.load runs without ugmm."""

import io
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ugmm.checkpoints import seal
from ugmm.deploy.exports.answers import Answers
from ugmm.deploy.exports.columns import examples, inputs_of
from ugmm.errors import UserError
from ugmm.exported import DESCRIPTION
from ugmm.kernels.roads import for_elsewhere
from ugmm.spec import Spec

__all__ = ["load_program", "to_archive"]


def to_archive(answers: Answers, spec: Spec, described: Mapping[str, Any]) -> bytes:
    """Return an archive, with a sum of the whole at its end.

    Its program has torch's own operations only: who loads it needs no ugmm.

    Args:
        answers: What it computes.
        spec: What a row is.
        described: What is noted in it; see `ugmm.exported.describe`.

    Raises:
        UserError: If the network cannot be recorded.
    """
    inputs, batch = inputs_of(spec), torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad(), for_elsewhere():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                answers,
                examples(spec),
                dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            )
        except Exception as error:  # whatever a network does that torch.export cannot follow
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(
                f"torch.export cannot record this network ({reason}); export it with --to "
                "safetensors"
            ) from error
        program = program.run_decompositions()
        notes = {
            "inputs": [{"name": each.name, "categories": each.places} for each in inputs],
            "outputs": list(answers.names),
            "classes": list(spec.class_names),
        }
        content = io.BytesIO()
        extra = {DESCRIPTION: json.dumps({**described, **notes})}
        torch.export.save(program, content, extra_files=extra)
    return seal(content.getvalue())


def load_program(archive: bytes) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Return the program of an archive that was made here; not for those of others."""
    return torch.export.load(io.BytesIO(archive)).module()
