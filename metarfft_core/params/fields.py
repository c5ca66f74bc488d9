"""The keys of a parameter file one by one, for a form: what each means and how it is written."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from metarfft_core.params.reference import meanings, type_of
from metarfft_core.params.schema import Params
from metarfft_core.params.schema.kinds import Section
from metarfft_core.system import yaml_files


@dataclass(frozen=True)
class Field:
    """A key of a parameter file.

    Its value is written as text: a `text` as it is, any other as YAML in one line.
    """

    key: str  # joined by dots
    help: str
    type: str  # in words, with its bounds
    kind: Literal["text", "choice", "several", "switch", "value"]
    options: tuple[str, ...]  # of a choice, or of a list of choices
    required: bool
    default: Any  # None if the key is required

    @property
    def section(self) -> str:
        """The keys of the section that holds it; "" for the file's own keys."""
        return self.key.rpartition(".")[0]

    def text(self, value: Any) -> str:
        """How a value is written in a field."""
        return value if self.kind == "text" and isinstance(value, str) else (
            yaml_files.dump_inline(value))

    def read(self, text: str) -> Any:
        """The value that was written in a field; an empty optional field means the default.

        Raises:
            ParamsError: The text is not YAML, or not read as it looks.
        """
        if not text.strip() and not self.required:
            return self.default
        return text.strip() if self.kind == "text" else yaml_files.parse_inline(text)


def fields(section: type[Section] = Params, prefix: str = "") -> list[Field]:
    """All keys that hold a value, in the order of the schema; a section's own keys come first."""
    own, inner = [], []
    told = meanings(section)
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            inner += fields(field.annotation, f"{prefix}{name}.")
            continue
        kind, options = _kind(field.annotation)
        required = field.is_required()
        default = None if field.default is PydanticUndefined else field.default
        words = re.sub(r"`|\[(\w+)\]\(#\w+\)", r"\1", type_of(field))
        own.append(Field(prefix + name, told[name], words, kind, options, required, default))
    return own + inner


def section_help(key: str) -> str:
    """What a section is for; "" for the file itself."""
    section, told = Params, ""
    for name in filter(None, key.split(".")):
        told = meanings(section)[name]
        section = section.model_fields[name].annotation
    return told


def _kind(annotation: Any) -> tuple[str, tuple[str, ...]]:
    """How a value of a type is chosen or written, and what there is to choose from."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation)
    if get_origin(annotation) is list:
        kind, options = _kind(get_args(annotation)[0])
        return ("several", options) if kind == "choice" else ("value", ())
    return {str: "text", bool: "switch"}.get(annotation, "value"), ()
