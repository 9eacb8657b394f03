"""How a key of the plan file says what it means: its description, its default and its examples, in one place."""

from typing import Any, Final

from msgspec import Meta

DEFAULT_KEY: Final = "lastgood-default"  # carries a default in a person's notation until the schema is ready


def means(description: str, default: Any = None, *examples: Any, **schema: Any) -> Meta:
    """Return what the JSON Schema says of a key; ``schema`` adds keywords of JSON Schema as they are."""
    extra = {**schema, **({} if default is None else {DEFAULT_KEY: default})}
    return Meta(
        description=description,
        examples=list(examples) or None,
        extra_json_schema=extra or None,
    )
