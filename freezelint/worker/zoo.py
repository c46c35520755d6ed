"""Models by name from packages the user has: `timm:resnet50`, `transformers:bert`, `transformers:BertForMaskedLM`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from .protocol import UnsupportedError
from .stand_in import torchvision_stand_in
from .targets import Built

NO_TORCHVISION = "torchvision is not installed: timm was imported with an empty one in its place"


def maker(package: str, name: str) -> Callable[[], Any]:
    """A callable that builds the model with random weights; nothing is downloaded."""
    stand_in = torchvision_stand_in() if package == "timm" else nullcontext(False)
    try:
        with stand_in as needed:
            library = importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = (error.name or package).split(".")[0]
        if missing == package:
            raise UnsupportedError(f"the package {package} is not installed") from None
        text = f"{package} does not import without {missing}, which is not installed"
        raise UnsupportedError(text) from None
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise UnsupportedError(f"{package} does not import here: {text}") from None
    if package == "timm":
        if not library.is_model(name.split(".")[0]):
            raise UnsupportedError(f"timm knows no model `{name}`")
        notes = [NO_TORCHVISION] if needed else []
        return lambda: Built(library.create_model(name, pretrained=False), notes=notes)
    return _transformers(library, name)


def _transformers(library: Any, name: str) -> Callable[[], Any]:
    attribute = getattr(library, name, None) if name[:1].isupper() else None
    if attribute is not None:
        config_class = getattr(attribute, "config_class", None)
        if config_class is None:
            raise UnsupportedError(f"transformers has no model class `{name}`")
        return lambda: attribute(config_class())
    try:
        config = library.AutoConfig.for_model(name)
    except (ValueError, KeyError) as error:
        raise UnsupportedError(f"transformers knows no model type `{name}`: {str(error)[:120]}") from None
    return lambda: library.AutoModel.from_config(config)
